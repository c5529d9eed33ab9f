#pragma once
#include <string>
#include <vector>

#include "kernel/schedule/access.h"
#include "kernel/schedule/family.h"

/// Plain loop nests for the nodes that have loops of their own: the floor under every other family.
namespace kw::kernel::schedule {

/// Kernels that compute one anchor from what `piece` says is stored into buffer_name(anchor).
struct AnchorKernels {
  std::vector<tile::Function> functions;
  std::vector<Launch> launches;
  std::vector<Buffer> scratch;
  std::string text;
};
/// fails: never for Reduce, Contract, Scan, Scatter, Sort; other nodes are a bug.
AnchorKernels lower_anchor(const graph::Graph& graph, const Piece& piece, graph::NodeId anchor, const Facts& facts,
                           const std::string& name);
/// Multiply-adds (or the like) per call.
double anchor_work(const graph::Graph& graph, graph::NodeId anchor);

}  // namespace kw::kernel::schedule
