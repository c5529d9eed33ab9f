#include <string>
#include <vector>

#include "run_plan.h"

/// Products and convolutions of awkward sizes, through several points of the schedule space, against the interpreter.
namespace kw::test {
namespace {

using graph::GraphBuilder;
using graph::NodeId;
using graph::ParamKind;
using graph::ScalarOp;
using kernel::Facts;

Facts narrow_facts() {
  Facts facts = machine_facts();
  facts.isa = "avx2";
  facts.vector_bytes = 32;
  facts.vector_registers = 16;
  return facts;
}

/// Candidates with the `point`th of the first `points` evenly spread schedules of the product's own piece.
void check_points(const graph::Graph& g, const Facts& facts, size_t points) {
  using namespace kernel::schedule;
  const Partition parts = partition(g, facts);
  const Case inputs = random_case(g);
  bool met = false;
  for (size_t piece = 0; piece < parts.pieces.size(); ++piece) {
    const auto offered = family_of("gemm").covers(g, parts.pieces[piece])
                             ? family_of("gemm").space(g, parts.pieces[piece], facts)
                             : std::vector<Schedule>{};
    CHECK(offered.size() < 100);
    for (size_t point = 0; point < std::min(points, offered.size()); ++point) {
      met = true;
      Choice choice = default_choice(g, parts, facts);
      choice[piece] = offered[point * offered.size() / std::min(points, offered.size())];
      CAPTURE(choice[piece].text());
      const auto candidate = assemble(g, parts, choice, facts);
      REQUIRE(candidate.ok());
      check_candidate(g, *candidate, inputs);
    }
  }
  CHECK(met);
}

graph::Graph linear(int64_t m, int64_t k, int64_t n, DType dtype = DType::f32, bool parameter = true) {
  GraphBuilder b;
  const NodeId x = b.input(dtype, {m, k}, "x");
  const NodeId w = parameter ? b.param("w", ParamKind::parameter, dtype, {n, k}) : b.input(dtype, {n, k}, "w");
  NodeId y = b.contract(x, {0, 1}, w, {2, 1}, {0, 2});
  y = b.map2(ScalarOp::mul, y, 0.01);  // a long sum stays where tanh neither saturates nor magnifies its rounding
  y = b.map2(ScalarOp::add, y, b.param("bias", ParamKind::parameter, dtype, {n}));
  b.output(b.map1(ScalarOp::tanh, y));
  return b.take();
}

graph::Graph batched(int64_t batch, int64_t m, int64_t k, int64_t n) {
  GraphBuilder b;
  const NodeId x = b.input(DType::f32, {batch, m, k}, "x"), w = b.input(DType::f32, {batch, k, n}, "w");
  const NodeId scaled = b.map2(ScalarOp::mul, x, 0.5);
  b.output(b.contract(scaled, {3, 0, 1}, w, {3, 1, 2}, {3, 0, 2}));
  return b.take();
}

struct Conv {
  int64_t batch, channels, filters, groups;
  Shape size, kernel, stride, pad, dilation;
};

graph::Graph convolution(const Conv& c) {
  GraphBuilder b;
  const int n = static_cast<int>(c.size.size());
  Shape image{c.batch, c.channels}, taps{c.filters, c.channels / c.groups}, border{0, 0};
  image.insert(image.end(), c.size.begin(), c.size.end());
  taps.insert(taps.end(), c.kernel.begin(), c.kernel.end());
  border.insert(border.end(), c.pad.begin(), c.pad.end());
  const NodeId x = b.input(DType::f32, image, "x"), w = b.param("w", ParamKind::parameter, DType::f32, taps);
  graph::WindowAttr window{{}, c.kernel, c.stride, c.dilation};
  for (int i = 0; i < n; ++i) window.axes.push_back(2 + i);
  const NodeId windowed = b.window(b.pad(x, border, border, 0), window);
  Shape seen = b.shape(windowed), parts = taps, result{c.batch, c.filters};
  seen.insert(seen.begin() + 1, c.groups), seen[2] = c.channels / c.groups;
  parts.insert(parts.begin(), c.groups), parts[1] = c.filters / c.groups;
  std::vector<int> x_labels{0, 1, 2}, w_labels{1, 3, 2}, out{0, 1, 3};
  for (int i = 0; i < n; ++i) x_labels.push_back(10 + i), out.push_back(10 + i), result.push_back(seen[3 + i]);
  for (int i = 0; i < n; ++i) x_labels.push_back(20 + i), w_labels.push_back(20 + i);
  NodeId y = b.contract(b.reshape(windowed, seen), x_labels, b.reshape(w, parts), w_labels, out);
  y = b.reshape(y, result);
  Shape along(result.size(), 1);
  along[1] = c.filters;
  y = b.map2(ScalarOp::add, y, b.reshape(b.param("bias", ParamKind::parameter, DType::f32, {c.filters}), along));
  b.output(b.map2(ScalarOp::max, y, 0.0));
  return b.take();
}

/// A 1x1 convolution with strides, as the importer writes it: a slice with steps.
graph::Graph strided_pointwise(int64_t channels, int64_t filters, int64_t size, int64_t stride) {
  GraphBuilder b;
  NodeId x = b.input(DType::f32, {2, channels, size, size}, "x");
  for (int axis : {2, 3}) x = b.slice(x, axis, 0, size, stride);
  const NodeId w = b.param("w", ParamKind::parameter, DType::f32, {filters, channels});
  b.output(b.contract(x, {0, 2, 10, 11}, w, {3, 2}, {0, 3, 10, 11}));
  return b.take();
}

struct Transposed {
  int64_t channels, filters, groups;
  Shape size;
  int64_t kernel, stride, pad, dilation, extra;
};

/// A transposed convolution as the importer writes it: a convolution over an image with zeros between its pixels.
graph::Graph transposed_convolution(const Transposed& c) {
  GraphBuilder b;
  const int n = static_cast<int>(c.size.size());
  Shape image{2, c.channels}, taps{c.filters, c.channels / c.groups};
  image.insert(image.end(), c.size.begin(), c.size.end());
  taps.insert(taps.end(), static_cast<size_t>(n), c.kernel);
  NodeId x = b.input(DType::f32, image, "x"), w = b.param("w", ParamKind::parameter, DType::f32, taps);
  std::vector<int> axes;
  for (int i = 0; i < n; ++i) axes.push_back(2 + i);
  const auto each = [&](int64_t value) { return std::vector<int64_t>(static_cast<size_t>(n), value); };
  if (c.stride > 1) x = b.dilate(x, {axes, each(c.stride)});
  const int64_t before = c.dilation * (c.kernel - 1) - c.pad, after = before + c.extra;
  std::vector<int64_t> lo{0, 0}, hi{0, 0};
  lo.insert(lo.end(), static_cast<size_t>(n), std::max<int64_t>(before, 0));
  hi.insert(hi.end(), static_cast<size_t>(n), std::max<int64_t>(after, 0));
  x = b.pad(x, lo, hi, 0);
  for (int axis : axes)
    x = b.slice(x, axis, std::max<int64_t>(-before, 0),
                b.shape(x)[static_cast<size_t>(axis)] + std::min<int64_t>(after, 0));
  x = b.window(x, {axes, each(c.kernel), each(1), each(c.dilation)});
  Shape seen = b.shape(x), parts = taps, result{2, c.filters};
  seen.insert(seen.begin() + 1, c.groups), seen[2] = c.channels / c.groups;
  parts.insert(parts.begin(), c.groups), parts[1] = c.filters / c.groups;
  std::vector<int> x_labels{0, 1, 2}, w_labels{1, 3, 2}, out{0, 1, 3};
  for (int i = 0; i < n; ++i)
    x_labels.push_back(10 + i), out.push_back(10 + i), result.push_back(seen[static_cast<size_t>(3 + i)]);
  for (int i = 0; i < n; ++i) x_labels.push_back(20 + i), w_labels.push_back(20 + i);
  const NodeId flipped = b.reshape(b.flip(w, axes), parts);
  b.output(b.reshape(b.contract(b.reshape(x, seen), x_labels, flipped, w_labels, out), result));
  return b.take();
}

/// The best predicted schedule of that orientation, made and checked.
void check_orientation(const graph::Graph& g, bool swapped) {
  using namespace kernel::schedule;
  const Facts facts = machine_facts();
  const Partition parts = partition(g, facts);
  Choice choice = default_choice(g, parts, facts);
  bool met = false;
  for (size_t piece = 0; piece < parts.pieces.size() && !met; ++piece) {
    if (!family_of("gemm").covers(g, parts.pieces[piece])) continue;
    for (const Schedule& s : family_of("gemm").space(g, parts.pieces[piece], facts)) {
      if (met || (s.get("swapped", 0) != 0) != swapped) continue;
      choice[piece] = s, met = true;
    }
  }
  REQUIRE(met);
  const auto candidate = assemble(g, parts, choice, facts);
  REQUIRE(candidate.ok());
  check_candidate(g, *candidate, random_case(g));
}

TEST_CASE("products of odd sizes agree with the interpreter") {
  check_points(linear(37, 65, 41), machine_facts(), 3);
  check_points(linear(1, 100, 70), machine_facts(), 2);
  check_points(linear(50, 33, 1), machine_facts(), 2);
  check_points(linear(5, 1, 17), machine_facts(), 2);
  check_points(linear(37, 65, 41), narrow_facts(), 2);
}

TEST_CASE("operands that are no parameters are packed in the task or before it") {
  check_points(linear(40, 64, 100, DType::f32, false), machine_facts(), 4);
  check_points(batched(3, 20, 17, 50), machine_facts(), 4);
}

TEST_CASE("several passes over k add up") { check_points(linear(20, 9000, 30), machine_facts(), 2); }

TEST_CASE("products in float64 and bfloat16") {
  check_points(linear(19, 40, 33, DType::f64), machine_facts(), 2);
  check_points(linear(19, 40, 33, DType::bf16), machine_facts(), 2);
}

TEST_CASE("convolutions agree with the interpreter") {
  const Facts facts = machine_facts();
  check_points(convolution({2, 3, 5, 1, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}), facts, 2);
  check_points(convolution({1, 4, 6, 2, {37, 67}, {3, 3}, {2, 2}, {1, 1}, {1, 1}}), facts, 2);
  check_points(convolution({1, 4, 6, 1, {13, 40}, {3, 5}, {1, 3}, {2, 2}, {2, 2}}), facts, 2);
  check_points(convolution({2, 3, 4, 1, {50}, {7}, {2}, {3}, {1}}), facts, 2);
  check_points(convolution({1, 2, 3, 1, {5, 6, 20}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}}), facts, 2);
  check_points(convolution({1, 3, 5, 1, {9, 18}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}), narrow_facts(), 2);
}

TEST_CASE("windows may be rows or columns") {
  for (bool swapped : {false, true}) {
    check_orientation(convolution({1, 8, 64, 1, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}), swapped);
    check_orientation(convolution({2, 5, 40, 1, {7, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}}), swapped);
  }
}

TEST_CASE("transposed convolutions agree with the interpreter") {
  const Facts facts = machine_facts();
  check_points(transposed_convolution({6, 8, 1, {7, 9}, 4, 2, 1, 1, 0}), facts, 2);
  check_points(transposed_convolution({4, 6, 2, {5, 20}, 3, 3, 0, 1, 2}), facts, 2);
  check_points(transposed_convolution({3, 5, 1, {30}, 3, 2, 2, 2, 1}), facts, 2);
  check_points(transposed_convolution({3, 4, 1, {11, 9}, 2, 1, 2, 1, 0}), facts, 2);  // crops instead of padding
}

TEST_CASE("strided pointwise convolutions gather from a copy of what they read") {
  check_points(strided_pointwise(20, 24, 15, 2), machine_facts(), 3);
  check_points(strided_pointwise(5, 6, 40, 3), machine_facts(), 2);
}

}  // namespace
}  // namespace kw::test
