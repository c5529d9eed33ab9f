#pragma once
#include <string>

#include "kernel/schedule/gemm_problem.h"

/// Packers: statements that copy part of an operand (any fused expression or view) into panels [panel][k][width].
namespace kw::kernel::schedule {

/// What one fill copies: the panel that begins at x0 of the side's own index, k in [k0, k0 + kc), and where it goes.
struct PanelFill {
  tile::Expr outer, x0, k0, kc;
  int64_t kc_limit = 1;  // kc never exceeds it
  std::string array;     // written at base + (k - k0) * width + (x - x0)
  tile::Expr base;
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
  /// Statements of one fill; elements beyond the operand's end become zeros.
  tile::Block fill(ValueReader& reader, const PanelFill& what) const;

 private:
  using Expr = tile::Expr;
  PackWay choose_way() const;
  bool vector_reads(const std::string& lane_var, const Coords& at) const;
  Coords coords(const Expr& outer, const Expr& x, const Expr& k) const;
  /// Lets of the element's own coordinates, the value at them, and its Store to `array[index]`.
  tile::Block copy(ValueReader& reader, const PanelFill& what, const std::string& tag, const Expr& i, const Expr& k,
                   const std::string& array, const Expr& index, int lanes) const;
  tile::Block along(ValueReader& reader, const PanelFill& what) const;
  tile::Block across(ValueReader& reader, const PanelFill& what) const;
  tile::Block scalars(ValueReader& reader, const PanelFill& what, const Expr& from, const std::string& tag) const;

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
