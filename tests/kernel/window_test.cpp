#include <string>
#include <vector>

#include "run_plan.h"

/// Pooling and depthwise convolution of awkward sizes, through every schedule, against the interpreter.
namespace kw::test {
namespace {

using graph::GraphBuilder;
using graph::NodeId;
using graph::ParamKind;
using graph::ReduceOp;
using graph::ScalarOp;
using graph::WindowAttr;
using kernel::Facts;

struct Axis {
  int64_t size, taps, stride = 1, dilation = 1, lo = 0, hi = 0;
};

NodeId windows(GraphBuilder& b, NodeId x, const std::vector<Axis>& axes, double fill) {
  const size_t lead = b.shape(x).size() - axes.size();
  std::vector<int64_t> lo(lead, 0), hi(lead, 0);
  WindowAttr window;
  for (size_t i = 0; i < axes.size(); ++i) {
    lo.push_back(axes[i].lo), hi.push_back(axes[i].hi);
    window.axes.push_back(static_cast<int>(lead + i));
    window.size.push_back(axes[i].taps);
    window.stride.push_back(axes[i].stride);
    window.dilation.push_back(axes[i].dilation);
  }
  return b.window(b.pad(x, lo, hi, fill), window);
}

Shape with_sizes(Shape lead, const std::vector<Axis>& axes) {
  for (const Axis& axis : axes) lead.push_back(axis.size);
  return lead;
}

graph::Graph pool(ReduceOp op, const Shape& lead, const std::vector<Axis>& axes, DType dtype = DType::f32) {
  GraphBuilder b;
  const NodeId x = b.input(dtype, with_sizes(lead, axes), "x");
  const double fill = op == ReduceOp::sum ? 0 : op == ReduceOp::max ? -INFINITY : INFINITY;
  std::vector<int> taps;
  for (size_t i = 0; i < axes.size(); ++i) taps.push_back(static_cast<int>(lead.size() + axes.size() + i));
  const NodeId y = b.reduce(op, windows(b, x, axes, fill), taps);
  b.output(op == ReduceOp::sum ? b.map2(ScalarOp::mul, y, 0.25) : y);
  return b.take();
}

/// x [N, C, I...] with `multiplier` filters a channel, as the importer writes it, then bias, relu and a residual.
graph::Graph depthwise(int64_t batch, int64_t channels, int64_t multiplier, const std::vector<Axis>& axes,
                       DType dtype = DType::f32) {
  GraphBuilder b;
  const int n = static_cast<int>(axes.size());
  const NodeId w = windows(b, b.input(dtype, with_sizes({batch, channels}, axes), "x"), axes, 0);
  Shape taken{batch, channels, 1}, kernel{channels, multiplier, 1}, result{batch, channels * multiplier};
  taken.insert(taken.end(), b.shape(w).begin() + 2, b.shape(w).end());
  result.insert(result.end(), b.shape(w).begin() + 2, b.shape(w).begin() + 2 + n);
  std::vector<int> x_labels{0, 1, 2}, w_labels{1, 3, 2}, out{0, 1, 3};
  for (int i = 0; i < n; ++i) x_labels.push_back(4 + i), out.push_back(4 + i);
  for (int i = 0; i < n; ++i) x_labels.push_back(8 + i), w_labels.push_back(8 + i);
  for (const Axis& axis : axes) kernel.push_back(axis.taps);
  const NodeId weight = b.param("w", ParamKind::parameter, dtype, kernel);
  NodeId y = b.reshape(b.contract(b.reshape(w, taken), x_labels, weight, w_labels, out), result);
  Shape along(result.size(), 1);
  along[1] = channels * multiplier;
  y = b.map2(ScalarOp::add, y, b.param("bias", ParamKind::parameter, dtype, along));
  y = b.map2(ScalarOp::max, y, 0.0);
  b.output(b.map2(ScalarOp::add, y, b.input(dtype, result, "residual")));
  return b.take();
}

/// Every schedule that the family offers for the windowed piece.
void check_window(const graph::Graph& g, const Facts& facts = machine_facts()) {
  using namespace kernel::schedule;
  const Partition parts = partition(g, facts);
  const Case inputs = random_case(g);
  bool met = false;
  for (size_t piece = 0; piece < parts.pieces.size(); ++piece) {
    if (!family_of("window").covers(g, parts.pieces[piece])) continue;
    for (const Schedule& schedule : family_of("window").space(g, parts.pieces[piece], facts)) {
      met = true;
      Choice choice = default_choice(g, parts, facts);
      CHECK(choice[piece].family == "window");
      choice[piece] = schedule;
      CAPTURE(schedule.text());
      const auto candidate = assemble(g, parts, choice, facts);
      REQUIRE(candidate.ok());
      check_candidate(g, *candidate, inputs);
    }
  }
  CHECK(met);
}

TEST_CASE("window: pools of two axes, padded, strided, dilated") {
  check_window(pool(ReduceOp::max, {2, 3}, {{28, 3, 2, 1, 1, 1}, {29, 3, 2, 1, 1, 1}}));
  check_window(pool(ReduceOp::max, {2, 3}, {{13, 3, 1, 2, 2, 2}, {7, 3, 1, 2, 2, 2}}));
  check_window(pool(ReduceOp::min, {5}, {{35, 2, 3, 2, 0, 1}, {67, 4, 3, 2, 1, 2}}));
  check_window(pool(ReduceOp::sum, {1, 3}, {{64, 2, 2}, {64, 2, 2}}));
  check_window(pool(ReduceOp::sum, {1, 3}, {{31, 11, 11}, {90, 11, 11}}));
  check_window(pool(ReduceOp::sum, {2, 2}, {{20, 1, 2}, {33, 1, 3}}));
  check_window(pool(ReduceOp::sum, {1, 2}, {{20, 2, 5, 3}, {50, 2, 5, 3}}));
}

TEST_CASE("window: ceil mode reaches past the padding") {
  check_window(pool(ReduceOp::max, {2, 2}, {{10, 3, 2, 1, 0, 1}, {33, 2, 2, 1, 0, 1}}));
}

TEST_CASE("window: pools of one and of three axes") {
  check_window(pool(ReduceOp::max, {2, 3}, {{1000, 4, 2, 3, 2, 2}}));
  check_window(pool(ReduceOp::sum, {1, 2}, {{40001, 8, 1, 1, 4, 4}}));
  check_window(pool(ReduceOp::sum, {3, 2}, {{5, 5}}));
  check_window(pool(ReduceOp::max, {1, 2}, {{9, 3, 2, 1, 1, 1}, {10, 2, 1, 3, 1, 1}, {21, 3, 3, 1, 1, 1}}));
  check_window(pool(ReduceOp::sum, {2}, {{12, 3, 1, 1, 1, 1}, {17, 3, 1, 1, 1, 1}, {40, 3, 1, 1, 1, 1}}));
}

TEST_CASE("window: other types and a narrow machine") {
  check_window(pool(ReduceOp::max, {2, 3}, {{14, 3, 2, 1, 1, 1}, {29, 3, 2, 1, 1, 1}}, DType::f64));
  check_window(pool(ReduceOp::max, {2, 3}, {{14, 3, 1, 1, 1, 1}, {29, 3, 1, 1, 1, 1}}, DType::f16));
  Facts narrow = machine_facts();
  narrow.isa = "avx2", narrow.vector_bytes = 32, narrow.vector_registers = 16, narrow.threads = 8;
  check_window(pool(ReduceOp::max, {1, 2}, {{28, 3, 2, 1, 1, 1}, {29, 3, 2, 1, 1, 1}}), narrow);
  check_window(depthwise(1, 3, 1, {{28, 3, 1, 1, 1, 1}, {29, 3, 1, 1, 1, 1}}), narrow);
}

TEST_CASE("window: depthwise convolution with multiplier, bias, activation and residual") {
  check_window(depthwise(2, 5, 1, {{56, 3, 1, 1, 1, 1}, {56, 3, 1, 1, 1, 1}}));
  check_window(depthwise(1, 4, 2, {{14, 5, 1, 1, 2, 2}, {14, 5, 1, 1, 2, 2}}));
  check_window(depthwise(2, 3, 3, {{7, 3, 1, 1, 1, 1}, {7, 3, 1, 1, 1, 1}}));
  check_window(depthwise(1, 3, 1, {{57, 3, 2, 1, 1, 1}, {113, 3, 2, 1, 1, 1}}));
  check_window(depthwise(1, 3, 1, {{40, 3, 1, 2, 0, 0}, {40, 1}}));
  check_window(depthwise(2, 3, 2, {{777, 7, 2, 2, 3, 4}}));
  check_window(depthwise(1, 2, 1, {{6, 3, 1, 1, 1, 1}, {9, 3, 2, 1, 1, 1}, {20, 3, 1, 1, 1, 1}}));
  check_window(depthwise(1, 4, 1, {{14, 3, 1, 1, 1, 1}, {14, 3, 1, 1, 1, 1}}, DType::f64));
}

TEST_CASE("window: NaN comes through a maximum, values before the window are computed on the way") {
  GraphBuilder b;
  const NodeId x = b.input(DType::f32, {2, 30, 33}, "x");
  const NodeId y = b.map2(ScalarOp::max, x, 0.5);
  b.output(b.reduce(ReduceOp::max, windows(b, y, {{30, 3, 2, 1, 1, 1}, {33, 3, 2, 1, 1, 1}}, -INFINITY), {3, 4}));
  const graph::Graph g = b.take();
  check_window(g);
  Case special = random_case(g);
  store_element(special.inputs[0], 77, NAN);
  store_element(special.inputs[0], 990, INFINITY);
  check_graph(g, special);
}

}  // namespace
}  // namespace kw::test
