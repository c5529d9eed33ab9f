#pragma once
#include <vector>

#include "graph/graph.h"

namespace kw::kernel::schedule {

/// Who uses what in a graph, and what depends on parameters only.
struct Usage {
  explicit Usage(const graph::Graph& graph);
  std::vector<std::vector<graph::NodeId>> users;  // live ones, each once
  std::vector<char> live;
  std::vector<char> is_output;
  /// Needs a parameter, no input and no buffer that calls change: computable once.
  std::vector<char> parameter_only;
  /// Members of the set reach: from, and all that depends on it.
  std::vector<char> dependents(const graph::Graph& graph, graph::NodeId from) const;
};

bool is_leaf(const graph::Node& node);    // Input, Param, Constant, Iota
bool is_anchor(const graph::Node& node);  // has loops of its own: Reduce, Contract, Scan, Sort, Scatter, Recur, Item
bool is_one_to_one(const graph::Node& node);  // Map, Cast, permute, reshape, flip

}  // namespace kw::kernel::schedule
