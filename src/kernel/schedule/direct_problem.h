#pragma once
#include <optional>
#include <vector>

#include "graph/graph.h"
#include "kernel/schedule/family.h"
#include "kernel/schedule/gemm_problem.h"

/// Windows over images whose results lie with a block of channels along one vector: convolution, depthwise convolution
/// and pooling, read where they lie.
namespace kw::kernel::schedule {

enum class DirectKind : uint8_t { convolution, depthwise, pool };

/// One image axis: out[o] combines source[o * stride + t * dilation - lo] over taps t; outside is neutral.
struct DirectAxis {
  int label = -1, tap_label = -1;  // -1: no such axis
  int64_t out = 1, taps = 1, stride = 1, dilation = 1, lo = 0, extent = 1;
  int64_t step = 0;  // elements of the buffer from a place to the next
};

struct DirectProblem {
  DirectKind kind = DirectKind::convolution;
  graph::NodeId anchor = -1;
  graph::NodeId source = -1;  // in a buffer
  graph::NodeId weight = -1;  // parameters only; -1 for a pool
  graph::ReduceOp op = graph::ReduceOp::sum;
  LabelGroup outer, filters, sums;   // filters, sums: of a convolution, without the lanes
  LabelGroup weight_outer;           // those of outer that the weights change with
  std::vector<int64_t> outer_steps;  // elements of the buffer, as outer.labels
  int lane_label = -1;
  int64_t lanes = 1;
  DirectAxis y, x;
  int64_t base = 0;                      // position of the first element
  int64_t sum_outer = 1, sum_inner = 1;  // the summed channels, in two loops
  int64_t sum_outer_step = 0, sum_inner_step = 0;
  int64_t row = 1;    // places in a row of the result; x counts several rows where `flat`
  bool flat = false;  // one tap, rows joined: x is the place in the plane, y is empty
  int64_t places() const { return y.out * x.out; }
  int64_t products() const { return sum_outer * sum_inner * y.taps * x.taps; }  // of one result
  double flops() const;
};

/// The problem that `piece` is; nullopt where it is none: another type, a source that is no buffer or has no even
/// steps, padding that is not neutral, weights that depend on inputs, an output that is not element for element the
/// anchor's.
std::optional<DirectProblem> direct_problem(const graph::Graph& graph, const Piece& piece);

/// The anchor's coordinates for an outer index, filter block, row, place in the row and lane.
struct DirectPlace {
  tile::Expr outer, filter, y, x, lane;
};
LabelValues direct_labels(const DirectProblem& problem, const DirectPlace& place);
Coords direct_coords(const graph::Graph& graph, const DirectProblem& problem, const DirectPlace& place);

}  // namespace kw::kernel::schedule
