#pragma once
#include <string>

#include "kernel/emit/dialect.h"
#include "kernel/tile.h"

namespace kw::kernel::emit {

/// A tile function as source text: loops bound to unroll expanded, register arrays as separate variables.
/// The function must be without fault (spec.h): a bug otherwise.
std::string emit(const tile::Function& function, const Dialect& dialect);

}  // namespace kw::kernel::emit
