#include <doctest/doctest.h>

#include "run_plan.h"

using namespace kw;
using namespace kw::graph;
using kernel::schedule::default_candidate;
using kernel::schedule::partition;

namespace {

NodeId input(GraphBuilder& b, Shape shape, DType dtype = DType::f32) { return b.input(dtype, std::move(shape), "x"); }

NodeId softmax(GraphBuilder& b, NodeId x, int axis) {
  const NodeId top = b.reduce(ReduceOp::max, x, {axis}, true);
  const NodeId e = b.map1(ScalarOp::exp, b.map2(ScalarOp::sub, x, top));
  return b.map2(ScalarOp::div, e, b.reduce(ReduceOp::sum, e, {axis}, true));
}

/// A graph of one output made by `f`, checked against the interpreter.
template <class F>
kernel::Candidate check_one(F f) {
  GraphBuilder b;
  b.output(f(b));
  return test::check_graph(b.take());
}

}  // namespace

TEST_CASE("elementwise chains") {
  check_one([](GraphBuilder& b) {
    const NodeId x = input(b, {3, 1000});
    return b.map2(ScalarOp::mul, x, b.map1(ScalarOp::sigmoid, x));
  });
  check_one([](GraphBuilder& b) { return b.map1(ScalarOp::tanh, input(b, {7})); });
  check_one([](GraphBuilder& b) { return b.map2(ScalarOp::add, input(b, {}), 3.0); });
  check_one([](GraphBuilder& b) {  // broadcast of a channel
    const NodeId x = input(b, {2, 5, 9, 7});
    return b.map2(ScalarOp::add, x, b.reshape(b.param("bias", ParamKind::parameter, DType::f32, {5}), {1, 5, 1, 1}));
  });
}

TEST_CASE("views: transposes, padding, slices, flips, cats") {
  check_one([](GraphBuilder& b) { return b.permute(input(b, {33, 5, 40}), {2, 0, 1}); });
  check_one([](GraphBuilder& b) { return b.pad(input(b, {3, 40}), {1, 2}, {0, 5}, 7); });
  check_one([](GraphBuilder& b) {
    return b.pad(b.map1(ScalarOp::exp, input(b, {2, 3, 17, 20})), {0, 0, 1, 1}, {0, 0, 1, 1}, -1);
  });
  check_one([](GraphBuilder& b) { return b.slice(b.slice(input(b, {9, 50}), 1, 3, 47, 2), 0, 1, 9, 3); });
  check_one([](GraphBuilder& b) { return b.flip(input(b, {4, 37}), {1}); });
  check_one([](GraphBuilder& b) {
    const NodeId x = input(b, {4, 37});
    return b.cat({x, b.map1(ScalarOp::exp, x), input(b, {4, 11})}, 1);
  });
  check_one([](GraphBuilder& b) { return b.dilate(input(b, {3, 9}), {{1}, {3}}); });
  check_one([](GraphBuilder& b) { return b.window(input(b, {2, 10, 12}), {{1, 2}, {3, 3}, {1, 2}, {2, 1}}); });
  check_one([](GraphBuilder& b) {
    return b.reshape(b.permute(b.reshape(input(b, {2, 12, 5, 5}), {2, 3, 4, 5, 5}), {0, 2, 1, 3, 4}), {2, 12, 5, 5});
  });
}

TEST_CASE("dtypes") {
  for (DType d : {DType::f16, DType::bf16, DType::f64, DType::i64, DType::i32}) {
    check_one([&](GraphBuilder& b) {
      const NodeId x = input(b, {5, 33}, d);
      return b.map2(ScalarOp::add, b.map2(ScalarOp::mul, x, x), x);
    });
    check_one([&](GraphBuilder& b) { return b.cast(input(b, {41}, d), DType::f32); });
    check_one([&](GraphBuilder& b) { return b.cast(input(b, {41}, DType::f32), d); });
  }
  check_one([](GraphBuilder& b) {
    const NodeId x = input(b, {3, 40});
    return b.where(b.map2(ScalarOp::lt, x, 0.25), b.full(0, DType::f32, {3, 40}), x);
  });
  check_one([](GraphBuilder& b) { return b.map2(ScalarOp::gt, input(b, {77}), 0.0); });
  check_one([](GraphBuilder& b) {  // a causal mask
    const NodeId row = b.reshape(b.iota(32), {32, 1}), column = b.reshape(b.iota(32), {1, 32});
    return b.where(b.map2(ScalarOp::le, column, row), input(b, {32, 32}), b.full(-INFINITY, DType::f32, {32, 32}));
  });
}

TEST_CASE("reductions") {
  for (ReduceOp op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min, ReduceOp::prod}) {
    check_one([&](GraphBuilder& b) { return b.reduce(op, input(b, {6, 50}), {1}); });
    check_one([&](GraphBuilder& b) { return b.reduce(op, input(b, {6, 5, 4}), {0, 2}); });
  }
  for (ReduceOp op : {ReduceOp::argmax, ReduceOp::argmin})
    check_one([&](GraphBuilder& b) { return b.reduce(op, input(b, {6, 50}), {1}); });
  check_one([](GraphBuilder& b) { return softmax(b, input(b, {12, 100}), 1); });
  check_one([](GraphBuilder& b) { return softmax(b, input(b, {4, 30, 7}), 1); });
}

TEST_CASE("contractions, with epilogue") {
  check_one([](GraphBuilder& b) {
    const NodeId w = b.param("w", ParamKind::parameter, DType::f32, {24, 40});
    const NodeId y = b.contract(input(b, {9, 40}), {0, 1}, w, {2, 1}, {0, 2});
    const NodeId z = b.map2(ScalarOp::add, y, b.param("b", ParamKind::parameter, DType::f32, {24}));
    return b.map2(ScalarOp::mul, z, b.map1(ScalarOp::sigmoid, z));
  });
  check_one([](GraphBuilder& b) {  // a convolution
    const NodeId x =
        b.window(b.pad(input(b, {2, 3, 9, 9}), {0, 0, 1, 1}, {0, 0, 1, 1}, 0), {{2, 3}, {3, 3}, {2, 2}, {1, 1}});
    const NodeId w = b.param("w", ParamKind::parameter, DType::f32, {8, 3, 3, 3});
    return b.contract(x, {0, 1, 2, 3, 4, 5}, w, {6, 1, 4, 5}, {0, 6, 2, 3});
  });
}

TEST_CASE("gather, scatter, scan, sort") {
  check_one([](GraphBuilder& b) { return b.gather(input(b, {3, 50}), {input(b, {4, 2}, DType::i64)}, {0}); });
  check_one([](GraphBuilder& b) {
    return b.scatter(input(b, {3, 5}), input(b, {6, 5}), {input(b, {6}, DType::i64)}, {0}, ScatterOp::add);
  });
  check_one([](GraphBuilder& b) { return b.scan(ScanOp::sum, input(b, {4, 30}), 1); });
  check_one([](GraphBuilder& b) { return b.scan(ScanOp::max, input(b, {4, 30}), 0); });
  check_one([](GraphBuilder& b) { return b.sort(input(b, {4, 30}), 1, 5, true); });
  check_one([](GraphBuilder& b) { return b.sort(input(b, {30, 4}, DType::i64), 0, 30, false); });
}

TEST_CASE("a recurrence with two carries and stacked values") {
  for (bool reverse : {false, true}) {
    auto body = [] {
      GraphBuilder b;
      const NodeId h = b.input(DType::f32, {2, 8}, "h"), c = b.input(DType::f32, {2, 8}, "c");
      const NodeId x = b.input(DType::f32, {2, 8}, "x"), w = b.input(DType::f32, {8, 8}, "w");
      const NodeId z = b.map2(ScalarOp::add, b.contract(h, {0, 1}, w, {2, 1}, {0, 2}), x);
      const NodeId next = b.map1(ScalarOp::tanh, z);
      b.output(next);
      b.output(b.map2(ScalarOp::add, c, next));
      b.output(next);
      return std::make_shared<const Graph>(b.take());
    }();
    GraphBuilder b;
    const NodeId w = b.param("w", ParamKind::parameter, DType::f32, {8, 8});
    const NodeId r = b.recur({body, 5, 2, 1, reverse}, {input(b, {2, 8}), input(b, {2, 8}), input(b, {5, 2, 8}), w});
    for (int i = 0; i < 3; ++i) b.output(b.item(r, i));
    test::check_graph(b.take());
  }
}

TEST_CASE("states are read before they change, and parameters are prepared") {
  GraphBuilder b;
  const NodeId x = input(b, {8, 5});
  const NodeId running = b.param("running", ParamKind::buffer, DType::f32, {5});
  const NodeId mean = b.map2(ScalarOp::mul, b.reduce(ReduceOp::sum, x, {0}), 0.125);
  b.output(b.map2(ScalarOp::sub, x, running));
  b.output(x);
  b.output(running);
  b.state("running", b.map2(ScalarOp::add, b.map2(ScalarOp::mul, running, 0.9), mean));
  const NodeId w = b.param("w", ParamKind::parameter, DType::f32, {5});
  b.output(b.map2(ScalarOp::mul, x, b.map1(ScalarOp::exp, w)));
  const Graph g = b.take();
  const kernel::Candidate c = test::check_graph(g);
  const auto plan = kernel::parse_plan(c.plan_json);
  REQUIRE(plan.ok());
  CHECK(plan->prepare.size() == 1);
}

TEST_CASE("states that exchange their values, in a pair and in a ring") {
  GraphBuilder b;
  const NodeId x = input(b, {7});
  std::vector<NodeId> old;
  for (const char* name : {"a", "b", "c", "d", "e"}) old.push_back(b.param(name, ParamKind::buffer, DType::f32, {7}));
  b.output(b.map2(ScalarOp::add, x, old[1]));
  b.output(old[0]);
  b.state("a", old[1]);
  b.state("b", old[0]);
  b.state("c", old[3]);
  b.state("d", old[4]);
  b.state("e", old[2]);
  test::check_graph(b.take());
}

TEST_CASE("one state's old value goes to two others, in another shape too") {
  GraphBuilder b;
  const NodeId x = input(b, {4});
  const NodeId first = b.param("first", ParamKind::buffer, DType::f32, {4});
  b.param("second", ParamKind::buffer, DType::f32, {4});
  b.param("third", ParamKind::buffer, DType::f32, {2, 2});
  b.state("first", x);
  b.state("second", first);
  b.state("third", b.reshape(first, {2, 2}));
  b.output(b.map1(ScalarOp::exp, first));
  test::check_graph(b.take());
}

TEST_CASE("a piece alone is a graph of the same work") {
  GraphBuilder b;
  const NodeId x = input(b, {12, 64});
  const NodeId w = b.param("w", ParamKind::parameter, DType::f32, {32, 64});
  b.output(softmax(b, b.contract(x, {0, 1}, w, {2, 1}, {0, 2}), 1));
  const Graph g = b.take();
  const kernel::Facts facts = test::machine_facts();
  const auto parts = partition(g, facts);
  CHECK(parts.pieces.size() == 2);
  for (const auto& piece : parts.pieces) {
    const Graph own = kernel::schedule::piece_graph(g, piece);
    CHECK(find_fault(own) == "");
    test::check_graph(own);
    const auto again = partition(own, facts);
    REQUIRE(again.pieces.size() == 1);
    CHECK(kernel::schedule::piece_key(own, again.pieces[0]) == kernel::schedule::piece_key(g, piece));
  }
}
