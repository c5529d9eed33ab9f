#include "graph/rewrite/rewrite.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"
#include "graph/interpret.h"

using namespace kw;
using namespace kw::graph;

namespace {

Tensor random_tensor(const Shape& shape, Random& random) {
  Tensor t = Tensor::zeros(DType::f32, shape);
  for (int64_t i = 0; i < element_count(shape); ++i) store_element(t, i, random.normal());
  return t;
}

/// Both graphs on the same values: every element agrees within the sum of the two bounds.
void check_equal(const Graph& x, const Graph& y, uint64_t seed) {
  Random random(seed);
  std::vector<Tensor> inputs;
  for (const InputInfo& info : x.inputs) inputs.push_back(random_tensor(info.shape, random));
  std::map<std::string, Tensor> params;
  for (const ParamInfo& info : x.params) params[info.name] = random_tensor(info.shape, random);
  const auto a = interpret(x, inputs, params), b = interpret(y, inputs, params);
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  for (size_t o = 0; o < a->outputs.size(); ++o) {
    const Reference &p = a->outputs[o], &q = b->outputs[o];
    REQUIRE(p.shape == q.shape);
    for (size_t i = 0; i < p.value.size(); ++i)
      CHECK(std::fabs(p.value[i] - q.value[i]) <= 1e-6 * (p.bound[i] + q.bound[i]) + 1e-300);
  }
}

Rewritten check_rewrite(const Graph& graph, const std::string& rule, const RewriteOptions& options = {}) {
  Rewritten result = rewrite(graph, options);
  INFO(to_text(result.graph));
  CHECK(find_fault(result.graph) == "");
  CHECK(std::any_of(result.applied.begin(), result.applied.end(), [&](const auto& a) { return a.name == rule; }));
  check_equal(graph, result.graph, 5);
  return result;
}

int count_contracts(const Graph& graph) {
  return static_cast<int>(
      std::count_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return n.is<ContractAttr>(); }));
}

}  // namespace

TEST_CASE("a product whose result is summed away becomes a product with a vector") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {8, 32}, "x");
  const NodeId w = g.param("w", ParamKind::parameter, DType::f32, {64, 32});
  const NodeId bias = g.param("b", ParamKind::parameter, DType::f32, {64});
  const NodeId y = g.map2(ScalarOp::add, g.contract(x, {0, 2}, w, {1, 2}, {0, 1}), bias);
  g.output(g.reduce(ReduceOp::sum, g.map2(ScalarOp::div, y, 2.0), {1}, true));
  const Rewritten r = check_rewrite(g.take(), "sum-of-contract", {.needs_finite = true});
  double saved = 0;
  for (const AppliedRule& a : r.applied) saved += a.flops_saved;
  CHECK(saved > 2 * 8 * 32 * 60);
}

TEST_CASE("an eval batch-norm behind a convolution goes into its weights and one bias") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2, 3, 6, 6}, "x");
  const NodeId w = g.param("w", ParamKind::parameter, DType::f32, {5, 3, 3, 3});
  const auto channel = [&](const char* name) {
    return g.reshape(g.param(name, ParamKind::buffer, DType::f32, {5}), {1, 5, 1, 1});
  };
  const NodeId view = g.window(x, {{2, 3}, {3, 3}, {1, 1}, {1, 1}});
  NodeId y = g.contract(view, {0, 1, 2, 3, 4, 5}, w, {6, 1, 4, 5}, {0, 6, 2, 3});
  y = g.map2(ScalarOp::sub, y, channel("mean"));
  y = g.map2(ScalarOp::mul, y, g.map1(ScalarOp::exp, channel("logscale")));
  y = g.map2(ScalarOp::mul, y, channel("gamma"));
  g.output(g.map2(ScalarOp::add, y, channel("beta")));
  const Rewritten r = check_rewrite(g.take(), "scale-into-weights");
  // What depends on the input: the view, the product, and one addition.
  const auto big = std::count_if(r.graph.nodes.begin(), r.graph.nodes.end(), [](const Node& n) {
    return n.is<MapAttr>() && n.shape == Shape{2, 5, 4, 4};
  });
  CHECK(big == 1);
}

TEST_CASE("a scale behind a depthwise convolution goes into its weights") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2, 5, 1, 6}, "x");
  const NodeId w = g.param("w", ParamKind::parameter, DType::f32, {5, 1, 1, 3});
  const auto channel = [&](const char* name) {
    return g.reshape(g.param(name, ParamKind::buffer, DType::f32, {5}), {1, 5, 1});
  };
  const NodeId view = g.window(x, {{3}, {3}, {1}, {1}});
  NodeId y = g.reshape(g.contract(view, {0, 1, 2, 3, 4}, w, {1, 5, 2, 4}, {0, 1, 5, 3}), {2, 5, 4});
  y = g.map2(ScalarOp::mul, g.map2(ScalarOp::sub, y, channel("mean")), channel("gamma"));
  g.output(g.map2(ScalarOp::add, y, channel("beta")));
  const Rewritten r = check_rewrite(g.take(), "scale-into-weights");
  const auto big = std::count_if(r.graph.nodes.begin(), r.graph.nodes.end(),
                                 [](const Node& n) { return n.is<MapAttr>() && element_count(n.shape) == 40; });
  CHECK(big == 1);
}

TEST_CASE("what a slice cuts off is not computed") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4, 16}, "x");
  const NodeId w = g.param("w", ParamKind::parameter, DType::f32, {32, 16});
  const NodeId y = g.map1(ScalarOp::tanh, g.contract(x, {0, 2}, w, {1, 2}, {0, 1}));
  g.output(g.slice(y, 1, 0, 2));
  const Rewritten r = check_rewrite(g.take(), "slice-before-work");
  const auto product =
      std::find_if(r.graph.nodes.begin(), r.graph.nodes.end(), [](const Node& n) { return n.is<ContractAttr>(); });
  CHECK(product->shape == Shape{4, 2});
}

TEST_CASE("work on repeated values is done once") {
  GraphBuilder g;
  const NodeId x = g.expand(g.input(DType::f32, {4, 1}, "x"), {4, 9});
  const NodeId e = g.map1(ScalarOp::exp, x);
  g.output(e);
  g.output(g.reduce(ReduceOp::sum, e, {1}));
  g.output(g.slice(e, 1, 2, 5));
  const Rewritten r = check_rewrite(g.take(), "expand-after-map");
  const auto wide = std::count_if(r.graph.nodes.begin(), r.graph.nodes.end(), [](const Node& n) {
    return n.is<MapAttr>() && n.shape == Shape{4, 9};
  });
  CHECK(wide == 0);
}

TEST_CASE("a reduction over one element is a view") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4, 1}, "x");
  g.output(g.reduce(ReduceOp::max, x, {1}));
  CHECK(check_rewrite(g.take(), "reduce-of-one").graph.nodes.size() == 2);
}

TEST_CASE("the last turn of a loop is its carry") {
  GraphBuilder body;
  const NodeId next = body.map2(ScalarOp::add, body.input(DType::f32, {2}, "h"), body.input(DType::f32, {2}, "x"));
  body.output(next);
  body.output(next);
  GraphBuilder g;
  const NodeId xs = g.input(DType::f32, {5, 2}, "xs");
  const auto turn = std::make_shared<const Graph>(body.take());
  const NodeId loop = g.recur({turn, 5, 1, 1, false}, {g.full(0, DType::f32, {2}), xs});
  g.output(g.reshape(g.slice(g.item(loop, 1), 0, 4, 5), {2}));
  check_rewrite(g.take(), "last-turn");
}

TEST_CASE("rules can be chosen, and reordering can be forbidden") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {8, 4}, "x");
  g.output(g.reduce(ReduceOp::sum, g.contract(x, {0, 2}, x, {1, 2}, {0, 1}), {1}));
  const Graph graph = g.take();
  RewriteOptions exact;
  exact.reassociate = false;
  CHECK(rewrite(graph, exact).applied.empty());
  RewriteOptions one;
  one.only = {"reduce-of-one"};
  CHECK(rewrite(graph, one).applied.empty());
}

TEST_CASE("random graphs keep their meaning under all rules") {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Random random(seed);
    GraphBuilder g;
    std::vector<NodeId> pool = {g.input(DType::f32, {4, 4}, "x"),
                                g.param("w", ParamKind::parameter, DType::f32, {4, 4})};
    const auto pick = [&] {
      return pool[static_cast<size_t>(random.integer(0, static_cast<int64_t>(pool.size()) - 1))];
    };
    for (int step = 0; step < 10; ++step) {
      const NodeId x = pick(), y = pick();
      NodeId made = x;
      switch (random.integer(0, 7)) {
        case 0:
          made = g.contract(x, {0, 1}, y, {1, 2}, {0, 2});
          break;
        case 1:
          made = g.map2(ScalarOp::add, x, y);
          break;
        case 2:
          made = g.map2(ScalarOp::mul, x, y);
          break;
        case 3:
          made = g.map1(ScalarOp::tanh, x);
          break;
        case 4:
          made = g.expand(g.reduce(ReduceOp::sum, x, {1}, true), {4, 4});
          break;
        case 5:
          made = g.expand(g.slice(x, 0, 1, 2), {4, 4});
          break;
        case 6:
          made = g.permute(x, {1, 0});
          break;
        default:
          made = g.map2(ScalarOp::mul, x, 0.5);
      }
      pool.push_back(made);
    }
    g.output(g.reduce(ReduceOp::sum, pool.back(), {0}));
    g.output(pool[pool.size() - 2]);
    const Graph graph = g.take();
    const Rewritten r = rewrite(graph, {.needs_finite = true});
    INFO("seed " << seed << "\n" << to_text(graph) << "becomes\n" << to_text(r.graph));
    CHECK(find_fault(r.graph) == "");
    check_equal(graph, r.graph, seed);
    CHECK(count_contracts(r.graph) <= count_contracts(graph) * 4);
  }
}
