#include <doctest/doctest.h>

#include "base/result.h"
#include "graph/graph.h"

using namespace kw;
using namespace kw::graph;

TEST_CASE("a graph is written node by node and reads back as text") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {8, 64}, "x");
  const NodeId w = g.param("fc.weight", ParamKind::parameter, DType::f32, {32, 64});
  const NodeId y = g.contract(x, {0, 2}, w, {1, 2}, {0, 1});
  g.output(g.reduce(ReduceOp::sum, y, {1}));
  const Graph graph = g.take();
  CHECK(find_fault(graph) == "");
  CHECK(to_text(graph) ==
        "%0 f32[8, 64] = input{0}()\n"
        "%1 f32[32, 64] = param{fc.weight}()\n"
        "%2 f32[8, 32] = contract{ab,cb->ac}(%0, %1)\n"
        "%3 f32[8] = reduce.sum{1}(%2)\n"
        "output %3\n");
}

TEST_CASE("equal nodes are one node") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4}, "x");
  CHECK(g.map1(ScalarOp::exp, x) == g.map1(ScalarOp::exp, x));
  CHECK(g.map1(ScalarOp::exp, x) != g.map1(ScalarOp::log, x));
}

TEST_CASE("identity views vanish") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4, 1, 3}, "x");
  CHECK(g.reshape(g.reshape(x, {12}), {4, 1, 3}) == x);
  CHECK(g.permute(g.permute(x, {2, 0, 1}), {1, 2, 0}) == x);
  CHECK(g.expand(x, {4, 1, 3}) == x);
  CHECK(g.slice(x, 0, 0, 4) == x);
  CHECK(g.pad(x, {0, 0, 0}, {0, 0, 0}, 1) == x);
  CHECK(g.flip(x, {1}) == x);
  CHECK(g.cat({x}, 0) == x);
}

TEST_CASE("slices of slices become one") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {20, 8}, "x");
  const NodeId y = g.slice(g.slice(g.slice(x, 0, 2, 20, 2), 0, 1, 9, 3), 1, 4, 8);
  CHECK(g[y].inputs[0] == x);
  CHECK(g[y].as<SliceAttr>().start == std::vector<int64_t>{4, 4});
  CHECK(g[y].as<SliceAttr>().step == std::vector<int64_t>{6, 1});
  CHECK(g.shape(y) == Shape{3, 4});
}

TEST_CASE("constants are folded into maps") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4}, "x");
  const NodeId two = g.full(2, DType::f32, {3, 4});
  const NodeId y = g.map2(ScalarOp::mul, x, two);
  CHECK(g[y].inputs.size() == 1);
  CHECK(g.shape(y) == Shape{3, 4});
  CHECK(g.uniform_value(g.map2(ScalarOp::add, two, 3.0)) == 5.0);
}

TEST_CASE("window gives one output per place and appends its taps") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2, 3, 9, 8}, "x");
  CHECK(g.shape(g.window(x, {{2, 3}, {3, 2}, {2, 1}, {1, 3}})) == Shape{2, 3, 4, 5, 3, 2});
}

TEST_CASE("gather puts the index shape in place of its axes") {
  GraphBuilder g;
  const NodeId table = g.param("emb", ParamKind::parameter, DType::f32, {100, 16});
  const NodeId ids = g.input(DType::i64, {2, 7}, "ids");
  CHECK(g.shape(g.gather(table, {ids}, {0})) == Shape{2, 7, 16});
  CHECK(g.shape(g.gather(table, {ids}, {1})) == Shape{100, 2, 7});
}

TEST_CASE("misuse is a bug, at once") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4, 5}, "x");
  CHECK_THROWS_AS(g.reshape(x, {3, 7}), BugError);
  CHECK_THROWS_AS(g.permute(x, {0, 0}), BugError);
  CHECK_THROWS_AS(g.contract(x, {0, 1}, x, {1, 0}, {0}), BugError);
  CHECK_THROWS_AS(g.reduce(ReduceOp::sum, x, {2}), BugError);
}

TEST_CASE("a fault is found wherever it stands") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4, 5}, "x");
  g.output(g.map1(ScalarOp::exp, g.map1(ScalarOp::neg, x)));
  Graph graph = g.take();
  graph.nodes[1].shape = {5, 4};
  CHECK(find_fault(graph) == "%1 (map) has another shape than its inputs give");
  graph.nodes[1].shape = {4, 5};
  graph.nodes[1].inputs = {2};
  CHECK(find_fault(graph) == "%1 (map) reads a node that does not precede it");
}

TEST_CASE("dead nodes go, inputs stay listed") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4}, "x");
  g.input(DType::f32, {4}, "unused");
  g.map1(ScalarOp::exp, x);
  g.output(g.map1(ScalarOp::neg, x));
  const Graph graph = g.take();
  CHECK(graph.nodes.size() == 2);
  CHECK(graph.inputs.size() == 2);
}

TEST_CASE("a loop's items have the carries' and the stacked values' shapes") {
  GraphBuilder body;
  const NodeId h = body.input(DType::f32, {2, 3}, "h");
  const NodeId x = body.input(DType::f32, {2, 3}, "x");
  const NodeId next = body.map2(ScalarOp::add, h, x);
  body.output(next);
  body.output(body.map1(ScalarOp::tanh, next));
  const auto turn = std::make_shared<const Graph>(body.take());
  GraphBuilder g;
  const NodeId h0 = g.full(0, DType::f32, {2, 3});
  const NodeId xs = g.input(DType::f32, {5, 2, 3}, "xs");
  const NodeId loop = g.recur({turn, 5, 1, 1, false}, {h0, xs});
  CHECK(g.shape(g.item(loop, 0)) == Shape{2, 3});
  CHECK(g.shape(g.item(loop, 1)) == Shape{5, 2, 3});
}
