#pragma once
#include <map>
#include <optional>
#include <string>

#include "base/tensor.h"
#include "graph/graph.h"

namespace kw::judge {

/// The largest integer (8, 4, 2 or 1) up to which inputs and parameters may be drawn so that every intermediate of
/// the graph, in any order of summation, is an integer that its type holds exactly; then float32 must agree with
/// float64 bit by bit. Nothing where the graph holds an operation that rounds.
std::optional<int> exact_magnitude(const graph::Graph& graph, const std::map<std::string, Tensor>& params);

}  // namespace kw::judge
