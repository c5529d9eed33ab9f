#include <algorithm>
#include <limits>
#include <numeric>

#include "graph/aten/call.h"

/// Pooling is a Reduce over a window; uneven adaptive windows are gathered. im2col and col2im live here too.
namespace kw::graph::aten {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// An input with its windows laid out: [N..., O..., K...]; `start[i]` (i64, [O_i]) is where a window begins in the
/// unpadded axis i (perhaps negative), `dilation` its step.
struct Windows {
  NodeId values;
  Nodes start;
  Shape dilation;
  int first = 0;  // the first spatial axis
  int count = 0;  // spatial axes
};

struct Geometry {
  Shape kernel, stride, padding, dilation;
  bool ceil = false;
};

Geometry read_geometry(Call& c, int n) {
  Geometry geometry;
  geometry.kernel = c.per_axis("kernel_size", n, {});
  geometry.stride = c.per_axis("stride", n, geometry.kernel);
  geometry.padding = c.per_axis("padding", n, {0});
  geometry.dilation = c.per_axis("dilation", n, {1});
  geometry.ceil = c.flag("ceil_mode", false);
  for (int64_t s : geometry.stride) {
    if (s < 1) c.refuse_argument("has a stride below one");
  }
  return geometry;
}

/// Padding after the end: with ceil_mode a last window may reach further, if it starts inside the padded input.
int64_t padding_after(const Geometry& geometry, size_t i, int64_t size) {
  const int64_t span = geometry.dilation[i] * (geometry.kernel[i] - 1) + 1;
  const int64_t room = size + 2 * geometry.padding[i] - span;
  const int64_t stride = geometry.stride[i];
  int64_t count = room / stride + 1;
  if (geometry.ceil) {
    count = (room + stride - 1) / stride + 1;
    if ((count - 1) * stride >= size + geometry.padding[i]) --count;
  }
  return std::max(geometry.padding[i], (count - 1) * stride + span - size - geometry.padding[i]);
}

NodeId padded(Call& c, NodeId x, const Geometry& geometry, double fill) {
  const auto n = geometry.kernel.size(), first = c.shape(x).size() - n;
  std::vector<int64_t> lo(first + n, 0), hi(lo);
  for (size_t i = 0; i < n; ++i) {
    lo[first + i] = geometry.padding[i];
    hi[first + i] = padding_after(geometry, i, c.size(x, static_cast<int>(first + i)));
  }
  return c.pad_or_crop(x, lo, hi, fill);
}

Windows windows_of(Call& c, NodeId x, const Geometry& geometry, double fill) {
  const int n = static_cast<int>(geometry.kernel.size());
  Windows w{padded(c, x, geometry, fill), {}, geometry.dilation, c.rank(x) - n, n};
  Axes axes(static_cast<size_t>(n));
  std::iota(axes.begin(), axes.end(), w.first);
  w.values = c.g.window(w.values, {axes, geometry.kernel, geometry.stride, geometry.dilation});
  for (int i = 0; i < n; ++i) {
    const auto k = static_cast<size_t>(i);
    const auto stride = static_cast<double>(geometry.stride[k]), pad = static_cast<double>(geometry.padding[k]);
    w.start.push_back(c.map(c.g.iota(c.size(w.values, w.first + i)), [&](E o) { return o * stride - pad; }));
  }
  return w;
}

Axes tap_axes(const Windows& w) {
  Axes axes(static_cast<size_t>(w.count));
  std::iota(axes.begin(), axes.end(), w.first + w.count);
  return axes;
}

/// Row-major position in the unpadded input of each window's largest element.
NodeId largest_places(Call& c, const Windows& w, const Shape& spatial) {
  const Shape s = c.shape(w.values);
  const int flat_axis = w.first + w.count;
  NodeId rest = c.reduce(ReduceOp::argmax, c.flatten_from(w.values, flat_axis), {flat_axis});
  NodeId place = c.full(0, DType::i64, c.shape(rest));
  double scale = 1;
  for (int i = w.count - 1; i >= 0; --i) {
    const auto k = static_cast<size_t>(i);
    const auto taps = static_cast<double>(s[static_cast<size_t>(flat_axis + i)]);
    Shape along(static_cast<size_t>(flat_axis), 1);
    along[static_cast<size_t>(w.first + i)] = c.size(w.start[k], 0);
    const auto step = static_cast<double>(w.dilation[k]);
    const NodeId at = c.map(c.reshape(w.start[k], along), rest,
                            [&](E start, E tap) { return (start + aten::remainder(tap, taps) * step) * scale; });
    place = c.add(place, at);
    rest = c.map(rest, [&](E tap) { return floor_div(tap, taps); });
    scale *= static_cast<double>(spatial[k]);
  }
  return place;
}

Values largest(Call& c, const Windows& w, NodeId x) {
  const Shape all = c.shape(x);
  const Shape spatial(all.begin() + w.first, all.end());
  return {c.reduce(ReduceOp::max, w.values, tap_axes(w)), largest_places(c, w, spatial)};
}

double lowest(DType type) { return is_float(type) ? -infinity : -0x1p52; }

Values max_pool(Call& c, int n) {
  const NodeId x = c.tensor("self");
  return largest(c, windows_of(c, x, read_geometry(c, n), lowest(c.dtype(x))), x);
}

/// How many elements each window of one axis holds, [O]: only real ones, or padding too (but nothing beyond it).
NodeId window_counts(Call& c, const Geometry& all, size_t i, int64_t size, bool with_padding) {
  Geometry one{{all.kernel[i]}, {all.stride[i]}, {all.padding[i]}, {1}, all.ceil};
  const int64_t after = padding_after(one, 0, size);
  const int64_t pad = all.padding[i];
  const NodeId ones = c.full(1, c.compute(), {with_padding ? size + 2 * pad : size});
  const NodeId row = with_padding ? c.pad_or_crop(ones, {0}, {after - pad}, 0) : c.pad_or_crop(ones, {pad}, {after}, 0);
  return c.sum(c.g.window(row, {{0}, one.kernel, one.stride, {1}}), {1});
}

Values avg_pool(Call& c, int n) {
  const NodeId x = c.x("self");
  const Geometry geometry = read_geometry(c, n);
  const Windows w = windows_of(c, x, geometry, 0);
  NodeId total = c.sum(w.values, tap_axes(w));
  if (c.has("divisor_override")) return c.scaled(total, 1 / c.number("divisor_override"));
  const bool with_padding = c.flag("count_include_pad", true);
  double plain = 1;
  for (size_t i = 0; i < geometry.kernel.size(); ++i) {
    const int64_t size = c.size(x, w.first + static_cast<int>(i)), pad = geometry.padding[i];
    const bool uniform = padding_after(geometry, i, size) == pad && (with_padding || pad == 0);
    if (uniform) {
      plain *= static_cast<double>(geometry.kernel[i]);
      continue;
    }
    const NodeId counts = window_counts(c, geometry, i, size, with_padding);
    Shape along(c.shape(total).size(), 1);
    along[static_cast<size_t>(w.first) + i] = c.size(counts, 0);
    total = c.div(total, c.reshape(counts, along));
  }
  return c.scaled(total, 1 / plain);
}

/// (sum |x|^p)^(1/p) over windows reaches us already split into pow, avg_pool and mul.

Shape adaptive_sizes(Call& c, NodeId x, int n) {
  Shape sizes = c.per_axis("output_size", n, {});
  for (int64_t s : sizes) {
    if (s < 1) c.refuse_argument("pools to an empty output");
  }
  check(c.rank(x) >= n, "adaptive pooling: too few axes");
  return sizes;
}

bool divides_evenly(Call& c, NodeId x, const Shape& out) {
  const auto first = c.shape(x).size() - out.size();
  for (size_t i = 0; i < out.size(); ++i) {
    if (c.shape(x)[first + i] % out[i] != 0) return false;
  }
  return true;
}

/// Window o of an axis: [floor(o * size / out), ceil((o + 1) * size / out)).
int64_t adaptive_start(int64_t o, int64_t size, int64_t out) { return o * size / out; }
int64_t adaptive_stop(int64_t o, int64_t size, int64_t out) { return ((o + 1) * size + out - 1) / out; }

/// Replaces `axis` (size I) by [O, m] with m the widest window; positions past a window's end hold `fill`.
NodeId gathered_windows(Call& c, NodeId x, int axis, int64_t out, double fill) {
  const int64_t size = c.size(x, axis);
  int64_t widest = 0;
  for (int64_t o = 0; o < out; ++o) {
    widest = std::max(widest, adaptive_stop(o, size, out) - adaptive_start(o, size, out));
  }
  const auto n = static_cast<double>(size), m = static_cast<double>(out);
  const auto start = [&](E o) { return floor_div(o * n, m); };
  const NodeId o = c.index_along(out, 0, 2), tap = c.index_along(widest, 1, 2);
  const NodeId index = c.map(o, tap, [&](E i, E t) { return minimum(start(i) + t, n - 1); });
  NodeId inside = c.map(o, tap, [&](E i, E t) { return start(i) + t < floor_div((i + 1.0) * n + (m - 1), m); });
  Shape along(c.shape(x).size() + 1, 1);
  along[static_cast<size_t>(axis)] = out, along[static_cast<size_t>(axis) + 1] = widest;
  inside = c.reshape(inside, along);
  return c.map(c.take(x, axis, index), inside, [&](E v, E in) { return select(in, v, fill); });
}

Geometry even_geometry(Call& c, NodeId x, const Shape& out) {
  const auto n = out.size(), first = c.shape(x).size() - n;
  Geometry geometry{{}, {}, Shape(n, 0), Shape(n, 1), false};
  for (size_t i = 0; i < n; ++i) geometry.kernel.push_back(c.shape(x)[first + i] / out[i]);
  geometry.stride = geometry.kernel;
  return geometry;
}

Values adaptive_avg_pool(Call& c, int n) {
  NodeId x = c.x("self");
  const Shape out = adaptive_sizes(c, x, n);
  const int first = c.rank(x) - n;
  if (element_count(out) == 1) {
    Axes axes(static_cast<size_t>(n));
    std::iota(axes.begin(), axes.end(), first);
    return c.mean(x, axes, true);
  }
  if (divides_evenly(c, x, out)) {
    const Windows w = windows_of(c, x, even_geometry(c, x, out), 0);
    return c.mean(w.values, tap_axes(w));
  }
  for (int i = 0; i < n; ++i) {
    const int64_t size = c.size(x, first + i), want = out[static_cast<size_t>(i)];
    const NodeId counts = c.map(c.index_along(want, first + i, c.rank(x)), [&](E o) {
      const auto s = static_cast<double>(size), m = static_cast<double>(want);
      return (floor_div((o + 1.0) * s + (m - 1), m) - floor_div(o * s, m)).to(c.compute());
    });
    x = c.div(c.sum(gathered_windows(c, x, first + i, want, 0), {first + i + 1}), counts);
  }
  return x;
}

Values adaptive_max_pool(Call& c, int n) {
  const NodeId x = c.tensor("self");
  const Shape out = adaptive_sizes(c, x, n);
  if (divides_evenly(c, x, out)) return largest(c, windows_of(c, x, even_geometry(c, x, out), 0), x);
  Windows w{x, {}, Shape(static_cast<size_t>(n), 1), c.rank(x) - n, n};
  Axes perm = all_axes(static_cast<size_t>(w.first));
  for (int i = 0; i < n; ++i) {
    const int64_t want = out[static_cast<size_t>(i)], size = c.size(x, w.first + i);
    w.values = gathered_windows(c, w.values, w.first + 2 * i, want, lowest(c.dtype(x)));
    w.start.push_back(c.map(c.g.iota(want),
                            [&](E o) { return floor_div(o * static_cast<double>(size), static_cast<double>(want)); }));
  }
  for (int part : {0, 1}) {
    for (int i = 0; i < n; ++i) perm.push_back(w.first + 2 * i + part);
  }
  w.values = c.permute(w.values, perm);
  return largest(c, w, x);
}

/// [N, C, H, W] -> [N, C * kh * kw, L]
Values im2col(Call& c) {
  NodeId x = c.tensor("self");
  if (c.rank(x) == 3) x = c.unsqueeze(x, 0);
  const Windows w = windows_of(c, x, read_geometry(c, 2), 0);
  return c.reshape(c.permute(w.values, {0, 1, 4, 5, 2, 3}), c.out().shape);
}

/// The sum of overlapping patches: each tap is a dilated, shifted plane.
Values col2im(Call& c) {
  NodeId x = c.x("self");
  const bool batched = c.rank(x) == 3;
  if (!batched) x = c.unsqueeze(x, 0);
  const Geometry geometry = read_geometry(c, 2);
  const Shape size = c.per_axis("output_size", 2, {});
  const Shape& k = geometry.kernel;
  Shape count;
  for (size_t i = 0; i < 2; ++i) {
    const int64_t span = geometry.dilation[i] * (k[i] - 1) + 1;
    count.push_back((size[i] + 2 * geometry.padding[i] - span) / geometry.stride[i] + 1);
  }
  x = c.reshape(x, {c.size(x, 0), c.size(x, 1) / (k[0] * k[1]), k[0], k[1], count[0], count[1]});
  std::optional<NodeId> total;
  for (int64_t row = 0; row < k[0]; ++row) {
    for (int64_t column = 0; column < k[1]; ++column) {
      NodeId plane = c.g.dilate(c.select(c.select(x, 2, row), 2, column), {{2, 3}, geometry.stride});
      std::vector<int64_t> lo(4, 0), hi(4, 0);
      for (size_t i = 0; i < 2; ++i) {
        lo[2 + i] = (i == 0 ? row : column) * geometry.dilation[i] - geometry.padding[i];
        hi[2 + i] = size[i] - c.size(plane, static_cast<int>(2 + i)) - lo[2 + i];
      }
      plane = c.pad_or_crop(plane, lo, hi, 0);
      total = total ? c.add(*total, plane) : plane;
    }
  }
  return batched ? *total : c.squeeze(*total, 0);
}

}  // namespace

Rows pooling_rows() {
  return {
      {"max_pool1d max_pool1d_with_indices", [](Call& c) { return max_pool(c, 1); }},
      {"max_pool2d max_pool2d_with_indices", [](Call& c) { return max_pool(c, 2); }},
      {"max_pool3d max_pool3d_with_indices", [](Call& c) { return max_pool(c, 3); }},
      {"avg_pool1d", [](Call& c) { return avg_pool(c, 1); }},
      {"avg_pool2d", [](Call& c) { return avg_pool(c, 2); }},
      {"avg_pool3d", [](Call& c) { return avg_pool(c, 3); }},
      {"adaptive_avg_pool1d", [](Call& c) { return adaptive_avg_pool(c, 1); }},
      {"adaptive_avg_pool2d _adaptive_avg_pool2d", [](Call& c) { return adaptive_avg_pool(c, 2); }},
      {"adaptive_avg_pool3d _adaptive_avg_pool3d", [](Call& c) { return adaptive_avg_pool(c, 3); }},
      {"adaptive_max_pool1d", [](Call& c) { return adaptive_max_pool(c, 1); }},
      {"adaptive_max_pool2d", [](Call& c) { return adaptive_max_pool(c, 2); }},
      {"adaptive_max_pool3d", [](Call& c) { return adaptive_max_pool(c, 3); }},
      {"im2col", im2col},
      {"col2im", col2im},
  };
}

}  // namespace kw::graph::aten
