#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kernel/schedule/access.h"
#include "kernel/schedule/family.h"

namespace kw::kernel::schedule {

/// A row piece seen over one domain: the shape that its Reduces consume. A full node has one value a domain element,
/// a reduced node one a row (the axes that are not reduced).
struct RowDomain {
  Shape shape;                   // of the domain
  std::vector<int> axes;         // reduced
  Shape row_shape, inner_shape;  // the axes kept, the axes reduced
  int64_t rows = 1, columns = 1;
  /// Coordinates of a node as expressions of the domain's coordinates d0, d1, ...
  std::map<graph::NodeId, Coords> full, reduced;
  std::vector<graph::NodeId> reduces;  // topological
  /// The pass over the row in which a node can first be evaluated: after all Reduces below it.
  std::map<graph::NodeId, int> stage;
  int passes = 1;

  /// A node's coordinates at a row and a column, both linear.
  Coords at(const Coords& symbolic, const tile::Expr& row, const tile::Expr& column) const;
  bool is_full_output(graph::NodeId id) const { return full.contains(id); }
};

/// Nullopt when some output of the piece has no place in the domain.
std::optional<RowDomain> row_domain(const graph::Graph& graph, const Piece& piece);

/// Full nodes worth keeping in a buffer of the row between passes because computing them again costs more, each with
/// its first pass.
std::map<graph::NodeId, int> nodes_to_keep(const graph::Graph& graph, const Piece& piece, const RowDomain& domain);

}  // namespace kw::kernel::schedule
