#pragma once
#include <cstdint>
#include <optional>

#include "graph/graph.h"

namespace kw::graph {

struct Blocked {
  Graph graph;
  int anchors = 0;            // convolutions and pools that work on blocks
  bool needs_finite = false;  // channels were filled up with zeros: an infinite input would meet a weight of zero
};

/// The same values with images [N, C, H, W] as [N, C/block, H, W, block] from convolution to convolution: explicit
/// reshapes and permutes at the borders, none in between. Convolutions (one group, or one filter for each channel),
/// pools, Maps and means over whole images are carried over; what is not, reads and writes plain images. Nothing when
/// no convolution gains by it. Exact where no channel is filled up.
std::optional<Blocked> with_blocked_images(const Graph& graph, int64_t block, bool needs_finite);

}  // namespace kw::graph
