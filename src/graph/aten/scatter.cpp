#include <limits>

#include "graph/aten/call.h"

/// Writing by index.
namespace kw::graph::aten {

namespace {

struct Target {
  NodeId base, index;
  int axis;
};

Target read_target(Call& c) {
  const NodeId base = c.tensor("self");
  const int axis = c.axis(c.integer("dim"), c.rank(base));
  return {base, c.cast(c.tensor("index"), DType::i64), axis};
}

/// Elements of src that index names: its leading corner.
NodeId corner(Call& c, NodeId src, NodeId index) {
  for (int i = 0; i < c.rank(src); ++i) src = c.slice(src, i, 0, c.size(index, i));
  return src;
}

Values scatter(Call& c, ScatterOp op) {
  const Target t = read_target(c);
  const NodeId updates = c.has("value") ? c.full(c.number("value"), c.dtype(t.base), c.shape(t.index))
                                        : c.cast(corner(c, c.tensor("src"), t.index), c.dtype(t.base));
  return c.scatter_along(t.base, t.axis, t.index, updates, op);
}

Values scatter_with_name(Call& c, bool include_self) {
  const std::string reduce = c.text("reduce", "");
  if (!include_self) c.refuse_argument("leaves its own values out");
  if (reduce == "sum" || reduce == "add") return scatter(c, ScatterOp::add);
  if (reduce == "prod" || reduce == "multiply") return scatter(c, ScatterOp::mul);
  if (reduce == "amax") return scatter(c, ScatterOp::max);
  if (reduce == "amin") return scatter(c, ScatterOp::min);
  c.refuse_argument("reduces by \"" + reduce + "\"");
}

/// Whole slices along one axis, by a 1-d index.
Values write_slices(Call& c, NodeId source, ScatterOp op) {
  const NodeId base = c.tensor("self");
  const int axis = c.axis(c.integer("dim"), c.rank(base));
  NodeId index = c.tensor("index");
  if (c.rank(index) == 0) index = c.reshape(index, {1});
  index = c.non_negative(index, c.size(base, axis));
  Shape along(c.shape(base).size(), 1), to = c.shape(base);
  along[static_cast<size_t>(axis)] = to[static_cast<size_t>(axis)] = c.size(index, 0);
  return c.scatter_along(base, axis, c.expand(c.reshape(index, along), to), c.expand(c.cast(source, c.dtype(base)), to),
                         op);
}

Values index_add(Call& c) {
  const NodeId source = c.cast(c.tensor("source"), c.dtype(c.tensor("self")));
  return write_slices(c, c.scaled(source, c.number("alpha", 1)), ScatterOp::add);
}

Values index_fill(Call& c) {
  const DType type = c.dtype(c.tensor("self"));
  return write_slices(c, c.node_of(c.operand("value"), type), ScatterOp::set);
}

/// x[i, j] = v or += v, with None for whole axes.
Values index_put(Call& c) {
  const NodeId base = c.tensor("self");
  const auto given = c.maybe_tensors("indices");
  const NodeId values = c.cast(c.tensor("values"), c.dtype(base));
  Axes axes;
  Nodes indices;
  std::vector<Shape> shapes;
  for (size_t i = 0; i < given.size(); ++i) {
    if (!given[i]) continue;
    const NodeId index = *given[i];
    if (c.dtype(index) == DType::boolean && given.size() == 1 && c.rank(values) == 0 && !c.flag("accumulate", false)) {
      Shape mask = c.shape(index);
      mask.resize(c.shape(base).size(), 1);
      return c.g.where(c.reshape(index, mask), values, base);
    }
    if (c.dtype(index) == DType::boolean) c.refuse_argument("indexes by a mask, so what it writes depends on values");
    axes.push_back(static_cast<int>(i));
    indices.push_back(c.non_negative(index, c.size(base, static_cast<int>(i))));
    shapes.push_back(c.shape(index));
  }
  const auto shape = broadcast_shapes(shapes);
  if (axes.empty() || !shape) c.refuse_argument("has indices that do not broadcast");
  for (NodeId& i : indices) i = c.expand(i, *shape);
  const bool neighbours = axes.back() - axes.front() + 1 == static_cast<int>(axes.size());
  const auto place = static_cast<std::ptrdiff_t>(neighbours ? axes.front() : 0);
  Shape written = reduced_shape(c.shape(base), axes, false);
  written.insert(written.begin() + place, shape->begin(), shape->end());
  NodeId updates = c.expand(values, written);
  // Scatter wants the index axes at the first indexed axis; PyTorch puts them first when they are no neighbours.
  const int count = static_cast<int>(shape->size());
  for (int k = 0; !neighbours && k < count; ++k) updates = c.move_axis(updates, 0, axes[0] + count - 1);
  return c.g.scatter(base, updates, indices, axes, c.flag("accumulate", false) ? ScatterOp::add : ScatterOp::set);
}

/// Writes src on a diagonal: the base is kept elsewhere.
Values diagonal_scatter(Call& c) {
  const NodeId base = c.tensor("self");
  const int n = c.rank(base);
  const int a = c.axis(c.integer("dim1", 0), n), b = c.axis(c.integer("dim2", 1), n);
  const int64_t offset = c.integer("offset", 0);
  const NodeId source = c.cast(c.tensor("src"), c.dtype(base));
  const int64_t count = c.size(source, c.rank(source) - 1);
  const auto from = [&](int64_t shift) { return c.shifted(c.g.iota(count), static_cast<double>(shift)); };
  const NodeId moved = c.move_axis(c.move_axis(base, a, n - 1), b > a ? b - 1 : b, n - 1);
  const NodeId done =
      c.g.scatter(moved, source, {from(std::max<int64_t>(0, -offset)), from(std::max<int64_t>(0, offset))},
                  {n - 2, n - 1}, ScatterOp::set);
  return c.move_axis(c.move_axis(done, n - 1, b > a ? b - 1 : b), n - 1, a);
}

}  // namespace

Rows scatter_rows() {
  return {
      {"scatter.src scatter.value", [](Call& c) { return scatter(c, ScatterOp::set); }},
      {"scatter.reduce scatter.value_reduce", [](Call& c) { return scatter_with_name(c, true); }},
      {"scatter_add", [](Call& c) { return scatter(c, ScatterOp::add); }},
      {"scatter_reduce.two", [](Call& c) { return scatter_with_name(c, c.flag("include_self", true)); }},
      {"index_add", index_add},
      {"index_copy", [](Call& c) { return write_slices(c, c.tensor("source"), ScatterOp::set); }},
      {"index_fill.int_Scalar index_fill.int_Tensor", index_fill},
      {"index_put _unsafe_index_put", index_put},
      {"diagonal_scatter", diagonal_scatter},
  };
}

}  // namespace kw::graph::aten
