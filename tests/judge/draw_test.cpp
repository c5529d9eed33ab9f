#include "judge/draw.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "judge/exact.h"

using namespace kw;
using namespace kw::graph;
using namespace kw::judge;

namespace {

/// y = x W^T + b over x [8, 64], tokens [8] in [0, 9].
Problem problem_of(bool with_exp = false) {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {8, 64}, "x");
  const NodeId tokens = g.input(DType::i64, {8}, "tokens");
  const NodeId w = g.param("w", ParamKind::parameter, DType::f32, {16, 64});
  const NodeId var = g.param("var", ParamKind::buffer, DType::f32, {16});
  const NodeId table = g.param("table", ParamKind::constant, DType::f32, {10, 16});
  NodeId y = g.contract(x, {0, 2}, w, {1, 2}, {0, 1});
  if (with_exp) y = g.map1(ScalarOp::exp, y);
  y = g.map2(ScalarOp::add, y, g.gather(table, {tokens}, {0}));
  g.output(g.map2(ScalarOp::add, y, var));
  Problem problem;
  problem.graph = g.take();
  problem.loaded = std::make_shared<module::LoadedModule>();
  problem.domains.resize(2);
  problem.domains[0] = {0, 1, 0.5, 1 / std::sqrt(12.0), true, false};
  problem.domains[1] = {0, 9, 0, 1, true, true};
  for (const ParamInfo& info : problem.graph.params) {
    Tensor tensor = Tensor::zeros(info.dtype, info.shape);
    for (int64_t i = 0; i < element_count(info.shape); ++i)
      store_element(tensor, i, info.name == "w" ? 0.01 * double(i % 7) : 1);
    problem.loaded->weights.tensors[info.name] = tensor;
  }
  return problem;
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> all;
  for (int64_t i = 0; i < element_count(t.shape); ++i) all.push_back(load_element(t, i));
  return all;
}

}  // namespace

TEST_CASE("the same seed draws the same values, another seed others") {
  const Problem problem = problem_of();
  for (const SuiteRow& row : suite_table()) {
    const auto a = values(draw_inputs(problem, row.name, 1, -1, 8)[0]);
    const auto b = values(draw_inputs(problem, row.name, 1, -1, 8)[0]);
    const auto c = values(draw_inputs(problem, row.name, 2, -1, 8)[0]);
    CHECK(std::equal(a.begin(), a.end(), b.begin(), [](double x, double y) { return x == y || x != x; }));
    CHECK(!std::equal(a.begin(), a.end(), c.begin(), [](double x, double y) { return x == y; }));
  }
}

TEST_CASE("every suite keeps indices within their domain, and has what it promises") {
  const Problem problem = problem_of();
  for (const SuiteRow& row : suite_table())
    for (const double token : values(draw_inputs(problem, row.name, 3, -1, 8)[1])) CHECK((token >= 0 && token <= 9));
  for (const double x : values(draw_inputs(problem, "own", 3, -1, 8)[0])) CHECK((x >= 0 && x <= 1));
  for (const double x : values(draw_inputs(problem, "negative", 3, -1, 8)[0])) CHECK(x < 0);
  for (const double x : values(draw_inputs(problem, "integers", 3, -1, 4)[0]))
    CHECK((x == std::trunc(x) && std::abs(x) <= 4));
  int hot = 0, nans = 0, infinite = 0;
  for (const double x : values(draw_inputs(problem, "one_hot", 3, -1, 8)[0])) hot += x != 0;
  CHECK(hot == 8);
  for (const double x : values(draw_inputs(problem, "specials", 3, -1, 8)[0])) {
    nans += std::isnan(x);
    infinite += std::isinf(x);
  }
  CHECK(nans > 0);
  CHECK(infinite > 1);
  const auto pairs = values(draw_inputs(problem, "cancelling", 3, -1, 8)[0]);
  CHECK(pairs[0] + pairs[1] == doctest::Approx(-pairs[0] * 0x1p-12).epsilon(1e-3));
}

TEST_CASE("redrawn parameters move what was 1 and 0, keep variances positive and constants alone") {
  const Problem problem = problem_of();
  const auto own = draw_params(problem, ParamDraw::own, 1, 8);
  const auto drawn = draw_params(problem, ParamDraw::redrawn, 1, 8);
  CHECK(values(own.at("w")) == values(problem.params().at("w")));
  CHECK(values(drawn.at("w")) != values(own.at("w")));
  CHECK(values(drawn.at("table")) == values(own.at("table")));
  std::set<double> different;
  for (const double v : values(drawn.at("var"))) {
    CHECK(v > 0);
    different.insert(v);
  }
  CHECK(different.size() > 10);
}

TEST_CASE("exactness is claimed only where nothing rounds") {
  const Problem linear = problem_of(), rounded = problem_of(true);
  CHECK(exact_magnitude(linear.graph, linear.params()) == 8);
  CHECK(!exact_magnitude(rounded.graph, rounded.params()));
  GraphBuilder g;
  NodeId x = g.input(DType::f32, {1, 1 << 19}, "x");
  g.output(g.reduce(ReduceOp::sum, g.map2(ScalarOp::mul, x, x), {1}));
  const Graph big = g.take();
  CHECK(exact_magnitude(big, {}) == 4);  // 2^19 * 4^2 = 2^23
}
