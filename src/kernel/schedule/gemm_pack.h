#pragma once
#include <string>

#include "kernel/schedule/gemm_problem.h"

/// Packers: statements that copy part of an operand (any fused expression or view) into panels [panel][k][width].
namespace kw::kernel::schedule {

/// One panel, or the part of it with k in [k0, k0 + kc).
struct PanelTarget {
  std::string array;       // written at base + (k - k0) * width + i
  tile::Expr base;
  int width = 8;
};

/// How a panel is filled, by where the operand is contiguous.
enum class PackWay : uint8_t { along, across, scalar };

class Packer {
 public:
  /// `rows`: the rows' side, else the columns'. `prefix` makes the names of one packer unique in its function.
  /// `transpose`: name of the helper function (transpose_text) for this width.
  Packer(const graph::Graph& graph, const Piece& piece, const GemmProblem& problem, bool rows, int width, int lanes,
         std::string prefix, std::string transpose);
  PackWay way() const { return way_; }
  /// Fills one panel: elements x0.. of the side's own index (rows beyond its end become zeros), k0.. of k.
  tile::Block fill(ValueReader& reader, const tile::Expr& outer, const tile::Expr& x0, const tile::Expr& k0,
                   const tile::Expr& kc, const PanelTarget& to) const;

 private:
  using Expr = tile::Expr;
  PackWay choose_way() const;
  bool vector_reads(const std::string& lane_var, const Coords& at) const;
  Coords coords(const Expr& outer, const Expr& x, const Expr& k) const;
  tile::Block along(ValueReader& reader, const Expr& outer, const Expr& x0, const Expr& k0, const Expr& kc,
                    const PanelTarget& to) const;
  tile::Block across(ValueReader& reader, const Expr& outer, const Expr& x0, const Expr& k0, const Expr& kc,
                     const PanelTarget& to) const;
  tile::Block scalars(ValueReader& reader, const Expr& outer, const Expr& x0, const Expr& k0, const Expr& from,
                      const Expr& kc, const PanelTarget& to, const std::string& tag) const;

  const graph::Graph& graph_;
  const Piece& piece_;
  const GemmProblem& problem_;
  const GemmSide& side_;
  const LabelGroup& own_;
  int width_, lanes_;
  std::string prefix_, transpose_;
  PackWay way_ = PackWay::scalar;
};

}  // namespace kw::kernel::schedule
