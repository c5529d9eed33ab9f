#include "graph/aten/algebra.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace kw::graph::aten {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

double product_over(const Shape& shape, const Axes& axes) {
  double n = 1;
  for (int axis : axes) n *= static_cast<double>(shape[static_cast<size_t>(axis)]);
  return n;
}

}  // namespace

double rounded(double value, DType type) {
  Tensor cell = Tensor::zeros(type, {1});
  store_element(cell, 0, value);
  return load_element(cell, 0);
}

DType compute_type(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16 ? DType::f32 : dtype; }

Axes all_axes(size_t rank) {
  Axes axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

Shape reduced_shape(const Shape& shape, const Axes& axes, bool keepdim) {
  Shape out;
  for (int i = 0; i < static_cast<int>(shape.size()); ++i) {
    const bool gone = std::find(axes.begin(), axes.end(), i) != axes.end();
    if (!gone) out.push_back(shape[static_cast<size_t>(i)]);
    if (gone && keepdim) out.push_back(1);
  }
  return out;
}

std::optional<Shape> broadcast_shapes(const std::vector<Shape>& shapes) {
  Shape out;
  for (const Shape& s : shapes) {
    if (s.size() > out.size()) out.insert(out.begin(), s.size() - out.size(), 1);
    for (size_t i = 0; i < s.size(); ++i) {
      int64_t& have = out[out.size() - s.size() + i];
      if (have == 1) have = s[i];
      if (s[i] != 1 && s[i] != have) return std::nullopt;
    }
  }
  return out;
}

NodeId Algebra::map_all(const Nodes& inputs, const std::function<E(const std::vector<E>&)>& f) {
  ScalarBuilder b;
  std::vector<E> args;
  for (size_t i = 0; i < inputs.size(); ++i) {
    args.push_back({&b, b.arg(static_cast<int>(i), g.dtype(inputs[i]))});
  }
  const E root = f(args);
  return g.map(b.take(root.value), inputs);
}

NodeId Algebra::map(NodeId x, const std::function<E(E)>& f) {
  return map_all({x}, [&](const std::vector<E>& a) { return f(a[0]); });
}

NodeId Algebra::map(NodeId x, NodeId y, const std::function<E(E, E)>& f) {
  return map_all({x, y}, [&](const std::vector<E>& a) { return f(a[0], a[1]); });
}

NodeId Algebra::map(NodeId x, NodeId y, NodeId z, const std::function<E(E, E, E)>& f) {
  return map_all({x, y, z}, [&](const std::vector<E>& a) { return f(a[0], a[1], a[2]); });
}

NodeId Algebra::scaled(NodeId x, double factor) {
  return factor == 1 ? x : map(x, [&](E v) { return v * factor; });
}

NodeId Algebra::shifted(NodeId x, double offset) {
  return offset == 0 ? x : map(x, [&](E v) { return v + offset; });
}

NodeId Algebra::reduce(ReduceOp op, NodeId x, const Axes& axes, bool keepdim) {
  return axes.empty() ? x : g.reduce(op, x, axes, keepdim);
}

NodeId Algebra::mean(NodeId x, const Axes& axes, bool keepdim) {
  const double n = product_over(shape(x), axes);
  return scaled(sum(x, axes, keepdim), 1 / n);
}

NodeId Algebra::variance(NodeId x, const Axes& axes, double correction, bool keepdim) {
  const double n = product_over(shape(x), axes);
  const NodeId distance = sub(x, mean(x, axes, true));
  return scaled(sum(square(distance), axes, keepdim), 1 / std::max(0.0, n - correction));
}

NodeId Algebra::logsumexp(NodeId x, const Axes& axes, bool keepdim) {
  if (axes.empty()) return x;
  const NodeId top = reduce(ReduceOp::max, x, axes, true);
  // An infinite maximum would make inf - inf; any finite pivot gives the right limit.
  const NodeId pivot = map(top, [](E m) { return aten::select(is_inf(m), 0.0, m); });
  const NodeId total = sum(map(x, pivot, [](E v, E m) { return exp(v - m); }), axes, true);
  const NodeId kept = map(total, pivot, [](E s, E m) { return log(s) + m; });
  return keepdim ? kept : reshape(kept, reduced_shape(shape(x), axes, false));
}

NodeId Algebra::softmax(NodeId x, int axis) {
  const NodeId top = reduce(ReduceOp::max, x, {axis}, true);
  const NodeId e = map(x, top, [](E v, E m) { return exp(v - m); });
  return div(e, sum(e, {axis}, true));
}

NodeId Algebra::log_softmax(NodeId x, int axis) {
  const NodeId centred = sub(x, reduce(ReduceOp::max, x, {axis}, true));
  const NodeId total = sum(unary(ScalarOp::exp, centred), {axis}, true);
  return map(centred, total, [](E v, E s) { return v - log(s); });
}

NodeId Algebra::norm(NodeId x, double p, const Axes& axes, bool keepdim) {
  if (p == 2) return unary(ScalarOp::sqrt, sum(square(x), axes, keepdim));
  if (p == 0) return sum(map(x, [](E v) { return (v != 0.0).to(v.dtype()); }), axes, keepdim);
  const NodeId size_of = unary(ScalarOp::abs, x);
  if (p == 1) return sum(size_of, axes, keepdim);
  if (p == infinity) return reduce(ReduceOp::max, size_of, axes, keepdim);
  if (p == -infinity) return reduce(ReduceOp::min, size_of, axes, keepdim);
  const NodeId powers = map(size_of, [&](E v) { return p == 3 ? v * v * v : power(v, p); });
  return map(sum(powers, axes, keepdim), [&](E s) { return power(s, 1 / p); });
}

NodeId Algebra::unsqueeze(NodeId x, int axis) {
  Shape to = shape(x);
  to.insert(to.begin() + axis, 1);
  return reshape(x, to);
}

NodeId Algebra::squeeze(NodeId x, int axis) {
  Shape to = shape(x);
  to.erase(to.begin() + axis);
  return reshape(x, to);
}

NodeId Algebra::transpose(NodeId x, int a, int b) {
  Axes perm = all_axes(shape(x).size());
  std::swap(perm[static_cast<size_t>(a)], perm[static_cast<size_t>(b)]);
  return permute(x, perm);
}

NodeId Algebra::move_axis(NodeId x, int from, int to) {
  Axes perm = all_axes(shape(x).size());
  perm.erase(perm.begin() + from);
  perm.insert(perm.begin() + to, from);
  return permute(x, perm);
}

NodeId Algebra::slice(NodeId x, int axis, int64_t start, int64_t stop, int64_t step) {
  return start == 0 && stop == size(x, axis) && step == 1 ? x : g.slice(x, axis, start, stop, step);
}

NodeId Algebra::select(NodeId x, int axis, int64_t index) { return squeeze(slice(x, axis, index, index + 1), axis); }

NodeId Algebra::pad_or_crop(NodeId x, const std::vector<int64_t>& lo, const std::vector<int64_t>& hi, double value) {
  std::vector<int64_t> grow_lo(lo), grow_hi(hi);
  bool grows = false;
  for (int i = 0; i < rank(x); ++i) {
    const auto k = static_cast<size_t>(i);
    x = slice(x, i, std::max<int64_t>(0, -lo[k]), size(x, i) - std::max<int64_t>(0, -hi[k]));
    grow_lo[k] = std::max<int64_t>(0, lo[k]);
    grow_hi[k] = std::max<int64_t>(0, hi[k]);
    grows = grows || grow_lo[k] > 0 || grow_hi[k] > 0;
  }
  return grows ? g.pad(x, grow_lo, grow_hi, rounded(value, dtype(x))) : x;
}

NodeId Algebra::repeat_axis(NodeId x, int axis, int64_t times) {
  Shape wide = shape(x);
  Shape flat = wide;
  flat[static_cast<size_t>(axis)] *= times;
  wide.insert(wide.begin() + axis + 1, times);
  return reshape(expand(unsqueeze(x, axis + 1), wide), flat);
}

NodeId Algebra::flatten_from(NodeId x, int axis) {
  const Shape from = shape(x);
  Shape to(from.begin(), from.begin() + axis);
  to.push_back(std::accumulate(from.begin() + axis, from.end(), int64_t{1}, std::multiplies<>()));
  return reshape(x, to);
}

NodeId Algebra::index_along(int64_t count, int axis, int of_rank) {
  Shape to(static_cast<size_t>(of_rank), 1);
  to[static_cast<size_t>(axis)] = count;
  return reshape(g.iota(count), to);
}

NodeId Algebra::eye(int64_t rows, int64_t columns, int64_t offset, DType type) {
  const NodeId row = index_along(rows, 0, 2);
  const NodeId column = index_along(columns, 1, 2);
  const auto shift = static_cast<double>(offset);
  return map(row, column, [&](E r, E c) { return (r + shift == c).to(type); });
}

NodeId Algebra::triangle(NodeId x, int64_t diagonal, bool lower) {
  const int n = rank(x);
  const NodeId row = index_along(size(x, n - 2), n - 2, n);
  const NodeId column = index_along(size(x, n - 1), n - 1, n);
  const auto d = static_cast<double>(diagonal);
  return map(x, row, column, [&](E v, E r, E c) { return aten::select(lower ? c <= r + d : c >= r + d, v, 0.0); });
}

NodeId Algebra::take(NodeId x, int axis, NodeId index) { return g.gather(x, {index}, {axis}); }

NodeId Algebra::take_along(NodeId x, int axis, NodeId index) {
  const int n = rank(x);
  Nodes indices;
  for (int i = 0; i < n; ++i) {
    indices.push_back(i == axis ? index : expand(index_along(size(index, i), i, n), shape(index)));
  }
  return g.gather(x, indices, all_axes(static_cast<size_t>(n)));
}

NodeId Algebra::scatter_along(NodeId base, int axis, NodeId index, NodeId updates, ScatterOp op) {
  const int n = rank(base);
  Nodes indices;
  for (int i = 0; i < n; ++i) {
    indices.push_back(i == axis ? index : expand(index_along(size(index, i), i, n), shape(index)));
  }
  return g.scatter(base, updates, indices, all_axes(static_cast<size_t>(n)), op);
}

NodeId Algebra::non_negative(NodeId index, int64_t count) {
  const auto n = static_cast<double>(count);
  return map(cast(index, DType::i64), [&](E i) { return aten::select(i < 0.0, i + n, i); });
}

}  // namespace kw::graph::aten
