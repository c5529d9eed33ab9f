#include <algorithm>

#include "graph/aten/call.h"

/// Upsampling: gathers along each axis with indices and weights computed from iotas, as PyTorch computes them.
namespace kw::graph::aten {

namespace {

/// Source position per output position of axis i.
double scale_of(Call& c, int64_t in, int64_t out, size_t i, bool align_corners) {
  if (align_corners) return out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
  const std::vector<double> given = c.numbers("scale_factors");
  if (i < given.size() && given[i] > 0) return 1 / given[i];
  static constexpr const char* names[] = {"scales", "scales_d", "scales_h", "scales_w"};
  for (const char* name : names) {
    // The overloads with a scale for each axis name them by letter, the last axis being w.
    const bool own = std::string_view(name) == "scales" || c.out().shape.size() - 3 - i == 0;
    if (own && c.has(name) && c.number(name) > 0) return 1 / c.number(name);
  }
  return static_cast<double>(in) / static_cast<double>(out);
}

Values nearest(Call& c, int n, bool exact) {
  NodeId x = c.tensor(c.has("input") ? "input" : "self");
  for (int i = 0; i < n; ++i) {
    const int axis = c.rank(x) - n + i;
    const int64_t in = c.size(x, axis), out = c.out().shape[static_cast<size_t>(axis)];
    if (out == in) continue;
    if (out % in == 0) {
      x = c.repeat_axis(x, axis, out / in);
      continue;
    }
    const double scale = scale_of(c, in, out, static_cast<size_t>(i), false);
    const NodeId index = c.map(c.g.iota(out), [&](E o) {
      const E at = (o.to(DType::f64) + (exact ? 0.5 : 0.0)) * scale;
      return minimum(floor(at), static_cast<double>(in - 1)).to(DType::i64);
    });
    x = c.take(x, axis, index);
  }
  return x;
}

/// Real-valued source positions of an axis, [out], f64.
NodeId positions(Call& c, int64_t out, double scale, bool align_corners) {
  return c.map(c.g.iota(out), [&](E o) {
    const E at = o.to(DType::f64);
    return align_corners ? at * scale : (at + 0.5) * scale - 0.5;
  });
}

NodeId taken_at(Call& c, NodeId x, int axis, NodeId base, int64_t offset) {
  const auto last = static_cast<double>(c.size(x, axis) - 1);
  const NodeId index =
      c.map(base, [&](E b) { return minimum(maximum(b + static_cast<double>(offset), 0.0), last).to(DType::i64); });
  return c.take(x, axis, index);
}

NodeId along(Call& c, NodeId row, int axis, int rank, DType type) {
  Shape to(static_cast<size_t>(rank), 1);
  to[static_cast<size_t>(axis)] = c.size(row, 0);
  return c.cast(c.reshape(row, to), type);
}

NodeId linear_axis(Call& c, NodeId x, int axis, NodeId at) {
  at = c.map(at, [](E p) { return maximum(p, 0.0); });
  const NodeId base = c.unary(ScalarOp::floor, at);
  const NodeId t = along(c, c.sub(at, base), axis, c.rank(x), c.dtype(x));
  return c.map(taken_at(c, x, axis, base, 0), taken_at(c, x, axis, base, 1), t,
               [](E left, E right, E w) { return left * (1.0 - w) + right * w; });
}

/// Keys' cubic kernel with a = -0.75: inside |d| <= 1 and between 1 and 2.
E cubic_inner(E d) { return ((d * 1.25 - 2.25) * d) * d + 1.0; }
E cubic_outer(E d) { return ((d * -0.75 + 3.75) * d - 6.0) * d + 3.0; }

NodeId cubic_axis(Call& c, NodeId x, int axis, NodeId at) {
  const NodeId base = c.unary(ScalarOp::floor, at);
  const NodeId t = along(c, c.sub(at, base), axis, c.rank(x), c.dtype(x));
  E(*const weights[])
  (E) = {[](E w) { return cubic_outer(w + 1.0); }, [](E w) { return cubic_inner(w); },
         [](E w) { return cubic_inner(1.0 - w); }, [](E w) { return cubic_outer(2.0 - w); }};
  std::optional<NodeId> total;
  for (int64_t tap = 0; tap < 4; ++tap) {
    const NodeId part = c.map(taken_at(c, x, axis, base, tap - 1), t, [&](E v, E w) { return v * weights[tap](w); });
    total = total ? c.add(*total, part) : part;
  }
  return *total;
}

using Interpolate = NodeId (*)(Call&, NodeId, int, NodeId);

Values interpolated(Call& c, int n, Interpolate f) {
  NodeId x = c.x(c.has("input") ? "input" : "self");
  const bool align_corners = c.flag("align_corners", false);
  for (int i = 0; i < n; ++i) {
    const int axis = c.rank(x) - n + i;
    const int64_t in = c.size(x, axis), out = c.out().shape[static_cast<size_t>(axis)];
    const double scale = scale_of(c, in, out, static_cast<size_t>(i), align_corners);
    if (in == out && scale == 1) continue;
    x = f(c, x, axis, positions(c, out, scale, align_corners));
  }
  return x;
}

}  // namespace

Rows resample_rows() {
  return {
      {"upsample_nearest1d.vec upsample_nearest1d", [](Call& c) { return nearest(c, 1, false); }},
      {"upsample_nearest2d.vec upsample_nearest2d", [](Call& c) { return nearest(c, 2, false); }},
      {"upsample_nearest3d.vec upsample_nearest3d", [](Call& c) { return nearest(c, 3, false); }},
      {"_upsample_nearest_exact1d.vec _upsample_nearest_exact1d", [](Call& c) { return nearest(c, 1, true); }},
      {"_upsample_nearest_exact2d.vec _upsample_nearest_exact2d", [](Call& c) { return nearest(c, 2, true); }},
      {"_upsample_nearest_exact3d.vec _upsample_nearest_exact3d", [](Call& c) { return nearest(c, 3, true); }},
      {"upsample_linear1d.vec upsample_linear1d", [](Call& c) { return interpolated(c, 1, linear_axis); }},
      {"upsample_bilinear2d.vec upsample_bilinear2d", [](Call& c) { return interpolated(c, 2, linear_axis); }},
      {"upsample_trilinear3d.vec upsample_trilinear3d", [](Call& c) { return interpolated(c, 3, linear_axis); }},
      {"upsample_bicubic2d.vec upsample_bicubic2d", [](Call& c) { return interpolated(c, 2, cubic_axis); }},
  };
}

}  // namespace kw::graph::aten
