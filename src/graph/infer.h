#pragma once
#include <span>
#include <string>

#include "graph/graph.h"

namespace kw::graph {

/// What a node's attributes and inputs say about its result, or what is wrong with them.
struct Inferred {
  std::string fault;  // "" when consistent
  Shape shape;
  DType dtype = DType::f32;
};

/// Shape and dtype of `node` from its inputs. Reshape, expand and slice take node.shape as wanted and check it;
/// leaves (input, param, constant, iota) and casts take shape or dtype from the node.
Inferred infer(const Graph& graph, const Node& node);

/// NumPy broadcasting of two shapes; false when they do not agree.
bool broadcast_shapes(const Shape& x, const Shape& y, Shape& result);

}  // namespace kw::graph
