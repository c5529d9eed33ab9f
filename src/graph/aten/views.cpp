#include <algorithm>

#include "graph/aten/call.h"

/// Views that keep or choose elements: reshape, permute, slice, and their scatters.
namespace kw::graph::aten {

namespace {

Values same(Call& c) { return c.tensor("self"); }

/// Any op whose result is its input's elements in row-major order.
Values reshaped(Call& c) {
  const NodeId x = c.tensor("self");
  if (element_count(c.shape(x)) != element_count(c.out().shape)) c.refuse_argument("changes the element count");
  return c.reshape(x, c.out().shape);
}

Values transpose(Call& c, const char* a, const char* b) {
  const NodeId x = c.tensor("self");
  const int n = c.rank(x);
  if (n == 0) return x;
  return c.transpose(x, c.axis(c.integer(a), n), c.axis(c.integer(b), n));
}

Values swap_last(Call& c) {
  const NodeId x = c.tensor("self");
  return c.rank(x) < 2 ? x : c.transpose(x, c.rank(x) - 2, c.rank(x) - 1);
}

Values permute(Call& c) {
  const NodeId x = c.tensor("self");
  Axes perm;
  for (int64_t d : c.ints("dims")) perm.push_back(c.axis(d, c.rank(x)));
  return c.permute(x, perm);
}

Values move_dims(Call& c) {
  const NodeId x = c.tensor("self");
  const int n = c.rank(x);
  const Shape from = c.ints("source"), to = c.ints("destination");
  if (from.size() != to.size()) c.refuse_argument("moves axes to fewer places");
  Axes perm(static_cast<size_t>(n), -1);
  Axes rest = all_axes(static_cast<size_t>(n));
  for (size_t i = 0; i < from.size(); ++i) {
    perm[static_cast<size_t>(c.axis(to[i], n))] = c.axis(from[i], n);
    std::erase(rest, c.axis(from[i], n));
  }
  auto next = rest.begin();
  for (int& p : perm) {
    if (p < 0) p = *next++;
  }
  return c.permute(x, perm);
}

/// Python's clamping of a slice's ends.
struct Range {
  int64_t start, stop, step;
};

Range slice_range(Call& c, int64_t size) {
  const auto wrap = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
  const int64_t start = wrap(c.bound("start", 0));
  const int64_t step = c.integer("step", 1);
  if (step < 1) c.refuse_argument("has a step below one");
  return {start, std::max(start, wrap(c.bound("end", size))), step};
}

Values slice(Call& c) {
  const NodeId x = c.tensor("self");
  const int axis = c.axis(c.integer("dim", 0), c.rank(x));
  const Range r = slice_range(c, c.size(x, axis));
  return c.slice(x, axis, r.start, r.stop, r.step);
}

int64_t wrapped_index(Call& c, int64_t index, int64_t size) {
  if (index < -size || index >= size) c.refuse_argument("selects an element out of range");
  return index < 0 ? index + size : index;
}

Values selected(Call& c) {
  const NodeId x = c.tensor("self");
  const int axis = c.axis(c.integer("dim"), c.rank(x));
  return c.select(x, axis, wrapped_index(c, c.integer("index"), c.size(x, axis)));
}

Values narrow(Call& c) {
  const NodeId x = c.tensor("self");
  const int axis = c.axis(c.integer("dim"), c.rank(x));
  const int64_t at = c.integer("start");
  const int64_t start = at < 0 ? at + c.size(x, axis) : at;
  return c.slice(x, axis, start, start + c.integer("length"));
}

/// Slices of the given sizes, one after the other.
Values pieces(Call& c, NodeId x, int axis, const Shape& sizes) {
  Nodes out;
  int64_t at = 0;
  for (int64_t n : sizes) {
    out.push_back(c.slice(x, axis, at, at + n));
    at += n;
  }
  return out;
}

Shape equal_pieces(int64_t total, int64_t each) {
  Shape sizes;
  for (int64_t at = 0; at < total; at += each) sizes.push_back(std::min(each, total - at));
  return sizes.empty() ? Shape{0} : sizes;
}

Values split(Call& c) {
  const NodeId x = c.tensor("self");
  const int axis = c.axis(c.integer("dim", 0), c.rank(x));
  if (c.has("split_sizes")) return pieces(c, x, axis, c.ints("split_sizes"));
  const int64_t each = c.integer("split_size");
  if (each < 1) c.refuse_argument("splits into empty pieces");
  return pieces(c, x, axis, equal_pieces(c.size(x, axis), each));
}

Values chunk(Call& c) {
  const NodeId x = c.tensor("self");
  const int axis = c.axis(c.integer("dim", 0), c.rank(x));
  const int64_t count = c.integer("chunks");
  if (count < 1) c.refuse_argument("splits into no pieces");
  const int64_t each = std::max<int64_t>(1, (c.size(x, axis) + count - 1) / count);
  return pieces(c, x, axis, equal_pieces(c.size(x, axis), each));
}

Values tensor_split(Call& c) {
  const NodeId x = c.tensor("self");
  const int axis = c.axis(c.integer("dim", 0), c.rank(x));
  const int64_t total = c.size(x, axis);
  Nodes out;
  if (c.has("indices")) {
    int64_t at = 0;
    for (int64_t stop : c.ints("indices")) {
      out.push_back(c.slice(x, axis, at, std::clamp<int64_t>(stop, at, total)));
      at = std::clamp<int64_t>(stop, at, total);
    }
    out.push_back(c.slice(x, axis, at, total));
    return out;
  }
  const int64_t count = c.integer("sections");
  if (count < 1) c.refuse_argument("splits into no pieces");
  Shape sizes(static_cast<size_t>(count), total / count);
  for (int64_t i = 0; i < total % count; ++i) ++sizes[static_cast<size_t>(i)];
  return pieces(c, x, axis, sizes);
}

Values unbind(Call& c) {
  const NodeId x = c.tensor("self");
  const int axis = c.axis(c.integer("dim", 0), c.rank(x));
  Nodes out;
  for (int64_t i = 0; i < c.size(x, axis); ++i) out.push_back(c.select(x, axis, i));
  return out;
}

Values expand(Call& c) { return c.expand(c.tensor("self"), c.out().shape); }

Values flip(Call& c) {
  const NodeId x = c.tensor("self");
  const Axes axes = c.axes(c.ints("dims"), c.rank(x));
  return axes.empty() ? x : c.g.flip(x, axes);
}

Values flip_axis(Call& c, int axis) { return c.g.flip(c.tensor("self"), {axis}); }

NodeId diagonal_of(Call& c, NodeId x, int64_t offset, int a, int b) {
  const int n = c.rank(x);
  x = c.move_axis(c.move_axis(x, a, n - 1), b > a ? b - 1 : b, n - 1);
  const int64_t rows = c.size(x, n - 2), columns = c.size(x, n - 1);
  const int64_t down = std::max<int64_t>(0, -offset), right = std::max<int64_t>(0, offset);
  const int64_t count = std::max<int64_t>(0, std::min(rows - down, columns - right));
  const auto index = [&](int64_t shift) { return c.shifted(c.g.iota(count), static_cast<double>(shift)); };
  return c.g.gather(x, {index(down), index(right)}, {n - 2, n - 1});
}

Values diagonal(Call& c) {
  const NodeId x = c.tensor("self");
  const int n = c.rank(x);
  return diagonal_of(c, x, c.integer("offset", 0), c.axis(c.integer("dim1", 0), n), c.axis(c.integer("dim2", 1), n));
}

/// Strides over a dense tensor's storage, as a gather.
Values as_strided(Call& c) {
  const NodeId x = c.tensor("self");
  const Shape size = c.ints("size"), stride = c.ints("stride");
  if (!c.is_dense("self")) c.refuse_argument("reads the storage of a view");
  if (size.size() != stride.size()) c.refuse_argument("gives sizes and strides of different length");
  const int n = static_cast<int>(size.size());
  NodeId index = c.full(static_cast<double>(c.integer("storage_offset", 0)), DType::i64, size);
  int64_t last = c.integer("storage_offset", 0);
  for (int i = 0; i < n; ++i) {
    const auto k = static_cast<size_t>(i);
    index = c.add(index, c.scaled(c.index_along(size[k], i, n), static_cast<double>(stride[k])));
    last += (size[k] - 1) * stride[k];
  }
  const int64_t elements = element_count(c.shape(x));
  if (last >= elements || last < 0) c.refuse_argument("reads beyond its tensor");
  return c.g.gather(c.reshape(x, {elements}), {index}, {0});
}

/// Writes `source` over a range of `axis`: what a slice or select assignment becomes.
Values write_range(Call& c, NodeId base, NodeId source, int axis, const Range& r) {
  const int64_t count = (r.stop - r.start + r.step - 1) / r.step;
  const auto where = [&](E i) { return i * static_cast<double>(r.step) + static_cast<double>(r.start); };
  source = c.cast(source, c.dtype(base));
  Shape part = c.shape(base);
  part[static_cast<size_t>(axis)] = count;
  const NodeId index = c.map(c.index_along(count, axis, c.rank(base)), where);
  return c.scatter_along(base, axis, c.expand(index, part), c.expand(source, part), ScatterOp::set);
}

Values slice_scatter(Call& c) {
  const NodeId base = c.tensor("self");
  const int axis = c.axis(c.integer("dim", 0), c.rank(base));
  return write_range(c, base, c.tensor("src"), axis, slice_range(c, c.size(base, axis)));
}

Values select_scatter(Call& c) {
  const NodeId base = c.tensor("self");
  const int axis = c.axis(c.integer("dim"), c.rank(base));
  const int64_t at = wrapped_index(c, c.integer("index"), c.size(base, axis));
  return write_range(c, base, c.unsqueeze(c.tensor("src"), axis), axis, {at, at + 1, 1});
}

}  // namespace

Rows view_rows() {
  return {
      {"view _unsafe_view reshape flatten.using_ints unsqueeze squeeze squeeze.dim squeeze.dims view_as reshape_as "
       "unflatten.int ravel atleast_1d atleast_2d atleast_3d _reshape_alias view_copy unsqueeze_copy",
       reshaped},
      {"alias detach contiguous lift_fresh_copy lift_fresh lift alias_copy detach_ positive conj resolve_conj "
       "resolve_neg",
       same},
      {"transpose.int swapaxes",
       [](Call& c) { return transpose(c, c.has("axis0") ? "axis0" : "dim0", c.has("axis1") ? "axis1" : "dim1"); }},
      {"swapdims", [](Call& c) { return transpose(c, "dim0", "dim1"); }},
      {"t numpy_T mT matrix_H adjoint", swap_last},
      {"permute permute_copy", permute},
      {"movedim.int movedim.intlist moveaxis.int moveaxis.intlist", move_dims},
      {"slice.Tensor slice_copy.Tensor", slice},
      {"select.int select_copy.int", selected},
      {"narrow narrow_copy", narrow},
      {"split.Tensor split.sizes split_with_sizes split_with_sizes_copy split_copy.Tensor", split},
      {"chunk", chunk},
      {"tensor_split.sections tensor_split.indices", tensor_split},
      {"unbind.int unbind_copy.int", unbind},
      {"expand expand_as broadcast_to expand_copy", expand},
      {"flip", flip},
      {"fliplr", [](Call& c) { return flip_axis(c, 1); }},
      {"flipud", [](Call& c) { return flip_axis(c, 0); }},
      {"diagonal diagonal_copy", diagonal},
      {"as_strided as_strided_copy", as_strided},
      {"slice_scatter", slice_scatter},
      {"select_scatter", select_scatter},
  };
}

}  // namespace kw::graph::aten
