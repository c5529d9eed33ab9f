#include "graph/analysis.h"

#include <doctest/doctest.h>

using namespace kw;
using namespace kw::graph;

namespace {

/// Flops of y[n, o, h, w] = sum over c, i, j of window(x)[n, c, h, w, i, j] k[o, c, i, j].
double convolution_flops(GraphBuilder& g, NodeId x, const WindowAttr& window, int64_t outputs) {
  const int64_t channels = g.shape(x)[1];
  const NodeId k = g.param("k", ParamKind::parameter, DType::f32, {outputs, channels, window.size[0], window.size[1]});
  g.output(g.contract(g.window(x, window), {0, 1, 2, 3, 4, 5}, k, {6, 1, 4, 5}, {0, 6, 2, 3}));
  return count_work(g.take()).flops;
}

}  // namespace

TEST_CASE("a transposed convolution's work leaves out the zeros between its inputs, and those around them") {
  // Stride 2, four taps, padding 1: every input element meets all 16 taps but for those that fall outside.
  const int64_t n = 2, c = 3, o = 5, in = 8, out = 16;
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {n, c, in, in}, "x");
  const NodeId spread = g.dilate(x, {{2, 3}, {2, 2}});
  const NodeId padded = g.pad(spread, {0, 0, 2, 2}, {0, 0, 2, 2}, 0);
  const double flops = convolution_flops(g, padded, {{2, 3}, {4, 4}, {1, 1}, {1, 1}}, o);
  int64_t along = 0;  // pairs of an input and an output place along one axis
  for (int64_t i = 0; i < in; ++i)
    for (int64_t tap = 0; tap < 4; ++tap) along += 2 * i + tap - 1 >= 0 && 2 * i + tap - 1 < out;
  CHECK(along == 30);
  CHECK(flops == doctest::Approx(2.0 * n * c * o * along * along));
}

TEST_CASE("a convolution's padding is no work, its inputs are") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {1, 4, 1, 6}, "x");
  const NodeId padded = g.pad(x, {0, 0, 1, 0}, {0, 0, 1, 0}, 0);
  CHECK(convolution_flops(g, padded, {{2, 3}, {3, 3}, {1, 1}, {1, 1}}, 7) == doctest::Approx(2.0 * 4 * 7 * 4 * 3));
  GraphBuilder h;
  const NodeId y = h.pad(h.input(DType::f32, {1, 4, 1, 6}, "x"), {0, 0, 1, 0}, {0, 0, 1, 0}, 1);
  CHECK(convolution_flops(h, y, {{2, 3}, {3, 3}, {1, 1}, {1, 1}}, 7) == doctest::Approx(2.0 * 4 * 7 * 4 * 9));
}
