#pragma once
#include <string>

#include "kernel/emit/dialect.h"
#include "kernel/tile.h"

namespace kw::kernel::emit {

/// A tile function as source text: loops bound to unroll expanded, register arrays as separate variables.
/// A fault of the function (spec.h) is a bug.
std::string emit(const tile::Function& function, const Dialect& dialect);
std::string emit_expr(const tile::Expr& expr, const Dialect& dialect);

}  // namespace kw::kernel::emit
