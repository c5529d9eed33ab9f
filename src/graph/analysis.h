#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace kw::graph {

/// Work that any implementation of this graph must do.
struct Work {
  double flops = 0;       // multiply-add counts two; special functions count one
  double min_bytes = 0;   // inputs + params + outputs read or written once
  double node_bytes = 0;  // every non-view node materialised: what eager moves
};
Work count_work(const Graph& graph);
double node_flops(const Graph& graph, NodeId id);
/// The time that no implementation can beat: the slower of arithmetic and unavoidable traffic.
double roofline_s(const Work& work, double flops_per_s, double bytes_per_s);
/// A user input that is used as indices, as it is or with negative ones counted from the end: what PyTorch accepts.
struct IndexLimit {
  int input = 0;
  int64_t lowest = 0, below = 0;
};
/// One for each such input: the narrowest range where several uses differ. Inputs of which only a part is used are
/// limited as a whole.
std::vector<IndexLimit> index_limits(const Graph& graph);
/// About the most memory that interpret() holds at once for this graph.
size_t peak_bytes(const Graph& graph, bool bounds);

}  // namespace kw::graph
