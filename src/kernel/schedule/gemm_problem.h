#pragma once
#include <map>
#include <optional>
#include <vector>

#include "graph/graph.h"
#include "kernel/schedule/access.h"
#include "kernel/schedule/family.h"

/// A Contract seen as a batch of matrix products: out[o, m, n] = sum over k of rows[o, k, m] * columns[o, k, n].
namespace kw::kernel::schedule {

/// An ordered set of Contract labels that is walked as one flat index.
struct LabelGroup {
  std::vector<int> labels;
  Shape shape;
  int64_t size() const;
};

/// One operand: its axes' labels and the part of the output index that it supplies.
struct GemmSide {
  graph::NodeId operand = -1;
  std::vector<int> labels;
  bool per_outer = false;  // its values change with the outer index
  bool prepared = false;   // depends on parameters only: packed once
};

using LabelValues = std::map<int, tile::Expr>;

struct GemmProblem {
  graph::NodeId contract = -1;
  DType dtype = DType::f32;  // compute type, f32 or f64
  GemmSide rows, columns;    // rows: broadcast from memory; columns: along vectors
  LabelGroup outer, m, n, k;
  double flops() const;
};

/// The product that `piece` holds. The vector axis is the output's last one, or the other operand's when `swapped`.
/// Nullopt when the piece is no such product: no Contract, other dtypes, an output that is not element for element
/// the Contract's value.
std::optional<GemmProblem> gemm_problem(const graph::Graph& graph, const Piece& piece, bool swapped);

void bind_labels(const LabelGroup& group, const tile::Expr& flat, LabelValues& values);
Coords operand_coords(const GemmSide& side, const LabelValues& values);
Coords contract_coords(const graph::Graph& graph, const GemmProblem& problem, const LabelValues& values);

/// Where the Contract's element `at` lands in each piece member that it reaches through Maps, casts and one-to-one
/// views; empty when some member uses it otherwise.
std::map<graph::NodeId, Coords> epilogue_coords(const graph::Graph& graph, const Piece& piece, graph::NodeId contract,
                                                const Coords& at);

/// Step of the buffer position that feeds `id` at `at` as `name` grows by one: the largest buffer's where it has
/// several. Unknown where padding or gathers decide.
tile::Stride value_stride(const graph::Graph& graph, const Piece& piece, graph::NodeId id, const Coords& at,
                          const std::string& name);

}  // namespace kw::kernel::schedule
