#include "graph/rewrite/layout.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/random.h"
#include "graph/interpret.h"

/// Images in blocks of channels: the same values, and no conversions between layers.
namespace kw::graph {
namespace {

Tensor normal(const Shape& shape, uint64_t seed) {
  Tensor t = Tensor::zeros(DType::f32, shape);
  Random random(seed);
  for (int64_t i = 0; i < element_count(shape); ++i) store_element(t, i, random.normal());
  return t;
}

/// Both graphs on the same draws, element by element. Sums over channels are added in another order.
void check_same(const Graph& plain, const Graph& blocked) {
  CHECK(find_fault(blocked) == "");
  std::vector<Tensor> inputs;
  std::map<std::string, Tensor> params;
  for (const InputInfo& in : plain.inputs) inputs.push_back(normal(in.shape, 1 + inputs.size()));
  for (const ParamInfo& p : plain.params) params[p.name] = normal(p.shape, 100 + params.size());
  const auto a = interpret(plain, inputs, params, {.bounds = false});
  const auto b = interpret(blocked, inputs, params, {.bounds = false});
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  for (size_t k = 0; k < plain.outputs.size(); ++k) {
    REQUIRE(a->outputs[k].value.size() == b->outputs[k].value.size());
    double worst = 0;
    for (size_t i = 0; i < a->outputs[k].value.size(); ++i)
      worst = std::max(worst, std::abs(a->outputs[k].value[i] - b->outputs[k].value[i]));
    CHECK(worst < 1e-10);
  }
}

NodeId weight(GraphBuilder& g, const std::string& name, const Shape& shape) {
  return g.param(name, ParamKind::parameter, DType::f32, shape);
}

NodeId conv(GraphBuilder& g, NodeId x, const std::string& name, int64_t filters, int64_t stride = 1) {
  const NodeId windows = g.window(g.pad(x, {0, 0, 1, 1}, {0, 0, 1, 1}, 0), {{2, 3}, {3, 3}, {stride, stride}, {1, 1}});
  const NodeId w = weight(g, name, {filters, g.shape(x)[1], 3, 3});
  return g.contract(windows, {0, 2, 10, 11, 20, 21}, w, {3, 2, 20, 21}, {0, 3, 10, 11});
}

NodeId biased(GraphBuilder& g, NodeId x, const std::string& name) {
  return g.map2(ScalarOp::add, x, g.reshape(weight(g, name, {g.shape(x)[1]}), {1, g.shape(x)[1], 1, 1}));
}

template <class Attr>
std::ptrdiff_t count(const Graph& graph) {
  return std::count_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return n.is<Attr>(); });
}

TEST_CASE("images stay in blocks from layer to layer") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2, 3, 9, 8}, "x");
  const NodeId stem = g.map2(ScalarOp::max, biased(g, conv(g, x, "w0", 8), "b0"), 0.0);
  const NodeId y = g.map2(ScalarOp::add, biased(g, conv(g, stem, "w1", 8), "b1"), stem);
  const NodeId pooled = g.reduce(ReduceOp::max, g.window(y, {{2, 3}, {2, 2}, {2, 2}, {1, 1}}), {4, 5});
  g.output(g.reduce(ReduceOp::sum, pooled, {2, 3}));
  const Graph plain = g.take();
  const auto blocked = with_blocked_images(plain, 4, false);
  REQUIRE(blocked.has_value());
  CHECK(blocked->anchors == 3);
  CHECK(!blocked->needs_finite);
  // No image is turned: the stem reads [N, C, H, W] and the sum leaves [N, C].
  CHECK(count<PermuteAttr>(blocked->graph) == 0);
  check_same(plain, blocked->graph);
}

TEST_CASE("an image that leaves the graph leaves it as it was") {
  GraphBuilder g;
  const NodeId y = conv(g, g.input(DType::f32, {1, 8, 5, 5}, "x"), "w", 8, 2);
  g.output(y);
  g.output(g.reduce(ReduceOp::sum, y, {1}));
  const Graph plain = g.take();
  const auto blocked = with_blocked_images(plain, 8, false);
  REQUIRE(blocked.has_value());
  CHECK(count<PermuteAttr>(blocked->graph) > 0);
  check_same(plain, blocked->graph);
}

TEST_CASE("channels are filled up only where infinite inputs are assumed away, and where the filling stays zero") {
  GraphBuilder g;
  const NodeId x = conv(g, g.input(DType::f32, {1, 8, 5, 5}, "x"), "w0", 6);
  const NodeId kept = conv(g, g.map1(ScalarOp::tanh, biased(g, x, "b0")), "w1", 8);
  g.output(kept);
  g.output(conv(g, g.map1(ScalarOp::exp, x), "w2", 8));  // exp(0) is one: it goes back to plain channels
  const Graph plain = g.take();
  const auto filled = with_blocked_images(plain, 4, true);
  REQUIRE(filled.has_value());
  CHECK(filled->anchors == 3);
  CHECK(filled->needs_finite);
  check_same(plain, filled->graph);
  const auto exact = with_blocked_images(plain, 4, false);
  REQUIRE(exact.has_value());
  CHECK(exact->anchors == 2);
  CHECK(!exact->needs_finite);
  check_same(plain, exact->graph);
}

TEST_CASE("a graph without a convolution into whole blocks stays as it is") {
  GraphBuilder g;
  g.output(conv(g, g.input(DType::f32, {1, 8, 5, 5}, "x"), "w", 3));
  CHECK(!with_blocked_images(g.take(), 16, true).has_value());
}

}  // namespace
}  // namespace kw::graph
