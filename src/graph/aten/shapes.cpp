#include <algorithm>
#include <numeric>

#include "graph/aten/call.h"

/// Joining, padding, repeating and rearranging.
namespace kw::graph::aten {

namespace {

Nodes converted(Call& c, Nodes xs) {
  for (NodeId& x : xs) x = c.cast(x, c.out().dtype);
  return xs;
}

Values cat(Call& c) {
  Nodes xs = converted(c, c.tensors("tensors"));
  // torch.cat skips empty 1-d tensors of any rank mismatch, a leftover that models still use.
  std::erase_if(xs, [&](NodeId x) { return c.shape(x) == Shape{0} && c.out().shape.size() != 1; });
  if (xs.empty()) c.refuse_argument("joins no tensors");
  return c.cat(xs, c.axis(c.integer("dim", 0), c.rank(xs[0])));
}

Values stack(Call& c) {
  Nodes xs = converted(c, c.tensors("tensors"));
  if (xs.empty()) c.refuse_argument("stacks no tensors");
  const int axis = c.axis(c.integer("dim", 0), c.rank(xs[0]) + 1);
  for (NodeId& x : xs) x = c.unsqueeze(x, axis);
  return c.cat(xs, axis);
}

/// hstack, vstack and dstack: raise the rank as PyTorch does, then join.
Values join(Call& c, int min_rank, int axis) {
  Nodes xs = converted(c, c.tensors("tensors"));
  for (NodeId& x : xs) {
    while (c.rank(x) < std::min(min_rank, 2)) x = c.unsqueeze(x, 0);
    if (c.rank(x) < min_rank) x = c.unsqueeze(x, 2);
  }
  return c.cat(xs, c.rank(xs[0]) == 1 ? 0 : axis);
}

/// Where padded position p of an axis reads from, for the modes that repeat the input.
E source_index(E p, const std::string& mode, int64_t lo, int64_t size) {
  const auto n = static_cast<double>(size);
  const E i = p - static_cast<double>(lo);
  if (mode == "circular") return aten::remainder(i, n);
  if (mode == "replicate") return minimum(maximum(i, 0.0), n - 1);
  const E folded = absolute(i);  // reflect: no edge repeats
  return select(folded > n - 1, 2 * (n - 1) - folded, folded);
}

NodeId pad_axis(Call& c, NodeId x, int axis, int64_t lo, int64_t hi, const std::string& mode) {
  if (lo == 0 && hi == 0) return x;
  const int64_t size = c.size(x, axis);
  if (mode == "reflect" && std::max(lo, hi) >= size) c.refuse_argument("reflects more than its input holds");
  const NodeId index = c.map(c.g.iota(size + lo + hi), [&](E p) { return source_index(p, mode, lo, size); });
  return c.take(x, axis, index);
}

/// `pad` counts pairs from the last axis backwards; negative amounts crop.
Values pad_by(Call& c, const std::string& mode, double value) {
  NodeId x = c.tensor("self");
  const Shape pad = c.ints("pad", c.ints("padding"));
  const int n = c.rank(x);
  std::vector<int64_t> lo(static_cast<size_t>(n), 0), hi(lo);
  if (pad.size() % 2 != 0 || pad.size() / 2 > lo.size()) c.refuse_argument("pads more axes than there are");
  for (size_t i = 0; i < pad.size() / 2; ++i) {
    lo[lo.size() - 1 - i] = pad[2 * i];
    hi[hi.size() - 1 - i] = pad[2 * i + 1];
  }
  if (mode == "constant") return c.pad_or_crop(x, lo, hi, value);
  for (int i = 0; i < n; ++i) x = pad_axis(c, x, i, lo[static_cast<size_t>(i)], hi[static_cast<size_t>(i)], mode);
  return x;
}

Values pad(Call& c) { return pad_by(c, c.text("mode", "constant"), c.number("value", 0)); }

NodeId roll_axis(Call& c, NodeId x, int axis, int64_t shift) {
  const int64_t n = c.size(x, axis);
  const int64_t by = n == 0 ? 0 : ((shift % n) + n) % n;
  if (by == 0) return x;
  return c.cat({c.slice(x, axis, n - by, n), c.slice(x, axis, 0, n - by)}, axis);
}

Values roll(Call& c) {
  NodeId x = c.tensor("self");
  const Shape shifts = c.ints("shifts"), dims = c.ints("dims");
  if (dims.empty()) {
    const NodeId flat = c.reshape(x, {element_count(c.shape(x))});
    return c.reshape(roll_axis(c, flat, 0, shifts.empty() ? 0 : shifts[0]), c.shape(x));
  }
  if (shifts.size() != dims.size()) c.refuse_argument("gives shifts and axes of different length");
  for (size_t i = 0; i < dims.size(); ++i) x = roll_axis(c, x, c.axis(dims[i], c.rank(x)), shifts[i]);
  return x;
}

/// The whole of axis i, `times[i]` times over: new axes before each, expanded, then merged.
NodeId tiled(Call& c, NodeId x, Shape times) {
  Shape own = c.shape(x);
  if (times.size() > own.size()) own.insert(own.begin(), times.size() - own.size(), 1);
  if (times.size() < own.size()) times.insert(times.begin(), own.size() - times.size(), 1);
  Shape split, wide, merged;
  for (size_t i = 0; i < own.size(); ++i) {
    if (times[i] != 1) split.push_back(1), wide.push_back(times[i]);
    split.push_back(own[i]), wide.push_back(own[i]);
    merged.push_back(own[i] * times[i]);
  }
  return c.reshape(c.expand(c.reshape(x, split), wide), merged);
}

Values repeat_interleave(Call& c) {
  NodeId x = c.tensor("self");
  if (!c.has("dim")) x = c.reshape(x, {element_count(c.shape(x))});
  return c.repeat_axis(x, c.axis(c.integer("dim", 0), c.rank(x)), c.integer("repeats"));
}

Values triangle(Call& c, bool lower) { return c.triangle(c.tensor("self"), c.integer("diagonal", 0), lower); }

Values broadcast_tensors(Call& c) {
  Nodes xs = c.tensors("tensors");
  for (size_t i = 0; i < xs.size(); ++i) xs[i] = c.expand(xs[i], c.out(i).shape);
  return xs;
}

Values meshgrid(Call& c) {
  Nodes xs = c.tensors("tensors");
  const int n = static_cast<int>(xs.size());
  const bool swap = c.text("indexing", "ij") == "xy" && n > 1;
  for (int i = 0; i < n; ++i) {
    auto& x = xs[static_cast<size_t>(i)];
    const int axis = swap && i < 2 ? 1 - i : i;
    Shape along(static_cast<size_t>(n), 1);
    along[static_cast<size_t>(axis)] = element_count(c.shape(x));
    x = c.expand(c.reshape(x, along), c.out(static_cast<size_t>(i)).shape);
  }
  return xs;
}

/// [N, C*r*r, H, W] -> [N, C, H*r, W*r], or back.
Values pixel_shuffle(Call& c) {
  const NodeId x = c.tensor("self");
  const int64_t r = c.factor("upscale_factor");
  const Shape s = c.shape(x);
  const int n = c.rank(x) - 3;
  Shape split(s.begin(), s.begin() + n);
  const auto at = static_cast<size_t>(n);
  split.insert(split.end(), {s[at] / (r * r), r, r, s[at + 1], s[at + 2]});
  Axes perm = all_axes(at);
  for (int k : {0, 3, 1, 4, 2}) perm.push_back(n + k);
  return c.reshape(c.permute(c.reshape(x, split), perm), c.out().shape);
}

Values pixel_unshuffle(Call& c) {
  const NodeId x = c.tensor("self");
  const int64_t r = c.factor("downscale_factor");
  const Shape s = c.shape(x);
  const int n = c.rank(x) - 3;
  Shape split(s.begin(), s.begin() + n);
  const auto at = static_cast<size_t>(n);
  split.insert(split.end(), {s[at], s[at + 1] / r, r, s[at + 2] / r, r});
  Axes perm = all_axes(at);
  for (int k : {0, 2, 4, 1, 3}) perm.push_back(n + k);
  return c.reshape(c.permute(c.reshape(x, split), perm), c.out().shape);
}

Values channel_shuffle(Call& c) {
  const NodeId x = c.tensor("self");
  Shape split = c.shape(x);
  const int64_t groups = c.factor("groups");
  split[1] /= groups;
  split.insert(split.begin() + 1, groups);
  return c.reshape(c.transpose(c.reshape(x, split), 1, 2), c.shape(x));
}

/// Sliding windows of one axis, appended as the last axis (torch.Tensor.unfold).
Values unfold(Call& c) {
  const NodeId x = c.tensor("self");
  if (c.rank(x) == 0) return c.reshape(x, c.out().shape);
  const int axis = c.axis(c.integer("dimension"), c.rank(x));
  return c.g.window(x, {{axis}, {c.integer("size")}, {c.integer("step")}, {1}});
}

Values rot90(Call& c) {
  NodeId x = c.tensor("self");
  const Axes dims = c.axes(c.ints("dims", {0, 1}), c.rank(x));
  const Shape given = c.ints("dims", {0, 1});
  if (dims.size() != 2) c.refuse_argument("needs two axes");
  const int a = c.axis(given[0], c.rank(x)), b = c.axis(given[1], c.rank(x));
  const int64_t k = ((c.integer("k", 1) % 4) + 4) % 4;
  if (k == 2) return c.g.flip(c.g.flip(x, {a}), {b});
  if (k == 1) return c.transpose(c.g.flip(x, {b}), a, b);
  return k == 3 ? c.g.flip(c.transpose(x, a, b), {b}) : x;
}

Values block_diag(Call& c) {
  int64_t column = 0;
  Nodes rows;
  for (NodeId x : converted(c, c.tensors("tensors"))) {
    while (c.rank(x) < 2) x = c.unsqueeze(x, 0);
    const int64_t right = c.out().shape.at(1) - column - c.size(x, 1);
    rows.push_back(c.g.pad(x, {0, column}, {0, right}, 0));
    column += c.size(x, 1);
  }
  return c.cat(rows, 0);
}

Values diff(Call& c) {
  const DType type = c.dtype(c.tensor("self"));
  const int axis = c.axis(c.integer("dim", -1), c.rank(c.tensor("self")));
  Nodes parts;
  for (const char* name : {"prepend", "self", "append"}) {
    if (c.has(name)) parts.push_back(c.cast(c.tensor(name), type));
  }
  NodeId x = c.cat(parts, axis);
  for (int64_t i = 0; i < c.integer("n", 1); ++i) {
    const int64_t n = c.size(x, axis);
    x = c.map(c.slice(x, axis, 1, n), c.slice(x, axis, 0, n - 1), [](E later, E sooner) {
      return later.dtype() == DType::boolean ? apply(ScalarOp::ne, later, sooner) : later - sooner;
    });
  }
  return x;
}

Values trapezoid(Call& c) {
  const NodeId y = c.x("y");
  const int axis = c.axis(c.integer("dim", -1), c.rank(y));
  const int64_t n = c.size(y, axis);
  const NodeId pairs = c.add(c.slice(y, axis, 1, n), c.slice(y, axis, 0, n - 1));
  return c.scaled(c.sum(pairs, {axis}), c.number("dx", 1) / 2);
}

}  // namespace

Rows shape_rows() {
  return {
      {"cat concat concatenate", cat},
      {"stack", stack},
      {"hstack", [](Call& c) { return join(c, 1, 1); }},
      {"vstack row_stack", [](Call& c) { return join(c, 2, 0); }},
      {"dstack", [](Call& c) { return join(c, 3, 2); }},
      {"pad", pad},
      {"constant_pad_nd", [](Call& c) { return pad_by(c, "constant", c.number("value", 0)); }},
      {"reflection_pad1d reflection_pad2d reflection_pad3d", [](Call& c) { return pad_by(c, "reflect", 0); }},
      {"replication_pad1d replication_pad2d replication_pad3d", [](Call& c) { return pad_by(c, "replicate", 0); }},
      {"_pad_circular", [](Call& c) { return pad_by(c, "circular", 0); }},
      {"roll", roll},
      {"repeat", [](Call& c) { return tiled(c, c.tensor("self"), c.ints("repeats")); }},
      {"tile", [](Call& c) { return tiled(c, c.tensor("self"), c.ints("dims")); }},
      {"repeat_interleave.self_int", repeat_interleave},
      {"tril", [](Call& c) { return triangle(c, true); }},
      {"triu", [](Call& c) { return triangle(c, false); }},
      {"broadcast_tensors", broadcast_tensors},
      {"meshgrid meshgrid.indexing", meshgrid},
      {"pixel_shuffle", pixel_shuffle},
      {"pixel_unshuffle", pixel_unshuffle},
      {"channel_shuffle native_channel_shuffle", channel_shuffle},
      {"unfold unfold_copy", unfold},
      {"rot90", rot90},
      {"block_diag", block_diag},
      {"diff", diff},
      {"trapezoid.dx trapz.dx", trapezoid},
  };
}

}  // namespace kw::graph::aten
