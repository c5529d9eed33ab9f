#pragma once
#include <cstdint>
#include <vector>

#include "kernel/schedule/access.h"

namespace kw::kernel::schedule {

/// Half-open ranges, one an axis.
struct Box {
  std::vector<int64_t> lo, hi;
  int64_t extent(size_t axis) const { return hi[axis] - lo[axis]; }
  int64_t count() const;
};

/// Cuts `shape` so that the predicates met when reading `output` are decided in every box, as far as they compare one
/// coordinate with a constant; a single box when that would take more than 64.
std::vector<Box> decided_boxes(const graph::Graph& graph, const Piece& piece, graph::NodeId output);

}  // namespace kw::kernel::schedule
