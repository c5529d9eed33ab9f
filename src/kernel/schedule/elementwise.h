#pragma once
#include "kernel/schedule/access.h"
#include "kernel/schedule/family.h"

namespace kw::kernel::schedule {

/// Sizes of an elementwise kernel's tasks.
struct ElementwiseOptions {
  int64_t chunk = 0;  // elements a task; 0: by the size of the work and the number of threads
  bool vector = true;
};

/// A kernel that computes `output` (any shape) element by element from what `piece` says is stored, and its Launch.
/// The output's index space is cut into boxes inside which every padding border and cat seam is decided; each box runs
/// along its longest contiguous inner extent in vectors.
struct ElementwiseKernel {
  tile::Function function;
  Launch launch;
  bool vectorised = false;
};
ElementwiseKernel lower_elementwise(const graph::Graph& graph, const Piece& piece, graph::NodeId output,
                                    const Facts& facts, const std::string& name, const ElementwiseOptions& options);

/// Flops of one output element, views and Maps inlined down to the piece's inputs.
double inlined_cost(const graph::Graph& graph, const Piece& piece);

}  // namespace kw::kernel::schedule
