#include <algorithm>

#include "graph/aten/algebra.h"

/// Matrix products: everything becomes one Contract.
namespace kw::graph::aten {

namespace {

/// Labels and views of one operand of a batched product: size-1 batch axes are dropped, so that no axis is expanded.
struct Side {
  Axes labels;
  NodeId node;
};

Side labelled(Algebra& a, NodeId x, int matrix_axes, const Axes& matrix_labels, int batch_rank) {
  const int own_batch = a.rank(x) - matrix_axes;
  Side side{{}, x};
  for (int i = own_batch - 1; i >= 0; --i) {
    if (a.size(side.node, i) == 1) side.node = a.squeeze(side.node, i);
  }
  for (int i = 0; i < own_batch; ++i) {
    if (a.size(x, i) != 1) side.labels.push_back(batch_rank - own_batch + i);
  }
  side.labels.insert(side.labels.end(), matrix_labels.begin(), matrix_labels.end());
  return side;
}

Shape batch_shape(const Shape& shape, int matrix_axes) { return {shape.begin(), shape.end() - matrix_axes}; }

constexpr int row = 1000, inner = 1001, column = 1002;

}  // namespace

NodeId Algebra::matmul(NodeId x, NodeId y) {
  const int x_matrix = std::min(rank(x), 2);
  const int y_matrix = std::min(rank(y), 2);
  const auto batch = broadcast_shapes({batch_shape(shape(x), x_matrix), batch_shape(shape(y), y_matrix)});
  check(batch.has_value() && x_matrix > 0 && y_matrix > 0, "matmul: shapes do not broadcast");
  const auto n = static_cast<int>(batch->size());
  const Side left = labelled(*this, x, x_matrix, x_matrix == 2 ? Axes{row, inner} : Axes{inner}, n);
  const Side right = labelled(*this, y, y_matrix, y_matrix == 2 ? Axes{inner, column} : Axes{inner}, n);
  Axes out;
  Shape to = *batch;
  for (int i = 0; i < n; ++i) {
    if ((*batch)[static_cast<size_t>(i)] != 1) out.push_back(i);
  }
  if (x_matrix == 2) out.push_back(row), to.push_back(size(x, rank(x) - 2));
  if (y_matrix == 2) out.push_back(column), to.push_back(size(y, rank(y) - 1));
  return reshape(g.contract(left.node, left.labels, right.node, right.labels, out), to);
}

NodeId Algebra::linear(NodeId x, NodeId weight, std::optional<NodeId> bias) {
  const int n = rank(x);
  Axes left = all_axes(static_cast<size_t>(n - 1));
  Axes out = left;
  left.push_back(inner);
  Axes right{inner};
  if (rank(weight) == 2) {
    out.push_back(column);
    right.insert(right.begin(), column);
  }
  const NodeId product = g.contract(x, left, weight, right, out);
  return bias ? add(product, *bias) : product;
}

NodeId Algebra::einsum(std::string_view a, std::string_view b, std::string_view out, NodeId x, NodeId y) {
  const auto labels = [](std::string_view text) { return Axes(text.begin(), text.end()); };
  return g.contract(x, labels(a), y, labels(b), labels(out));
}

}  // namespace kw::graph::aten
