#include <cmath>
#include <functional>
#include <limits>

#include "graph/rewrite/layout.h"
#include "run_plan.h"

/// Convolutions and pools on images in blocks of channels: each graph is built plain, carried over, and its kernels are
/// compared with the plain graph's interpretation.
namespace kw {
namespace {

using graph::GraphBuilder;
using graph::NodeId;
using graph::ParamKind;
using graph::ReduceOp;
using graph::ScalarOp;

constexpr double infinity = std::numeric_limits<double>::infinity();

NodeId weight(GraphBuilder& b, const std::string& name, const Shape& shape) {
  return b.param(name, ParamKind::parameter, DType::f32, shape);
}

struct Taps {
  int64_t size = 3, stride = 1, pad = 1, dilation = 1;
};

NodeId padded(GraphBuilder& b, NodeId x, int64_t pad, double value = 0) {
  return b.pad(x, {0, 0, pad, pad}, {0, 0, pad, pad}, value);
}

NodeId conv(GraphBuilder& b, NodeId x, const std::string& name, int64_t filters, const Taps& t) {
  const int64_t channels = b.shape(x)[1];
  if (t.size == 1) {
    for (int axis : {2, 3}) x = b.slice(x, axis, 0, b.shape(x)[static_cast<size_t>(axis)], t.stride);
    return b.contract(x, {0, 2, 10, 11}, weight(b, name, {filters, channels}), {3, 2}, {0, 3, 10, 11});
  }
  const NodeId windows =
      b.window(padded(b, x, t.pad), {{2, 3}, {t.size, t.size}, {t.stride, t.stride}, {t.dilation, t.dilation}});
  const NodeId w = weight(b, name, {filters, channels, t.size, t.size});
  return b.contract(windows, {0, 2, 10, 11, 20, 21}, w, {3, 2, 20, 21}, {0, 3, 10, 11});
}

NodeId depthwise(GraphBuilder& b, NodeId x, const std::string& name, const Taps& t) {
  const NodeId windows = b.window(padded(b, x, t.pad), {{2, 3}, {t.size, t.size}, {t.stride, t.stride}, {1, 1}});
  const Shape s = b.shape(windows);
  const NodeId seen = b.reshape(windows, {s[0], s[1], 1, s[2], s[3], s[4], s[5]});
  const NodeId w = weight(b, name, {s[1], 1, 1, t.size, t.size});
  const NodeId y = b.contract(seen, {0, 1, 2, 10, 11, 20, 21}, w, {1, 3, 2, 20, 21}, {0, 1, 3, 10, 11});
  return b.reshape(y, {s[0], s[1], s[2], s[3]});
}

NodeId pool(GraphBuilder& b, NodeId x, ReduceOp op, const Taps& t) {
  const NodeId p = padded(b, x, t.pad, op == ReduceOp::max ? -infinity : 0);
  return b.reduce(op, b.window(p, {{2, 3}, {t.size, t.size}, {t.stride, t.stride}, {1, 1}}), {4, 5});
}

NodeId biased_relu(GraphBuilder& b, NodeId x, const std::string& name) {
  const NodeId bias = b.reshape(weight(b, name, {b.shape(x)[1]}), {1, b.shape(x)[1], 1, 1});
  return b.map2(ScalarOp::max, b.map2(ScalarOp::add, x, bias), 0.0);
}

/// Weights that keep values near one from layer to layer, so that rounding errors stay comparable.
test::Case calm_case(const graph::Graph& g) {
  test::Case c = test::random_case(g);
  for (auto& [name, t] : c.params) {
    const int64_t count = element_count(t.shape);
    const double scale = std::sqrt(static_cast<double>(t.shape[0]) / static_cast<double>(count));
    for (int64_t i = 0; i < count; ++i) store_element(t, i, load_element(t, i) * scale);
  }
  return c;
}

/// Carries `plain` over and checks its kernels; returns how many of them are direct.
int check_blocked(const graph::Graph& plain, const kernel::Facts& facts = test::machine_facts()) {
  const auto blocked = graph::with_blocked_images(plain, facts.f32_lanes(), true);
  REQUIRE(blocked.has_value());
  const auto candidate = kernel::schedule::default_candidate(blocked->graph, facts);
  if (!candidate) FAIL(candidate.failure().message);
  test::check_candidate(plain, *candidate, calm_case(plain));
  int direct = 0;
  for (const std::string& note : candidate->notes) direct += note.find("direct{") != std::string::npos;
  return direct;
}

int check_one(const Shape& image, const std::function<NodeId(GraphBuilder&, NodeId)>& op,
              const kernel::Facts& facts = test::machine_facts()) {
  GraphBuilder b;
  b.output(op(b, b.input(DType::f32, image, "x")));
  return check_blocked(b.take(), facts);
}

TEST_CASE("single convolutions on blocks agree with the interpreter") {
  const auto one = [](const Shape& image, int64_t filters, const Taps& t) {
    return check_one(image,
                     [&](GraphBuilder& b, NodeId x) { return biased_relu(b, conv(b, x, "w", filters, t), "b"); });
  };
  CHECK(one({1, 32, 14, 14}, 32, {}) == 1);
  CHECK(one({2, 32, 9, 13}, 48, {}) == 1);             // odd sizes, two images
  CHECK(one({1, 3, 20, 20}, 16, {7, 2, 3}) == 1);      // a stem: plain in, blocks out
  CHECK(one({1, 16, 15, 15}, 32, {3, 2, 1}) == 1);     // stride
  CHECK(one({1, 16, 12, 12}, 16, {3, 1, 2, 2}) == 1);  // dilation
  CHECK(one({1, 16, 3, 3}, 16, {5, 1, 4}) == 1);       // windows that see padding only
  CHECK(one({2, 64, 7, 7}, 64, {1}) == 1);             // pointwise, rows joined
  CHECK(one({1, 48, 10, 10}, 32, {1, 2}) == 1);        // pointwise with stride
}

TEST_CASE("a network keeps its blocks from layer to layer") {
  GraphBuilder b;
  const NodeId x = b.input(DType::f32, {1, 3, 32, 32}, "x");
  const NodeId stem = pool(b, biased_relu(b, conv(b, x, "w0", 32, {3, 2, 1}), "b0"), ReduceOp::max, {3, 2, 1});
  const NodeId inner = biased_relu(b, conv(b, stem, "w1", 32, {}), "b1");
  const NodeId residual = b.map2(ScalarOp::add, conv(b, inner, "w2", 32, {}), stem);
  const NodeId deep = biased_relu(b, depthwise(b, b.map1(ScalarOp::tanh, residual), "w3", {3, 2, 1}), "b3");
  const NodeId mean = b.map2(ScalarOp::mul, b.reduce(ReduceOp::sum, conv(b, deep, "w4", 64, {1}), {2, 3}), 1.0 / 16);
  b.output(mean);
  const graph::Graph plain = b.take();
  CHECK(check_blocked(plain) == 6);
  const auto blocked = graph::with_blocked_images(plain, test::machine_facts().f32_lanes(), false);
  CHECK(blocked->anchors == 6);
  CHECK(!blocked->needs_finite);
}

TEST_CASE("channels that fill no block are filled up with zeros") {
  GraphBuilder b;
  const NodeId x = b.input(DType::f32, {1, 32, 8, 8}, "x");
  const NodeId narrow = conv(b, x, "w0", 24, {1});
  const NodeId wide = biased_relu(b, conv(b, narrow, "w1", 144, {1}), "b1");
  const NodeId again = b.map2(ScalarOp::add, conv(b, depthwise(b, wide, "w2", {}), "w3", 24, {1}), narrow);
  b.output(conv(b, again, "w4", 40, {}));
  b.output(b.reduce(ReduceOp::max, again, {2, 3}));
  const graph::Graph plain = b.take();
  CHECK(check_blocked(plain) == 5);
  CHECK(graph::with_blocked_images(plain, 16, true)->needs_finite);
}

TEST_CASE("pools on blocks propagate NaN and keep their padding out") {
  GraphBuilder b;
  const NodeId y = conv(b, b.input(DType::f32, {1, 16, 9, 9}, "x"), "w", 16, {});
  b.output(pool(b, y, ReduceOp::max, {3, 2, 1}));
  b.output(pool(b, y, ReduceOp::sum, {2, 2, 0}));
  const graph::Graph plain = b.take();
  const auto blocked = graph::with_blocked_images(plain, test::machine_facts().f32_lanes(), false);
  const auto candidate = kernel::schedule::default_candidate(blocked->graph, test::machine_facts());
  REQUIRE(candidate.ok());
  test::Case c = calm_case(plain);
  store_element(c.inputs[0], 200, std::numeric_limits<double>::quiet_NaN());
  test::check_candidate(plain, *candidate, c);
}

TEST_CASE("every offered schedule of a direct convolution is right, with passes and on narrower vectors") {
  GraphBuilder b;
  b.output(biased_relu(b, conv(b, b.input(DType::f32, {1, 96, 6, 7}, "x"), "w", 96, {}), "b"));
  const graph::Graph plain = b.take();
  for (kernel::Facts facts : {test::machine_facts(), kernel::Facts{}}) {
    facts.l2_bytes = 64 << 10;  // so that passes are offered
    const auto blocked = graph::with_blocked_images(plain, facts.f32_lanes(), false);
    const auto parts = kernel::schedule::partition(blocked->graph, facts);
    kernel::schedule::Choice choice = kernel::schedule::default_choice(blocked->graph, parts, facts);
    for (size_t i = 0; i < parts.pieces.size(); ++i) {
      const auto offered = kernel::schedule::options(blocked->graph, parts.pieces[i], facts);
      int tried = 0;
      for (size_t k = 0; k < offered.size() && tried < 4; k += 7) {
        if (offered[k].schedule.family != "direct") continue;
        ++tried;
        choice[i] = offered[k].schedule;
        const auto candidate = kernel::schedule::assemble(blocked->graph, parts, choice, facts);
        REQUIRE(candidate.ok());
        CAPTURE(choice[i].text());
        test::check_candidate(plain, *candidate, calm_case(plain));
      }
    }
  }
}

}  // namespace
}  // namespace kw
