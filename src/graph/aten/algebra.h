#pragma once
#include <functional>
#include <optional>

#include "base/result.h"
#include "graph/aten/expression.h"
#include "graph/graph.h"

/// Tensor algebra over a GraphBuilder, with PyTorch's conventions for axes. Expansions are written in it.
namespace kw::graph::aten {

using Axes = std::vector<int>;
using Nodes = std::vector<NodeId>;

/// The type that PyTorch computes in: f32 for f16 and bf16, else the type itself.
DType compute_type(DType dtype);
/// The nearest value that `type` holds: what a Python number becomes in a tensor.
double rounded(double value, DType type);
Axes all_axes(size_t rank);
/// `shape` with `axes` removed, or set to 1.
Shape reduced_shape(const Shape& shape, const Axes& axes, bool keepdim);
/// NumPy's broadcast of the shapes; nullopt when they do not fit.
std::optional<Shape> broadcast_shapes(const std::vector<Shape>& shapes);

class Algebra {
 public:
  explicit Algebra(GraphBuilder& builder) : g(builder) {}
  GraphBuilder& g;

  /// A copy: the builder's own moves whenever a node is added.
  Shape shape(NodeId x) const { return g.shape(x); }
  int rank(NodeId x) const { return static_cast<int>(g.shape(x).size()); }
  DType dtype(NodeId x) const { return g.dtype(x); }
  int64_t size(NodeId x, int axis) const { return g.shape(x)[static_cast<size_t>(axis)]; }

  // Elementwise; inputs are broadcast together. `f` sees one value of each input.
  NodeId map(NodeId x, const std::function<E(E)>& f);
  NodeId map(NodeId x, NodeId y, const std::function<E(E, E)>& f);
  NodeId map(NodeId x, NodeId y, NodeId z, const std::function<E(E, E, E)>& f);
  NodeId map_all(const Nodes& inputs, const std::function<E(const std::vector<E>&)>& f);
  NodeId cast(NodeId x, DType type) { return g.dtype(x) == type ? x : g.cast(x, type); }
  NodeId unary(ScalarOp op, NodeId x) { return g.map1(op, x); }
  NodeId add(NodeId x, NodeId y) { return g.map2(ScalarOp::add, x, y); }
  NodeId sub(NodeId x, NodeId y) { return g.map2(ScalarOp::sub, x, y); }
  NodeId mul(NodeId x, NodeId y) { return g.map2(ScalarOp::mul, x, y); }
  NodeId div(NodeId x, NodeId y) { return g.map2(ScalarOp::div, x, y); }
  NodeId scaled(NodeId x, double factor);   // x * factor
  NodeId shifted(NodeId x, double offset);  // x + offset
  NodeId square(NodeId x) { return mul(x, x); }

  // Reductions over `axes`; an empty list is the identity.
  NodeId reduce(ReduceOp op, NodeId x, const Axes& axes, bool keepdim = false);
  NodeId sum(NodeId x, const Axes& axes, bool keepdim = false) { return reduce(ReduceOp::sum, x, axes, keepdim); }
  NodeId mean(NodeId x, const Axes& axes, bool keepdim = false);  // sum times 1/n
  /// Mean of squared distances from the mean, divided by n - correction (two passes).
  NodeId variance(NodeId x, const Axes& axes, double correction, bool keepdim = false);
  NodeId logsumexp(NodeId x, const Axes& axes, bool keepdim = false);  // right at +-inf too
  NodeId softmax(NodeId x, int axis);
  NodeId log_softmax(NodeId x, int axis);
  /// sum |x|^p ^ (1/p), with the limits p = 0, inf, -inf.
  NodeId norm(NodeId x, double p, const Axes& axes, bool keepdim = false);

  // Views.
  NodeId reshape(NodeId x, const Shape& to) { return g.shape(x) == to ? x : g.reshape(x, to); }
  NodeId unsqueeze(NodeId x, int axis);
  NodeId squeeze(NodeId x, int axis);  // drops a size-1 axis
  NodeId transpose(NodeId x, int a, int b);
  NodeId permute(NodeId x, const Axes& perm) { return g.permute(x, perm); }
  NodeId move_axis(NodeId x, int from, int to);
  NodeId slice(NodeId x, int axis, int64_t start, int64_t stop, int64_t step = 1);
  NodeId select(NodeId x, int axis, int64_t index);
  NodeId expand(NodeId x, const Shape& to) { return g.shape(x) == to ? x : g.expand(x, to); }
  /// Pads axis i by lo[i], hi[i]; negative amounts crop.
  NodeId pad_or_crop(NodeId x, const std::vector<int64_t>& lo, const std::vector<int64_t>& hi, double value);
  NodeId repeat_axis(NodeId x, int axis, int64_t times);  // each element `times` times in a row
  NodeId flatten_from(NodeId x, int axis);                // axes axis.. become one
  NodeId cat(const Nodes& xs, int axis) { return xs.size() == 1 ? xs[0] : g.cat(xs, axis); }

  // Creation.
  NodeId full(double value, DType type, const Shape& to) { return g.full(rounded(value, type), type, to); }
  NodeId like(NodeId x, double value) { return full(value, g.dtype(x), g.shape(x)); }
  /// 0, 1, ... along `axis`, shaped to broadcast against a tensor of `rank` axes; i64.
  NodeId index_along(int64_t size, int axis, int rank);
  NodeId eye(int64_t rows, int64_t columns, int64_t offset, DType type);
  /// Keeps x where column - row <= diagonal (lower) or >= diagonal, else 0.
  NodeId triangle(NodeId x, int64_t diagonal, bool lower);

  // Indexing; indices are i64 and in range.
  NodeId take(NodeId x, int axis, NodeId index);        // index_select: index's axes take the place of `axis`
  NodeId take_along(NodeId x, int axis, NodeId index);  // index has x's rank; other axes may be shorter
  NodeId scatter_along(NodeId base, int axis, NodeId index, NodeId updates, ScatterOp op);
  NodeId non_negative(NodeId index, int64_t size);  // adds `size` to negative ones

  // Products.
  NodeId matmul(NodeId x, NodeId y);  // torch.matmul's rank rules
  NodeId linear(NodeId x, NodeId weight, std::optional<NodeId> bias);
  /// One term by letters, "bij,bjk->bik"; a letter that only one operand holds and the output lacks is summed.
  NodeId einsum(std::string_view a, std::string_view b, std::string_view out, NodeId x, NodeId y);
};

}  // namespace kw::graph::aten
