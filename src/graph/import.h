#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/graph.h"
#include "module/program.h"

namespace kw::graph {

/// Expands an exported program by the ATen op table into the algebra.
/// fails: import.op (the op is named, with the user's source line), import.random (a random module, with the reason),
///        import.dtype, import.argument, import.mutation
Result<Graph> import_program(const module::Program& program);

/// Every ATen target that the table knows, sorted.
std::vector<std::string> known_targets();

}  // namespace kw::graph
