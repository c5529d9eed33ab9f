#pragma once
#include <cstddef>
#include <cstdint>

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
/// About the most memory that interpret() holds at once for this graph.
size_t peak_bytes(const Graph& graph, bool bounds);

}  // namespace kw::graph
