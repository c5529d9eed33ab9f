#pragma once
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

}  // namespace kw::graph
