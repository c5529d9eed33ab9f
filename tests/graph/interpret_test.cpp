#include "graph/interpret.h"

#include <doctest/doctest.h>
#include <chrono>

#include <cmath>
#include <limits>
#include <tuple>

#include "base/random.h"

using namespace kw;
using namespace kw::graph;

namespace {

Tensor tensor(Shape shape, const std::vector<double>& values, DType dtype = DType::f32) {
  Tensor t = Tensor::zeros(dtype, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) store_element(t, static_cast<int64_t>(i), values[i]);
  return t;
}

Tensor random_tensor(Shape shape, uint64_t seed) {
  Tensor t = Tensor::zeros(DType::f32, std::move(shape));
  Random random(seed);
  for (int64_t i = 0; i < element_count(t.shape); ++i) store_element(t, i, random.normal());
  return t;
}

/// The graph's only output.
Reference run(GraphBuilder& g, NodeId y, const std::vector<Tensor>& inputs) {
  g.output(y);
  auto evaluation = interpret(g.take(), inputs, {});
  REQUIRE(evaluation.ok());
  return evaluation->outputs[0];
}

const double inf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("a map computes in float64 and carries its bound") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2}, "x");
  const Reference y = run(g, g.map1(ScalarOp::exp, x), {tensor({2}, {0, 1})});
  CHECK(y.value[1] == std::exp(1.0));
  CHECK(y.bound[1] == doctest::Approx(8 * 0x1p-24 * std::exp(1.0)));
}

TEST_CASE("a sum's bound grows with the root of its length and the size of its terms") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2, 4}, "x");
  const Reference y = run(g, g.reduce(ReduceOp::sum, x, {1}), {tensor({2, 4}, {1, 2, 3, 4, 1, -1, 1, -1})});
  CHECK(y.value == std::vector<double>{10, 0});
  CHECK(y.bound[1] >= (2 * 2 + 8) * 0x1p-24 * 4);
  CHECK(y.bound[1] < (2 * 2 + 8) * 0x1p-24 * 4.001);
}

TEST_CASE("a contraction over a window is a convolution") {
  const int64_t n = 2, c = 3, h = 7, w = 6, o = 4;
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {n, c, h, w}, "x");
  const NodeId k = g.input(DType::f32, {o, c, 3, 3}, "k");
  const NodeId padded = g.pad(x, {0, 0, 1, 1}, {0, 0, 1, 1}, 0);
  const NodeId view = g.window(padded, {{2, 3}, {3, 3}, {2, 1}, {1, 1}});
  const NodeId y = g.contract(view, {0, 1, 2, 3, 4, 5}, k, {6, 1, 4, 5}, {0, 6, 2, 3});
  const Tensor tx = random_tensor({n, c, h, w}, 1), tk = random_tensor({o, c, 3, 3}, 2);
  const Reference r = run(g, y, {tx, tk});
  REQUIRE(r.shape == Shape{n, o, 4, 6});
  size_t at = 0;
  for (int64_t in = 0; in < n; ++in)
    for (int64_t io = 0; io < o; ++io)
      for (int64_t iy = 0; iy < 4; ++iy)
        for (int64_t ix = 0; ix < 6; ++ix, ++at) {
          double sum = 0, size = 0;
          for (int64_t ic = 0; ic < c; ++ic)
            for (int64_t dy = 0; dy < 3; ++dy)
              for (int64_t dx = 0; dx < 3; ++dx) {
                const int64_t py = iy * 2 + dy - 1, px = ix + dx - 1;
                if (py < 0 || py >= h || px < 0 || px >= w) continue;
                const double term = load_element(tx, ((in * c + ic) * h + py) * w + px) *
                                    load_element(tk, ((io * c + ic) * 3 + dy) * 3 + dx);
                sum += term;
                size += std::fabs(term);
              }
          CHECK(r.value[at] == doctest::Approx(sum).epsilon(1e-12));
          CHECK(r.bound[at] >= (2 * std::sqrt(27.0) + 8) * 0x1p-24 * size * 0.999);
          CHECK(r.bound[at] <= (2 * std::sqrt(27.0) + 8) * 0x1p-24 * size * 1.01 + 1e-37);
        }
}

TEST_CASE("batched products with any order of labels") {
  GraphBuilder g;
  const NodeId a = g.input(DType::f32, {3, 5, 300}, "a");
  const NodeId b = g.input(DType::f32, {5, 300, 2}, "b");
  const NodeId y = g.contract(a, {0, 1, 2}, b, {1, 2, 3}, {3, 0, 1});
  const Tensor ta = random_tensor({3, 5, 300}, 3), tb = random_tensor({5, 300, 2}, 4);
  const Reference r = run(g, y, {ta, tb});
  for (int64_t d = 0; d < 2; ++d)
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 5; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < 300; ++k)
          sum += load_element(ta, (i * 5 + j) * 300 + k) * load_element(tb, (j * 300 + k) * 2 + d);
        CHECK(r.value[static_cast<size_t>((d * 3 + i) * 5 + j)] == doctest::Approx(sum).epsilon(1e-12));
      }
}

TEST_CASE("views move elements and nothing else") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2, 3}, "x");
  const NodeId y = g.reshape(g.flip(g.permute(x, {1, 0}), {1}), {6});
  CHECK(run(g, y, {tensor({2, 3}, {1, 2, 3, 4, 5, 6})}).value == std::vector<double>{4, 1, 5, 2, 6, 3});
  const NodeId z = g.input(DType::f32, {4}, "z");
  const NodeId w = g.cat({g.dilate(g.slice(z, 0, 1, 4, 2), {{0}, {3}}), g.pad(z, {1}, {0}, 9)}, 0);
  CHECK(run(g, w, {tensor({4}, {1, 2, 3, 4})}).value == std::vector<double>{2, 0, 0, 4, 9, 1, 2, 3, 4});
}

TEST_CASE("a max is as uncertain as its interval, not as its losers") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2}, "x");
  const NodeId noisy = g.map2(ScalarOp::mul, g.map1(ScalarOp::exp, x), g.full(1, DType::f32, {2}));
  const Reference y = run(g, g.reduce(ReduceOp::max, noisy, {0}), {tensor({2}, {0, -50})});
  CHECK(y.bound[0] == doctest::Approx(8 * 0x1p-24));
}

TEST_CASE("a branch on uncertain values admits either side") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2}, "x");
  const NodeId e = g.map1(ScalarOp::exp, x);
  const NodeId above = g.map2(ScalarOp::gt, e, 1.0);
  g.output(g.where(above, g.full(5, DType::f32, {2}), g.full(7, DType::f32, {2})));
  const auto evaluation = interpret(g.take(), {tensor({2}, {0, 1})}, {});
  REQUIRE(evaluation.ok());
  CHECK(evaluation->outputs[0].value == std::vector<double>{7, 5});
  CHECK(evaluation->outputs[0].bound == std::vector<double>{2, 0});
  CHECK(evaluation->straddled == 1);
}

TEST_CASE("float32 overflow is infinity, and certain where it is far beyond") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2}, "x");
  const Reference y = run(g, g.map1(ScalarOp::exp, x), {tensor({2}, {100, std::nan("")})});
  CHECK(y.value[0] == inf);
  CHECK(y.bound[0] == 0);
  CHECK(std::isnan(y.value[1]));
  CHECK(y.bound[1] == 0);
}

TEST_CASE("a sum that may overflow on the way may be anything, whatever its value") {
  const std::vector<double> huge = {3e38, 3e38, -3e38, -3e38}, large = {3e37, 3e37, -3e37, -3e37};
  for (const bool product : {false, true}) {
    for (const auto& values : {huge, large}) {
      GraphBuilder g;
      const NodeId x = g.input(DType::f32, {1, 4}, "x");
      NodeId y = -1;
      if (product)
        y = g.contract(x, {0, 1}, g.full(1, DType::f32, {1, 4}), {2, 1}, {0, 2});
      else
        y = g.reduce(ReduceOp::sum, x, {1});
      g.output(y);
      const auto evaluation = interpret(g.take(), {tensor({1, 4}, values)}, {});
      REQUIRE(evaluation.ok());
      CHECK(evaluation->outputs[0].value[0] == 0);
      CHECK(std::isinf(evaluation->outputs[0].bound[0]) == (values == huge));
      CHECK(evaluation->overflowing == (values == huge ? 1 : 0));
    }
  }
}

TEST_CASE("a half tensor's rounding is in its bound") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {1}, "x");
  const Reference y = run(g, g.cast(x, DType::f16), {tensor({1}, {1.0 / 3})});
  CHECK(y.value[0] == static_cast<double>(static_cast<float>(1.0 / 3)));
  CHECK(y.bound[0] >= 0x1p-11 / 3);
}

TEST_CASE("gather, scatter, sort and scan") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4, 2}, "x");
  const NodeId i = g.input(DType::i64, {3}, "i");
  const NodeId taken = g.gather(x, {i}, {0});
  const NodeId summed = g.scatter(g.full(0, DType::f32, {4, 2}), taken, {i}, {0}, ScatterOp::add);
  g.output(summed);
  g.output(g.sort(x, 0, 2, true));
  g.output(g.scan(ScanOp::sum, x, 0));
  const auto e =
      interpret(g.take(), {tensor({4, 2}, {1, 8, 2, 7, 3, 6, 4, 5}), tensor({3}, {3, 0, 3}, DType::i64)}, {});
  REQUIRE(e.ok());
  CHECK(e->outputs[0].value == std::vector<double>{1, 8, 0, 0, 0, 0, 8, 10});
  CHECK(e->outputs[1].value == std::vector<double>{3, 0, 2, 1});
  CHECK(e->outputs[2].value == std::vector<double>{1, 8, 3, 15, 6, 21, 10, 26});
}

TEST_CASE("what near-tied indices pick is as uncertain as the candidates differ") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {2, 4}, "x");
  const NodeId y = g.map1(ScalarOp::exp, x);  // a bound of some ulps beside each value
  const NodeId places = g.sort(y, 1, 3, true);
  const NodeId rows = g.expand(g.reshape(g.iota(2), {2, 1}), {2, 3});
  const NodeId other = g.input(DType::f32, {2, 4}, "other");
  g.output(places);
  g.output(g.gather(y, {rows, places}, {0, 1}));
  g.output(g.gather(other, {rows, places}, {0, 1}));
  const double near = 1 + 0x1p-23;
  const Tensor tx = tensor({2, 4}, {0, 1, near, 3, 3, 0, -1, -2}), to = tensor({2, 4}, {5, 6, 8, 7, 1, 2, 3, 4});
  const auto evaluation = interpret(g.take(), {tx, to}, {});
  REQUIRE(evaluation.ok());
  const auto& [index, value, picked] = std::tie(evaluation->outputs[0], evaluation->outputs[1], evaluation->outputs[2]);
  CHECK(index.value == std::vector<double>{3, 2, 1, 0, 1, 2});
  CHECK(std::isinf(index.bound[1]));
  CHECK(std::isinf(index.bound[2]));
  CHECK(index.bound[0] == 0);
  const double e = std::exp(1.0), apart = std::exp(near) - e;
  for (const int place : {1, 2}) {  // either of the two, each with its own bound
    CHECK(value.bound[static_cast<size_t>(place)] >= apart);
    CHECK(value.bound[static_cast<size_t>(place)] < apart + 10 * 0x1p-24 * e);
    CHECK(picked.bound[static_cast<size_t>(place)] == 2);
  }
  CHECK(picked.value[1] == 8);
  for (const int place : {0, 3, 4, 5}) CHECK(picked.bound[static_cast<size_t>(place)] == 0);
}

TEST_CASE("a deadline ends a long product in its midst") {
  constexpr int64_t n = 3000;  // a second of work and more on two cores
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {n, n}, "x");
  g.output(g.contract(x, {0, 1}, x, {1, 2}, {0, 2}));
  const Graph graph = g.take();
  const auto start = std::chrono::steady_clock::now();
  InterpretOptions options;
  options.deadline = start + std::chrono::milliseconds(50);
  CHECK(interpret(graph, {random_tensor({n, n}, 1)}, {}, options).failure().id == "interpret.time");
  options.deadline = start + std::chrono::hours(1);
  CHECK(interpret(graph, {random_tensor({n, n}, 1)}, {}, options).ok());
}

TEST_CASE("an index out of range and too little memory are failures with a reason") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4}, "x");
  const NodeId i = g.input(DType::i64, {1}, "i");
  g.output(g.gather(x, {i}, {0}));
  const Graph graph = g.take();
  const auto bad = interpret(graph, {random_tensor({4}, 1), tensor({1}, {4}, DType::i64)}, {});
  CHECK(bad.failure().id == "interpret.index");
  InterpretOptions small;
  small.memory_limit_bytes = 16;
  CHECK(interpret(graph, {random_tensor({4}, 1), tensor({1}, {0}, DType::i64)}, {}, small).failure().id ==
        "interpret.memory");
}

TEST_CASE("a loop hands on its carry and stacks its turns") {
  GraphBuilder body;
  const NodeId h = body.input(DType::f32, {1}, "h");
  const NodeId x = body.input(DType::f32, {1}, "x");
  const NodeId next = body.map2(ScalarOp::add, h, x);
  body.output(next);
  body.output(next);
  const auto turn = std::make_shared<const Graph>(body.take());
  for (const bool reverse : {false, true}) {
    GraphBuilder g;
    const NodeId xs = g.input(DType::f32, {3, 1}, "xs");
    const NodeId loop = g.recur({turn, 3, 1, 1, reverse}, {g.full(0, DType::f32, {1}), xs});
    const Reference y = run(g, g.item(loop, 1), {tensor({3, 1}, {1, 2, 4})});
    CHECK(y.value == (reverse ? std::vector<double>{7, 6, 4} : std::vector<double>{1, 3, 7}));
  }
}
