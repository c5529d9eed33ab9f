#include <algorithm>
#include <numeric>

#include "graph/aten/call.h"

/// Convolution is a Contract over a window; its transpose is the same over a dilated input.
namespace kw::graph::aten {

namespace {

struct Geometry {
  Shape stride, pad_lo, pad_hi, dilation;
  int64_t groups = 1;
};

constexpr int batch = 0, group = 1, channel = 2, filter = 3, place = 10, tap = 20;

bool is_pointwise(const Shape& kernel) {
  return std::all_of(kernel.begin(), kernel.end(), [](int64_t k) { return k == 1; });
}

NodeId padded(Call& c, NodeId x, const Geometry& geometry) {
  std::vector<int64_t> lo(2, 0), hi(2, 0);
  lo.insert(lo.end(), geometry.pad_lo.begin(), geometry.pad_lo.end());
  hi.insert(hi.end(), geometry.pad_hi.begin(), geometry.pad_hi.end());
  return c.pad_or_crop(x, lo, hi, 0);
}

/// x [N, C, I...] with weight [M, C / groups, K...]: [N, M, O...]. A kernel of ones is a plain product.
NodeId convolve(Call& c, NodeId x, NodeId weight, const Geometry& geometry) {
  const int n = c.rank(weight) - 2;
  const Shape w = c.shape(weight);
  const Shape kernel(w.begin() + 2, w.end());
  const int64_t groups = geometry.groups;
  check(groups > 0 && w[0] % groups == 0 && c.size(x, 1) == w[1] * groups, "convolution: channels and groups differ");
  x = padded(c, x, geometry);
  Axes spatial(static_cast<size_t>(n)), x_labels{batch}, w_labels{}, out{batch};
  std::iota(spatial.begin(), spatial.end(), 2);
  const bool windowed = !is_pointwise(kernel);
  if (windowed) x = c.g.window(x, {spatial, kernel, geometry.stride, geometry.dilation});
  for (int i = 0; !windowed && i < n; ++i) {
    x = c.slice(x, 2 + i, 0, c.size(x, 2 + i), geometry.stride[static_cast<size_t>(i)]);
  }
  Shape result{c.size(x, 0), w[0]}, x_shape = c.shape(x), w_shape{w[0], w[1]};
  if (groups > 1) {
    x_shape.insert(x_shape.begin() + 1, groups), x_shape[2] = w[1];
    w_shape = {groups, w[0] / groups, w[1]};
    x_labels.push_back(group), w_labels.push_back(group), out.push_back(group);
  }
  x_labels.push_back(channel), out.push_back(filter);
  w_labels.insert(w_labels.end(), {filter, channel});
  for (int i = 0; i < n; ++i) {
    x_labels.push_back(place + i), out.push_back(place + i);
    result.push_back(c.size(x, 2 + i));
  }
  for (int i = 0; windowed && i < n; ++i) {
    x_labels.push_back(tap + i), w_labels.push_back(tap + i);
    w_shape.push_back(kernel[static_cast<size_t>(i)]);
  }
  const NodeId product = c.g.contract(c.reshape(x, x_shape), x_labels, c.reshape(weight, w_shape), w_labels, out);
  return c.reshape(product, result);
}

/// weight [C, M / groups, K...] turned into a forward weight [M, C / groups, K...] with its taps reversed.
NodeId turned_weight(Call& c, NodeId weight, int64_t groups) {
  const Shape w = c.shape(weight);
  check(groups > 0 && w[0] % groups == 0, "transposed convolution: channels and groups differ");
  Shape split{groups, w[0] / groups}, merged{w[1] * groups, w[0] / groups};
  split.insert(split.end(), w.begin() + 1, w.end());
  merged.insert(merged.end(), w.begin() + 2, w.end());
  Axes taps;
  for (int i = 2; i < c.rank(weight); ++i) taps.push_back(i);
  const NodeId flipped = is_pointwise({w.begin() + 2, w.end()}) ? weight : c.g.flip(weight, taps);
  return c.reshape(c.transpose(c.reshape(flipped, split), 1, 2), merged);
}

NodeId convolve_transposed(Call& c, NodeId x, NodeId weight, const Geometry& geometry, const Shape& extra) {
  const int n = c.rank(weight) - 2;
  Geometry forward{Shape(static_cast<size_t>(n), 1), {}, {}, geometry.dilation, geometry.groups};
  Axes spread;
  std::vector<int64_t> factor;
  for (int i = 0; i < n; ++i) {
    const auto k = static_cast<size_t>(i);
    const int64_t reach = geometry.dilation[k] * (c.size(weight, 2 + i) - 1);
    forward.pad_lo.push_back(reach - geometry.pad_lo[k]);
    forward.pad_hi.push_back(reach - geometry.pad_lo[k] + extra[k]);
    if (geometry.stride[k] > 1) spread.push_back(2 + i), factor.push_back(geometry.stride[k]);
  }
  if (!spread.empty()) x = c.g.dilate(x, {spread, factor});
  return convolve(c, x, turned_weight(c, weight, geometry.groups), forward);
}

/// "same" pads dilation * (k - 1), the odd one at the end.
void pad_by_name(Call& c, const std::string& mode, const Shape& kernel, Geometry& geometry) {
  for (size_t i = 0; i < kernel.size(); ++i) {
    const int64_t total = mode == "same" ? geometry.dilation[i] * (kernel[i] - 1) : 0;
    geometry.pad_lo.push_back(total / 2);
    geometry.pad_hi.push_back(total - total / 2);
  }
  if (mode != "same" && mode != "valid") c.refuse_argument("pads by an unknown mode");
}

NodeId with_bias(Call& c, NodeId y) {
  const auto bias = c.maybe_x("bias");
  if (!bias) return y;
  Shape along(c.shape(y).size(), 1);
  along[1] = element_count(c.shape(*bias));
  return c.add(y, c.reshape(*bias, along));
}

Values convolution(Call& c, bool transposed, bool named_padding) {
  NodeId x = c.x("input");
  const NodeId weight = c.x("weight");
  const int n = c.rank(weight) - 2;
  if (n < 1) c.refuse_argument("has a weight without taps");
  const bool batched = c.rank(x) == n + 2;
  if (!batched) x = c.unsqueeze(x, 0);
  if (c.rank(x) != n + 2) c.refuse_argument("has an input and a weight of different rank");
  Geometry geometry;
  geometry.stride = c.per_axis("stride", n, {1});
  geometry.dilation = c.per_axis("dilation", n, {1});
  geometry.groups = c.integer("groups", 1);
  const Shape w = c.shape(weight);
  if (named_padding) {
    pad_by_name(c, c.text("padding", "valid"), {w.begin() + 2, w.end()}, geometry);
  } else {
    geometry.pad_lo = geometry.pad_hi = c.per_axis("padding", n, {0});
  }
  for (int64_t s : geometry.stride) {
    if (s < 1) c.refuse_argument("has a stride below one");
  }
  const NodeId y = transposed ? convolve_transposed(c, x, weight, geometry, c.per_axis("output_padding", n, {0}))
                              : convolve(c, x, weight, geometry);
  const NodeId full = with_bias(c, y);
  return batched ? full : c.squeeze(full, 0);
}

}  // namespace

Rows convolution_rows() {
  return {
      {"conv1d conv2d conv3d", [](Call& c) { return convolution(c, false, false); }},
      {"conv1d.padding conv2d.padding conv3d.padding", [](Call& c) { return convolution(c, false, true); }},
      {"conv_transpose1d conv_transpose2d.input conv_transpose3d.input",
       [](Call& c) { return convolution(c, true, false); }},
      {"convolution _convolution", [](Call& c) { return convolution(c, c.flag("transposed", false), false); }},
  };
}

}  // namespace kw::graph::aten
