#pragma once
#include <optional>
#include <string>

#include "kernel/schedule/gemm_problem.h"

/// Columns that are windows of an image (implicit GEMM): the padded image is copied once, its last axis split by the
/// residue of the stride, so that each run of pixels of each tap is contiguous; panels are filled from the copy.
namespace kw::kernel::schedule {

class ConvColumns {
 public:
  /// Nullopt when the columns are no window whose places are exactly the problem's n.
  static std::optional<ConvColumns> find(const graph::Graph& graph, const Piece& piece, const GemmProblem& problem);

  /// Elements of the copy, with room for a vector read past its last run.
  int64_t elements() const { return planes_ * plane_pitch_ + 128; }
  int64_t copy_tasks() const;
  /// Body of the copy kernel, which writes `array`.
  tile::Block copy_body(ValueReader& reader, const std::string& array, int lanes) const;
  /// void NAME(const T* copy, i64 base, T* to, i64 n0, i64 k0, i64 kc): fills one panel; writes up to a vector more.
  std::string gather_text(const std::string& name, int width, int lanes) const;
  /// Where in the copy the planes of an outer index begin.
  tile::Expr base(const tile::Expr& outer) const;

 private:
  using Expr = tile::Expr;
  ConvColumns(const graph::Graph& graph, const GemmProblem& problem) : graph_(graph), problem_(problem) {}
  bool read_geometry();
  int64_t rows() const;  // of one plane
  int64_t row_pitch() const { return stride_.back() * phase_; }
  std::string tap_offset() const;  // C++ of a k's place in the copy, from i0, i1, ...
  tile::Block copy_row(ValueReader& reader, const std::string& array, const Expr& plane, const Expr& row,
                       int lanes) const;

  const graph::Graph& graph_;
  const GemmProblem& problem_;
  graph::NodeId image_ = -1;       // the window's input: [lead..., spatial...]
  Shape lead_, spatial_, places_;  // of the operand's leading axes, of the image, of the output
  std::vector<int> lead_labels_, tap_labels_;
  std::vector<int64_t> stride_, dilation_, pitch_;  // pitch_: of each spatial axis but the last, in elements
  int64_t planes_ = 1, plane_pitch_ = 0, phase_ = 0;
  int64_t pad_lo_ = 0, pad_hi_ = 0;  // of the last axis, when the image is a Pad
};

}  // namespace kw::kernel::schedule
