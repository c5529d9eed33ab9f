#include "problems.h"

#include <limits>

#include "base/random.h"
#include "base/result.h"

namespace kw::redteam {
namespace {

using namespace graph;
using Op = ScalarOp;

NodeId x_of(GraphBuilder& g, Shape shape) { return g.input(DType::f32, std::move(shape), "x"); }
NodeId weight(GraphBuilder& g, const char* name, Shape shape) {
  return g.param(name, ParamKind::parameter, DType::f32, std::move(shape));
}
NodeId buffer(GraphBuilder& g, const char* name, Shape shape) {
  return g.param(name, ParamKind::buffer, DType::f32, std::move(shape));
}
NodeId mean(GraphBuilder& g, NodeId x, const std::vector<int>& axes, double count) {
  return g.map2(Op::div, g.reduce(ReduceOp::sum, x, axes, true), count);
}
NodeId square(GraphBuilder& g, NodeId x) { return g.map2(Op::mul, x, x); }

NodeId softmax(GraphBuilder& g, NodeId x, int axis) {
  const NodeId e = g.map1(Op::exp, g.map2(Op::sub, x, g.reduce(ReduceOp::max, x, {axis}, true)));
  return g.map2(Op::div, e, g.reduce(ReduceOp::sum, e, {axis}, true));
}

/// Over `axes` of `count` elements, with an epsilon; no scale.
NodeId normalised(GraphBuilder& g, NodeId x, const std::vector<int>& axes, double count, double epsilon) {
  const NodeId centred = g.map2(Op::sub, x, mean(g, x, axes, count));
  const NodeId variance = mean(g, square(g, centred), axes, count);
  return g.map2(Op::div, centred, g.map1(Op::sqrt, g.map2(Op::add, variance, epsilon)));
}

void linear(GraphBuilder& g) {
  const NodeId y = g.contract(x_of(g, {24, 40}), {0, 2}, weight(g, "w", {33, 40}), {1, 2}, {0, 1});
  g.output(g.map2(Op::add, y, weight(g, "b", {33})));
}
void relu_scale(GraphBuilder& g) {
  const NodeId y = g.map2(Op::mul, g.map2(Op::max, x_of(g, {6, 50}), 0.0), weight(g, "scale", {50}));
  g.output(g.map2(Op::add, y, weight(g, "shift", {50})));
}
void softmax_rows(GraphBuilder& g) { g.output(softmax(g, x_of(g, {20, 37}), 1)); }
void layer_norm(GraphBuilder& g) {
  const NodeId y = normalised(g, x_of(g, {16, 48}), {1}, 48, 1e-5);
  const NodeId scaled = g.map2(Op::mul, y, weight(g, "scale", {48}));
  g.output(g.map2(Op::add, scaled, weight(g, "shift", {48})));
}
void rms_norm(GraphBuilder& g) {
  const NodeId x = x_of(g, {16, 48});
  const NodeId rms = g.map1(Op::sqrt, g.map2(Op::add, mean(g, square(g, x), {1}, 48), 1e-6));
  g.output(g.map2(Op::mul, g.map2(Op::div, x, rms), weight(g, "scale", {48})));
}
void conv(GraphBuilder& g) {
  const NodeId padded = g.pad(x_of(g, {2, 3, 9, 10}), {0, 0, 1, 1}, {0, 0, 1, 1}, 0);
  const NodeId windows = g.window(padded, {{2, 3}, {3, 3}, {1, 1}, {1, 1}});
  const NodeId y =
      g.contract(windows, {0, 2, 10, 11, 20, 21}, weight(g, "w", {4, 3, 3, 3}), {3, 2, 20, 21}, {0, 3, 10, 11});
  g.output(g.map2(Op::add, y, g.reshape(weight(g, "b", {4}), {1, 4, 1, 1})));
}
void max_pool(GraphBuilder& g) {
  const NodeId padded =
      g.pad(x_of(g, {2, 3, 9, 11}), {0, 0, 1, 1}, {0, 0, 1, 1}, -std::numeric_limits<double>::infinity());
  g.output(g.reduce(ReduceOp::max, g.window(padded, {{2, 3}, {3, 3}, {2, 2}, {1, 1}}), {4, 5}));
}
void avg_pool(GraphBuilder& g) {
  const NodeId windows = g.window(x_of(g, {2, 3, 8, 10}), {{2, 3}, {2, 2}, {2, 2}, {1, 1}});
  g.output(g.map2(Op::div, g.reduce(ReduceOp::sum, windows, {4, 5}), 4.0));
}
void batch_norm(GraphBuilder& g) {
  const auto channel = [&](NodeId p) { return g.reshape(p, {1, 5, 1, 1}); };
  const NodeId centred = g.map2(Op::sub, x_of(g, {3, 5, 6, 7}), channel(buffer(g, "mean", {5})));
  const NodeId spread = g.map1(Op::sqrt, g.map2(Op::add, buffer(g, "var", {5}), 1e-5));
  const NodeId y = g.map2(Op::mul, g.map2(Op::div, centred, channel(spread)), channel(weight(g, "scale", {5})));
  g.output(g.map2(Op::add, y, channel(weight(g, "shift", {5}))));
}
void gelu(GraphBuilder& g) {
  const NodeId x = x_of(g, {7, 61});
  const NodeId tail = g.map2(Op::add, g.map1(Op::erf, g.map2(Op::mul, x, 0.70710678118654752)), 1.0);
  g.output(g.map2(Op::mul, g.map2(Op::mul, x, 0.5), tail));
}
void cumsum(GraphBuilder& g) { g.output(g.scan(ScanOp::sum, x_of(g, {9, 33}), 1)); }
void attention(GraphBuilder& g) {
  const NodeId q = g.input(DType::f32, {2, 10, 8}, "q"), k = g.input(DType::f32, {2, 12, 8}, "k");
  const NodeId v = g.input(DType::f32, {2, 12, 8}, "v");
  const NodeId scores = g.map2(Op::mul, g.contract(q, {0, 1, 3}, k, {0, 2, 3}, {0, 1, 2}), 0.35355339059327373);
  g.output(g.contract(softmax(g, scores, 2), {0, 1, 2}, v, {0, 2, 3}, {0, 1, 3}));
}
void log_sum_exp(GraphBuilder& g) {
  const NodeId x = x_of(g, {20, 37});
  const NodeId top = g.reduce(ReduceOp::max, x, {1}, true);
  const NodeId sum = g.reduce(ReduceOp::sum, g.map1(Op::exp, g.map2(Op::sub, x, top)), {1}, true);
  g.output(g.map2(Op::add, g.map1(Op::log, sum), top));
}
void argmax(GraphBuilder& g) { g.output(g.reduce(ReduceOp::argmax, x_of(g, {20, 37}), {1})); }
void variance(GraphBuilder& g) {
  const NodeId x = x_of(g, {16, 48});
  const NodeId centred = g.map2(Op::sub, x, mean(g, x, {1}, 48));
  g.output(g.map2(Op::div, g.reduce(ReduceOp::sum, square(g, centred), {1}), 47.0));
}
void transpose_add(GraphBuilder& g) {
  const NodeId y = g.permute(x_of(g, {24, 31}), {1, 0});
  g.output(g.map2(Op::add, y, weight(g, "b", {24})));
}
void group_norm(GraphBuilder& g) {
  const NodeId grouped = g.reshape(x_of(g, {2, 8, 5, 5}), {2, 4, 50});
  const NodeId y = g.reshape(normalised(g, grouped, {2}, 50, 1e-5), {2, 8, 5, 5});
  const auto channel = [&](NodeId p) { return g.reshape(p, {1, 8, 1, 1}); };
  const NodeId scaled = g.map2(Op::mul, y, channel(weight(g, "scale", {8})));
  g.output(g.map2(Op::add, scaled, channel(weight(g, "shift", {8}))));
}
void recurrence(GraphBuilder& g) {
  GraphBuilder cell;
  const NodeId h = cell.input(DType::f32, {4, 6}, "h"), x = cell.input(DType::f32, {4, 6}, "x");
  const NodeId u = cell.input(DType::f32, {6, 6}, "u");
  const NodeId next = cell.map1(Op::tanh, cell.map2(Op::add, x, cell.contract(h, {0, 2}, u, {2, 1}, {0, 1})));
  cell.output(next);
  cell.output(next);
  RecurAttr attr{std::make_shared<const Graph>(cell.take()), 7, 1, 1, false};
  const NodeId seq = g.input(DType::f32, {7, 4, 6}, "x");
  const NodeId loop = g.recur(attr, {g.full(0, DType::f32, {4, 6}), seq, weight(g, "u", {6, 6})});
  g.output(g.item(loop, 1));
}
void embedding(GraphBuilder& g) {
  const NodeId index = g.input(DType::i64, {15}, "index");
  g.output(g.gather(weight(g, "table", {11, 9}), {index}, {0}));
}
void l2_normalise(GraphBuilder& g) {
  const NodeId x = x_of(g, {18, 29});
  const NodeId norm = g.map1(Op::sqrt, g.reduce(ReduceOp::sum, square(g, x), {1}, true));
  g.output(g.map2(Op::div, x, g.map2(Op::max, norm, 1e-12)));
}

struct ProblemRow {
  const char* name;
  void (*build)(GraphBuilder& g);
};
constexpr ProblemRow rows[] = {
    {"linear", linear},           {"relu_scale", relu_scale},
    {"softmax", softmax_rows},    {"layer_norm", layer_norm},
    {"rms_norm", rms_norm},       {"conv", conv},
    {"max_pool", max_pool},       {"avg_pool", avg_pool},
    {"batch_norm", batch_norm},   {"gelu", gelu},
    {"cumsum", cumsum},           {"attention", attention},
    {"log_sum_exp", log_sum_exp}, {"argmax", argmax},
    {"variance", variance},       {"transpose_add", transpose_add},
    {"group_norm", group_norm},   {"recurrence", recurrence},
    {"embedding", embedding},     {"l2_normalise", l2_normalise},
};

double fresh_value(const std::string& name, Random& random) {
  if (name == "scale" || name == "var") return 1;
  if (name == "shift" || name == "b" || name == "mean") return 0;
  return 0.2 * random.normal();
}

Problem made(const ProblemRow& row) {
  Problem problem;
  problem.name = row.name;
  GraphBuilder g;
  row.build(g);
  problem.graph = g.take();
  problem.loaded = std::make_shared<module::LoadedModule>();
  Random random(11);
  for (const ParamInfo& info : problem.graph.params) {
    Tensor tensor = Tensor::zeros(info.dtype, info.shape);
    for (int64_t i = 0; i < element_count(info.shape); ++i) store_element(tensor, i, fresh_value(info.name, random));
    problem.loaded->weights.tensors[info.name] = tensor;
  }
  std::vector<Tensor> draw;
  for (const InputInfo& info : problem.graph.inputs) {
    const bool index = !is_float(info.dtype);
    Tensor tensor = Tensor::zeros(info.dtype, info.shape);
    for (int64_t i = 0; i < element_count(info.shape); ++i)
      store_element(tensor, i, index ? static_cast<double>(random.integer(0, 10)) : random.uniform());
    draw.push_back(tensor);
    problem.domains.push_back({0, index ? 10.0 : 1.0, index ? 5.0 : 0.5, 0.2887, true, index});
  }
  problem.example_draws = {draw};
  return problem;
}

}  // namespace

const std::vector<Problem>& problems() {
  static const std::vector<Problem> all = [] {
    std::vector<Problem> list;
    for (const ProblemRow& row : rows) list.push_back(made(row));
    return list;
  }();
  return all;
}

const Problem& problem_named(const std::string& name) {
  for (const Problem& problem : problems())
    if (problem.name == name) return problem;
  throw BugError("no such problem: " + name);
}

}  // namespace kw::redteam
