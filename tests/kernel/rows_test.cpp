// The rows family: each graph through the default candidate (which must choose it) and through every schedule it
// offers.
#include <doctest/doctest.h>

#include "graph/graph.h"
#include "kernel/schedule/compose.h"
#include "run_plan.h"

using namespace kw;
using namespace kw::kernel;
using graph::GraphBuilder;
using graph::NodeId;
using graph::ReduceOp;
using graph::ScalarOp;

namespace {

NodeId mean(GraphBuilder& b, NodeId x, std::vector<int> axes) {
  double count = 1;
  for (int axis : axes) count *= static_cast<double>(b.shape(x)[static_cast<size_t>(axis)]);
  return b.map2(ScalarOp::mul, b.reduce(ReduceOp::sum, x, std::move(axes), true), 1 / count);
}
NodeId softmax(GraphBuilder& b, NodeId x, int axis) {
  auto e = b.map1(ScalarOp::exp, b.map2(ScalarOp::sub, x, b.reduce(ReduceOp::max, x, {axis}, true)));
  return b.map2(ScalarOp::div, e, b.reduce(ReduceOp::sum, e, {axis}, true));
}
NodeId normalised(GraphBuilder& b, NodeId x, const std::vector<int>& axes) {
  auto centred = b.map2(ScalarOp::sub, x, mean(b, x, axes));
  auto variance = mean(b, b.map2(ScalarOp::mul, centred, centred), axes);
  return b.map2(ScalarOp::mul, centred, b.map1(ScalarOp::rsqrt, b.map2(ScalarOp::add, variance, 1e-5)));
}

/// Every schedule of every row piece, with the rest by default.
void check_rows(const graph::Graph& g, bool expect_rows = true) {
  const Facts facts = test::machine_facts();
  const auto c = test::random_case(g);
  const auto parts = schedule::partition(g, facts);
  auto choice = schedule::default_choice(g, parts, facts);
  bool found = false;
  for (size_t i = 0; i < parts.pieces.size(); ++i) {
    for (const auto& option : schedule::options(g, parts.pieces[i], facts)) {
      if (option.schedule.family != "rows") continue;
      found = true;
      auto mine = choice;
      mine[i] = option.schedule;
      const auto candidate = schedule::assemble(g, parts, mine, facts);
      INFO(option.schedule.text());
      if (!candidate) FAIL(candidate.failure().message);
      test::check_candidate(g, *candidate, c);
    }
  }
  CHECK(found == expect_rows);
}

template <class Make>
graph::Graph graph_of(Shape shape, DType dtype, Make make) {
  GraphBuilder b;
  b.output(make(b, b.input(dtype, std::move(shape), "x")));
  return b.take();
}

}  // namespace

TEST_CASE("rows: softmax and its kin over rows of many lengths") {
  for (int64_t n : {1, 3, 7, 16, 17, 33, 64, 100, 257, 1000, 5000}) {
    CAPTURE(n);
    check_rows(graph_of({5, n}, DType::f32, [](GraphBuilder& b, NodeId x) { return softmax(b, x, 1); }));
  }
  check_rows(graph_of({3, 50, 40}, DType::f32, [](GraphBuilder& b, NodeId x) { return softmax(b, x, 1); }));
  check_rows(graph_of({300, 200}, DType::f16, [](GraphBuilder& b, NodeId x) { return softmax(b, x, 1); }));
  check_rows(graph_of({20, 77}, DType::f64, [](GraphBuilder& b, NodeId x) { return softmax(b, x, 1); }));
}

TEST_CASE("rows: logsumexp keeps one value a row") {
  check_rows(graph_of({40, 300}, DType::f32, [](GraphBuilder& b, NodeId x) {
    auto top = b.reduce(ReduceOp::max, x, {1}, true);
    auto sum = b.reduce(ReduceOp::sum, b.map1(ScalarOp::exp, b.map2(ScalarOp::sub, x, top)), {1}, true);
    return b.map2(ScalarOp::add, top, b.map1(ScalarOp::log, sum));
  }));
}

TEST_CASE("rows: layer norm with weights, a residual and an expensive prologue") {
  GraphBuilder b;
  auto x = b.input(DType::f32, {48, 200}, "x"), r = b.input(DType::f32, {48, 200}, "r");
  auto w = b.param("w", graph::ParamKind::parameter, DType::f32, {200});
  auto bias = b.param("b", graph::ParamKind::parameter, DType::f32, {200});
  auto s = b.map2(ScalarOp::add, b.map1(ScalarOp::tanh, x), r);
  b.output(s);
  b.output(b.map2(ScalarOp::add, b.map2(ScalarOp::mul, normalised(b, s, {1}), w), bias));
  check_rows(b.take());
}

TEST_CASE("rows: group norm, with weights a channel, and instance norm") {
  GraphBuilder b;
  auto x = b.input(DType::f32, {2, 12, 7, 9}, "x");
  auto w = b.param("w", graph::ParamKind::parameter, DType::f32, {12});
  auto grouped = b.reshape(normalised(b, b.reshape(x, {2, 3, 252}), {2}), {2, 12, 7, 9});
  b.output(b.map2(ScalarOp::mul, grouped, b.reshape(w, {12, 1, 1})));
  b.output(normalised(b, x, {2, 3}));
  check_rows(b.take());
}

TEST_CASE("rows: batch statistics over leading and trailing axes") {
  check_rows(graph_of({6, 10, 8, 8}, DType::f32, [](GraphBuilder& b, NodeId x) {
    return normalised(b, x, {0, 2, 3});
  }));
  check_rows(graph_of({64, 50}, DType::f32, [](GraphBuilder& b, NodeId x) { return normalised(b, x, {0}); }));
}

TEST_CASE("rows: plain reductions over every axis, whole tensors split over tasks") {
  for (ReduceOp op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min, ReduceOp::prod}) {
    for (std::vector<int> axes : {std::vector<int>{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2}}) {
      check_rows(graph_of({4, 21, 35}, DType::f32, [&](GraphBuilder& b, NodeId x) {
        return b.reduce(op, b.map2(ScalarOp::mul, x, 0.9), axes);
      }));
    }
  }
  check_rows(graph_of({300000}, DType::f32, [&](GraphBuilder& b, NodeId x) { return mean(b, x, {0}); }));
  check_rows(graph_of({20000, 16}, DType::f32, [&](GraphBuilder& b, NodeId x) { return mean(b, x, {0}); }));
  check_rows(graph_of({20000, 3}, DType::f32, [&](GraphBuilder& b, NodeId x) { return mean(b, x, {0}); }));
  check_rows(graph_of({5, 6}, DType::i64, [&](GraphBuilder& b, NodeId x) { return b.reduce(ReduceOp::sum, x, {1}); }));
}

TEST_CASE("rows: NaN and infinity pass through max and softmax") {
  const auto g =
      graph_of({3, 40}, DType::f32, [](GraphBuilder& b, NodeId x) { return b.reduce(ReduceOp::max, x, {1}); });
  auto c = test::random_case(g);
  c.inputs[0].as<float>()[7] = NAN;
  c.inputs[0].as<float>()[45] = INFINITY;
  test::check_graph(g, c);
}

TEST_CASE("rows: a float32 sum of a million is as good as pairwise summation") {
  const auto g =
      graph_of({1 << 20}, DType::f32, [](GraphBuilder& b, NodeId x) { return b.reduce(ReduceOp::sum, x, {0}); });
  auto c = test::random_case(g);
  for (int64_t i = 0; i < 1 << 20; ++i) c.inputs[0].as<float>()[i] = 1 + 0.1f * c.inputs[0].as<float>()[i];
  const auto candidate = schedule::default_candidate(g, test::machine_facts());
  REQUIRE(candidate.ok());
  test::LoadedPlan loaded(*candidate, signature_of(g));
  loaded.run(c.inputs);
  const auto expected = graph::interpret(g, c.inputs, {}, {.bounds = false});
  CHECK(std::fabs(load_element(loaded.output(0), 0) / expected->outputs[0].value[0] - 1) < 2e-7);
}
