#include "perf_graphs.h"

#include <fmt/format.h>

namespace kw::perf {
namespace {

using graph::GraphBuilder;
using graph::NodeId;
using graph::ParamKind;
using graph::ReduceOp;
using graph::ScalarOp;

NodeId weight(GraphBuilder& b, const Shape& shape) { return b.param("w", ParamKind::parameter, DType::f32, shape); }

double size(int64_t elements) { return 4.0 * static_cast<double>(elements); }

Work linear(int64_t m, int64_t k, int64_t n) {
  auto build = [=] {
    GraphBuilder b;
    b.output(b.contract(b.input(DType::f32, {m, k}, "x"), {0, 1}, weight(b, {n, k}), {2, 1}, {0, 2}));
    return b.take();
  };
  return {fmt::format("linear {}x{}x{}", m, k, n), build, 2.0 * static_cast<double>(m * k * n),
          size(m * k + k * n + m * n)};
}

struct Conv {
  int64_t channels, image, filters, kernel, stride = 1, batch = 1;
  int64_t places() const { return (image + 2 * (kernel / 2) - kernel) / stride + 1; }
};

graph::Graph convolution(const Conv& c) {
  GraphBuilder b;
  const NodeId x = b.input(DType::f32, {c.batch, c.channels, c.image, c.image}, "x");
  const int64_t p = c.kernel / 2;
  if (c.kernel == 1) {
    NodeId at = x;
    for (int axis : {2, 3}) at = b.slice(at, axis, 0, c.image, c.stride);
    b.output(b.contract(at, {0, 2, 10, 11}, weight(b, {c.filters, c.channels}), {3, 2}, {0, 3, 10, 11}));
    return b.take();
  }
  const NodeId windows =
      b.window(b.pad(x, {0, 0, p, p}, {0, 0, p, p}, 0), {{2, 3}, {c.kernel, c.kernel}, {c.stride, c.stride}, {1, 1}});
  const NodeId w = weight(b, {c.filters, c.channels, c.kernel, c.kernel});
  b.output(b.contract(windows, {0, 2, 10, 11, 20, 21}, w, {3, 2, 20, 21}, {0, 3, 10, 11}));
  return b.take();
}

Work conv(const Conv& c) {
  const int64_t out = c.batch * c.filters * c.places() * c.places(), taps = c.channels * c.kernel * c.kernel;
  return {fmt::format("conv{0}x{0} {1}x{2}x{2} to {3}{4}{5}", c.kernel, c.channels, c.image, c.filters,
                      c.stride > 1 ? fmt::format(" stride {}", c.stride) : "",
                      c.batch > 1 ? fmt::format(" batch {}", c.batch) : ""),
          [c] { return convolution(c); }, 2.0 * static_cast<double>(out * taps),
          size(c.batch * c.channels * c.image * c.image + c.filters * taps + out)};
}

/// The same between images that lie in blocks of channels, as inside a network.
graph::Graph blocked_convolution(const Conv& c, int64_t lanes) {
  GraphBuilder b;
  NodeId x = b.input(DType::f32, {c.batch, c.channels / lanes, c.image, c.image, lanes}, "x");
  const int64_t p = c.kernel / 2, taps = c.kernel;
  std::vector<int> seen{0, 1, 10, 11, 2}, weights{3, 4, 1, 2};
  Shape shape{c.filters / lanes, lanes, c.channels / lanes, lanes};
  if (taps == 1) {
    for (int axis : {2, 3}) x = b.slice(x, axis, 0, c.image, c.stride);
  } else {
    x = b.window(b.pad(x, {0, 0, p, p, 0}, {0, 0, p, p, 0}, 0), {{2, 3}, {taps, taps}, {c.stride, c.stride}, {1, 1}});
    for (int label : {20, 21}) seen.push_back(label), weights.push_back(label), shape.push_back(taps);
  }
  const NodeId w = b.permute(weight(b, {c.filters, c.channels, taps, taps}), {0, 1, 2, 3});
  b.output(b.contract(x, seen, b.reshape(w, shape), weights, {0, 3, 10, 11, 4}));
  return b.take();
}

Work in_blocks(const Conv& c, int64_t lanes) {
  Work work = conv(c);
  work.name += " in blocks";
  work.graph = [c, lanes] { return blocked_convolution(c, lanes); };
  return work;
}

/// 3x3, padding 1, a filter for each channel, as the importer writes it.
Work depthwise(int64_t channels, int64_t image) {
  auto build = [=] {
    GraphBuilder b;
    const NodeId x = b.pad(b.input(DType::f32, {1, channels, image, image}, "x"), {0, 0, 1, 1}, {0, 0, 1, 1}, 0);
    const NodeId windows = b.window(x, {{2, 3}, {3, 3}, {1, 1}, {1, 1}});
    const NodeId seen = b.reshape(windows, {1, channels, 1, image, image, 3, 3});
    const NodeId w = weight(b, {channels, 1, 1, 3, 3});
    b.output(b.contract(seen, {0, 1, 2, 10, 11, 20, 21}, w, {1, 3, 2, 20, 21}, {0, 1, 3, 10, 11}));
    return b.take();
  };
  return {fmt::format("depthwise3x3 {0}x{1}x{1}", channels, image), build, 0, size(2 * channels * image * image)};
}

NodeId softmax(GraphBuilder& b, NodeId x) {
  const NodeId shifted = b.map2(ScalarOp::sub, x, b.reduce(ReduceOp::max, x, {1}, true));
  const NodeId e = b.map1(ScalarOp::exp, shifted);
  return b.map2(ScalarOp::div, e, b.reduce(ReduceOp::sum, e, {1}, true));
}

NodeId layer_norm(GraphBuilder& b, NodeId x) {
  const double n = static_cast<double>(b.shape(x)[1]);
  auto mean = [&](NodeId v) { return b.map2(ScalarOp::div, b.reduce(ReduceOp::sum, v, {1}, true), n); };
  const NodeId centred = b.map2(ScalarOp::sub, x, mean(x));
  const NodeId variance = b.map2(ScalarOp::add, mean(b.map2(ScalarOp::mul, centred, centred)), 1e-5);
  return b.map2(ScalarOp::div, centred, b.map1(ScalarOp::sqrt, variance));
}

NodeId gelu(GraphBuilder& b, NodeId x) {
  const NodeId tail = b.map1(ScalarOp::erf, b.map2(ScalarOp::mul, x, 0.70710678118654752));
  return b.map2(ScalarOp::mul, b.map2(ScalarOp::mul, x, 0.5), b.map2(ScalarOp::add, tail, 1.0));
}

NodeId add(GraphBuilder& b, NodeId x) { return b.map2(ScalarOp::add, x, b.input(DType::f32, b.shape(x), "other")); }

Work streaming(const std::string& name, int64_t rows, int64_t columns, int arrays,
               NodeId (*op)(GraphBuilder&, NodeId)) {
  auto build = [=] {
    GraphBuilder b;
    b.output(op(b, b.input(DType::f32, {rows, columns}, "x")));
    return b.take();
  };
  return {fmt::format("{} {}x{}", name, rows, columns), build, 0, size(rows * columns * arrays)};
}

}  // namespace

std::vector<Work> all_work(int64_t lanes) {
  return {linear(512, 512, 512),
          linear(1024, 1024, 1024),
          linear(1, 4096, 4096),
          linear(8, 1024, 4096),
          conv({3, 224, 32, 3, 2}),
          conv({32, 112, 32, 3}),
          conv({32, 112, 64, 3}),
          conv({64, 56, 64, 3}),
          conv({128, 28, 128, 3}),
          conv({256, 14, 256, 3}),
          conv({512, 7, 512, 3}),
          conv({64, 56, 128, 3, 2}),
          conv({256, 14, 256, 3, 1, 8}),
          conv({256, 56, 64, 1}),
          conv({256, 56, 128, 1, 2}),
          in_blocks({32, 112, 32, 3}, lanes),
          in_blocks({32, 112, 64, 3}, lanes),
          in_blocks({64, 56, 64, 3}, lanes),
          in_blocks({128, 28, 128, 3}, lanes),
          in_blocks({256, 14, 256, 3}, lanes),
          in_blocks({512, 7, 512, 3}, lanes),
          in_blocks({64, 56, 128, 3, 2}, lanes),
          in_blocks({256, 14, 256, 3, 1, 8}, lanes),
          in_blocks({256, 56, 64, 1}, lanes),
          in_blocks({256, 56, 128, 1, 2}, lanes),
          depthwise(128, 56),
          streaming("softmax", 8192, 1024, 2, softmax),
          streaming("softmax", 64, 1024, 2, softmax),
          streaming("layer_norm", 8192, 1024, 2, layer_norm),
          streaming("layer_norm", 64, 1024, 2, layer_norm),
          streaming("add", 8192, 1024, 3, add),
          streaming("add", 64, 1024, 3, add),
          streaming("gelu", 8192, 1024, 2, gelu),
          streaming("gelu", 64, 1024, 2, gelu)};
}

}  // namespace kw::perf
