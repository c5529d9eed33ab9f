#pragma once
#include <optional>
#include <vector>

#include "graph/graph.h"
#include "kernel/schedule/access.h"
#include "kernel/schedule/family.h"

/// Pooling and depthwise convolution: every output place combines the taps of one window of one plane.
namespace kw::kernel::schedule {

/// One window axis: out[o] combines source[o * stride + t * dilation - lo] over taps t, `fill` outside the source.
struct WindowAxis {
  int64_t out = 1, taps = 1, stride = 1, dilation = 1, lo = 0, extent = 1;
  int64_t tap_label = -1;  // of a Contract; -1 where the axis has one tap
};

struct WindowProblem {
  graph::NodeId anchor = -1;
  graph::NodeId operand = -1;  // of the anchor: the windows, through views
  graph::NodeId source = -1;   // the value under the window and its padding
  graph::NodeId weight = -1;   // a Contract's other operand, -1 for a Reduce
  graph::ReduceOp op = graph::ReduceOp::sum;
  double fill = 0;
  Shape lead;  // the anchor's axes before the window axes: one plane each
  std::vector<WindowAxis> axes;
  int64_t planes() const { return element_count(lead); }
  int64_t plane_size() const;  // output places of a plane
  int64_t taps() const;
};

/// The pooling or depthwise convolution that `piece` is, with epilogue; nullopt when it is none: other axes than the
/// last ones, an integer type, an output that is not element for element the anchor's value.
std::optional<WindowProblem> window_problem(const graph::Graph& graph, const Piece& piece);

/// Coordinates in the source of plane `lead`: those of the window axes are `inner`.
Coords window_source_at(const graph::Graph& graph, const WindowProblem& problem, const Coords& lead,
                        const Coords& inner);
/// Coordinates of a Contract's weight for plane `lead` and one tap an axis.
Coords window_weight_at(const graph::Graph& graph, const WindowProblem& problem, const Coords& lead,
                        const std::vector<int64_t>& taps);

}  // namespace kw::kernel::schedule
