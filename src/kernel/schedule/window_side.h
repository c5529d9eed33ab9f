#pragma once
#include <optional>
#include <string>

#include "kernel/schedule/gemm_problem.h"

/// A side whose own index walks the places of a window over an image (implicit GEMM), or those of an image that is
/// itself read with steps: the padded image is copied once, its last axis split by the residue of the stride, so that
/// each run of pixels of each tap is contiguous; panels are filled from the copy.
namespace kw::kernel::schedule {

class WindowSide {
 public:
  /// Nullopt when the side (rows, else columns) is no window or image whose places are exactly its own index.
  static std::optional<WindowSide> find(const graph::Graph& graph, const Piece& piece, const GemmProblem& problem,
                                        bool rows);

  /// Elements of the copy, with room for a vector read past its last run.
  int64_t elements() const { return planes_ * plane_pitch_ + 128; }
  int64_t copy_tasks() const;
  /// Elements that follow each other in the copy: of one line of places.
  int64_t run_length() const { return places_.back(); }
  /// Body of the copy kernel, which writes `array`.
  tile::Block copy_body(ValueReader& reader, const std::string& array, int lanes) const;
  /// void NAME(const T* copy, i64 base, T* to, i64 at, i64 n0, i64 k0, i64 kc): fills one
  /// panel from to[at] on; writes up to a vector more.
  std::string gather_text(const std::string& name, int width, int lanes) const;
  /// Where in the copy the planes of an outer index begin.
  tile::Expr base(const tile::Expr& outer) const;

 private:
  using Expr = tile::Expr;
  WindowSide(const graph::Graph& graph, const GemmProblem& problem, bool rows)
      : graph_(graph),
        problem_(problem),
        side_(rows ? problem.rows : problem.columns),
        own_(rows ? problem.m : problem.n) {}
  bool read_geometry();
  bool read_labels(size_t spatial_axes, size_t tap_axes);
  int64_t rows() const;  // of one plane
  int64_t row_pitch() const { return stride_.back() * phase_; }
  std::string tap_offset() const;  // C++ of a k's place in the copy, from i0, i1, ...
  tile::Block copy_row(ValueReader& reader, const std::string& array, const Expr& plane, const Expr& row,
                       int lanes) const;

  const graph::Graph& graph_;
  const GemmProblem& problem_;
  const GemmSide& side_;
  const LabelGroup& own_;
  graph::NodeId image_ = -1;       // the window's input, or the operand itself: [lead..., spatial...]
  Shape lead_, spatial_, places_;  // of the operand's leading axes, of the image, of the output
  std::vector<int> lead_labels_, tap_labels_;
  std::vector<int64_t> stride_, dilation_, pitch_;  // pitch_: of each spatial axis but the last, in elements
  int64_t planes_ = 1, plane_pitch_ = 0, phase_ = 0;
  int64_t pad_lo_ = 0, pad_hi_ = 0;  // of the last axis, when the image is a Pad
};

}  // namespace kw::kernel::schedule
