#include <algorithm>

#include "graph/aten/call.h"

/// Reading by index: embedding, gather, advanced indexing, sorting.
namespace kw::graph::aten {

namespace {

Values embedding(Call& c) { return c.take(c.tensor("weight"), 0, c.cast(c.tensor("indices"), DType::i64)); }

/// Bags of equal length only: offsets must be the iota that 2-d input makes; modes 0 sum, 1 mean, 2 max.
Values embedding_bag(Call& c) {
  if (c.has("per_sample_weights")) c.refuse_argument("weighs its samples");
  const NodeId indices = c.tensor("indices");
  const int64_t bags = c.out().shape[0];
  const NodeId offsets = c.tensor("offsets");
  const int64_t each = bags == 0 ? 0 : element_count(c.shape(indices)) / bags;
  const NodeId even = c.scaled(c.g.iota(bags), static_cast<double>(each));
  if (each * bags != element_count(c.shape(indices)) || (offsets != even && bags != 1)) {
    c.refuse_argument("has bags whose lengths are known only at run time");
  }
  const NodeId index = c.reshape(c.cast(indices, DType::i64), {bags, each});
  const NodeId rows = c.take(c.x("weight"), 0, index);
  const int64_t mode = c.integer("mode", 0);
  const NodeId y = mode == 0 ? c.sum(rows, {1}) : mode == 1 ? c.mean(rows, {1}) : c.reduce(ReduceOp::max, rows, {1});
  return {y, -1, -1, -1};
}

Values index_select(Call& c) {
  const NodeId x = c.tensor("self");
  return c.take(x, c.axis(c.integer("dim"), c.rank(x)),
                c.non_negative(c.tensor("index"), c.size(x, c.axis(c.integer("dim"), c.rank(x)))));
}

Values gather(Call& c) {
  const NodeId x = c.tensor("self");
  if (c.rank(x) == 0) return c.reshape(x, c.out().shape);
  return c.take_along(x, c.axis(c.integer("dim"), c.rank(x)), c.cast(c.tensor("index"), DType::i64));
}

Values take_along_dim(Call& c) {
  NodeId x = c.tensor("self"), index = c.cast(c.tensor("indices"), DType::i64);
  if (!c.has("dim")) {
    return c.take(c.reshape(x, {element_count(c.shape(x))}), 0, c.reshape(index, {element_count(c.shape(index))}));
  }
  const int axis = c.axis(c.integer("dim"), c.rank(x));
  Shape x_shape = c.shape(x), i_shape = c.shape(index);
  for (size_t k = 0; k < x_shape.size(); ++k) {
    if (static_cast<int>(k) != axis) x_shape[k] = i_shape[k] = std::max(x_shape[k], i_shape[k]);
  }
  return c.take_along(c.expand(x, x_shape), axis, c.expand(index, i_shape));
}

Values take(Call& c) {
  const NodeId x = c.tensor("self");
  const int64_t n = element_count(c.shape(x));
  return c.take(c.reshape(x, {n}), 0, c.non_negative(c.tensor("index"), n));
}

/// x[i, :, j]: indexed axes go where the first was if they are neighbours, else to the front.
Values advanced_index(Call& c) {
  const NodeId x = c.tensor("self");
  const auto given = c.maybe_tensors("indices");
  Axes axes;
  Nodes indices;
  std::vector<Shape> shapes;
  for (size_t i = 0; i < given.size(); ++i) {
    if (!given[i]) continue;
    if (c.dtype(*given[i]) == DType::boolean) c.refuse_argument("indexes by a mask, so its shape depends on values");
    if (i >= c.shape(x).size()) c.refuse_argument("has more indices than axes");
    axes.push_back(static_cast<int>(i));
    indices.push_back(c.non_negative(*given[i], c.size(x, static_cast<int>(i))));
    shapes.push_back(c.shape(*given[i]));
  }
  if (axes.empty()) return x;
  const auto shape = broadcast_shapes(shapes);
  if (!shape) c.refuse_argument("has indices that do not broadcast");
  for (NodeId& i : indices) i = c.expand(i, *shape);
  NodeId y = c.g.gather(x, indices, axes);
  const bool neighbours = axes.back() - axes.front() + 1 == static_cast<int>(axes.size());
  for (size_t k = 0; !neighbours && k < shape->size(); ++k) {
    y = c.move_axis(y, axes[0] + static_cast<int>(k), static_cast<int>(k));
  }
  return y;
}

Values ordered(Call& c, NodeId x, int axis, int64_t k, bool largest) {
  const NodeId places = c.g.sort(x, axis, k, largest);
  return {c.take_along(x, axis, places), places};
}

Values sort(Call& c, const char* dim_name) {
  const NodeId x = c.tensor("self");
  if (c.rank(x) == 0) return {x, c.full(0, DType::i64, {})};
  const int axis = c.axis(c.integer(dim_name, dim_name == std::string_view("dim") ? -1 : 0), c.rank(x));
  return ordered(c, x, axis, c.size(x, axis), c.flag("descending", false));
}

Values topk(Call& c) {
  const NodeId x = c.tensor("self");
  if (c.rank(x) == 0) return {x, c.full(0, DType::i64, {})};
  const int axis = c.axis(c.integer("dim", -1), c.rank(x));
  const int64_t k = c.integer("k");
  if (k < 0 || k > c.size(x, axis)) c.refuse_argument("asks for more elements than there are");
  return ordered(c, x, axis, k, c.flag("largest", true));
}

/// The k-th smallest of an axis.
Values kth(Call& c, int64_t k, int axis) {
  const NodeId x = c.tensor("self");
  const Values all = ordered(c, x, axis, k, false);
  const auto pick = [&](NodeId v) {
    const NodeId one = c.slice(v, axis, k - 1, k);
    return c.flag("keepdim", false) ? one : c.squeeze(one, axis);
  };
  return {pick(all[0]), pick(all[1])};
}

Values kthvalue(Call& c) {
  const int axis = c.axis(c.integer("dim", -1), c.rank(c.tensor("self")));
  return kth(c, c.integer("k"), axis);
}

/// PyTorch's median is the lower of the two middle elements.
Values median(Call& c) {
  const NodeId x = c.tensor("self");
  const int axis = c.axis(c.integer("dim"), c.rank(x));
  return kth(c, (c.size(x, axis) + 1) / 2, axis);
}

Values one_hot(Call& c) {
  const NodeId x = c.tensor("self");
  const int64_t classes = c.out().shape.back();
  const NodeId label = c.index_along(classes, c.rank(x), c.rank(x) + 1);
  return c.map(c.unsqueeze(x, c.rank(x)), label, [](E v, E l) { return (v == l).to(DType::i64); });
}

/// How many boundaries lie below (or at) each value: the boundaries are sorted.
Values bucketize(Call& c) {
  const NodeId x = c.tensor("self");
  const NodeId edges = c.cast(c.tensor("boundaries"), c.dtype(x));
  const bool right = c.flag("right", false);
  const NodeId below = c.map(c.unsqueeze(x, c.rank(x)), edges,
                             [&](E v, E edge) { return (right ? edge <= v : edge < v).to(DType::i64); });
  return c.sum(below, {c.rank(x)});
}

}  // namespace

Rows index_rows() {
  return {
      {"embedding", embedding},
      {"embedding_bag.padding_idx embedding_bag _embedding_bag _embedding_bag_forward_only", embedding_bag},
      {"index_select", index_select},
      {"gather", gather},
      {"take_along_dim", take_along_dim},
      {"take", take},
      {"index.Tensor _unsafe_index.Tensor", advanced_index},
      {"sort sort.stable", [](Call& c) { return sort(c, "dim"); }},
      {"argsort argsort.stable", [](Call& c) { return Values{sort(c, "dim")[1]}; }},
      {"msort", [](Call& c) { return Values{sort(c, "no dim")[0]}; }},
      {"topk", topk},
      {"kthvalue", kthvalue},
      {"median.dim", median},
      {"one_hot", one_hot},
      {"bucketize.Tensor", bucketize},
  };
}

}  // namespace kw::graph::aten
