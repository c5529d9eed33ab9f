#pragma once
#include <vector>

#include "graph/graph.h"
#include "kernel/facts.h"
#include "kernel/schedule/usage.h"

/// How an anchor takes the nodes round it into its piece.
namespace kw::kernel::schedule {

/// Nodes after a Contract that can be computed while its tile is in registers: Maps, casts and one-to-one views up to
/// the last point at which a single value leaves. Topological; without the anchor. `taken`: already in another piece.
std::vector<graph::NodeId> grow_epilogue(const graph::Graph& graph, const Usage& usage, graph::NodeId anchor,
                                         const std::vector<char>& taken);

/// Nodes that share the row domain of a Reduce (its input's shape, its axes): further Reduces over the same axes, Maps
/// of full rows and Maps of one value a row. Topological, with the anchor.
std::vector<graph::NodeId> grow_row(const graph::Graph& graph, const Usage& usage, graph::NodeId anchor,
                                    const std::vector<char>& taken, const Facts& facts);

}  // namespace kw::kernel::schedule
