#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kernel/schedule/window_problem.h"

namespace kw::kernel::schedule {

/// One axis of the staged copy: cell c of phase f holds the source's element (first + c) * stride + f * grain - lo.
struct StagedAxis {
  int64_t out = 1;     // output places of a task
  int64_t cells = 1;   // of a phase: out and what the last tap reaches beyond
  int64_t phases = 1;  // of the stride, as far as taps meet them
  int64_t grain = 1;   // phases are this far apart
  int64_t step = 1;    // elements from a cell to the next
  int64_t phase_step = 1;
};

/// Layout of a task's staged copy: [last axis' phases].. [first axis' phases] [first axis' cells].. [last axis' cells],
/// so that every tap is a constant offset.
struct WindowShape {
  std::vector<StagedAxis> axes;
  int64_t band = 1, bands = 1;  // the first axis is cut into bands of output places
  int64_t volume = 1;           // cells of one combination of phases
  int64_t elements = 1;         // of all
  int lanes = 1;
  /// Set where the last axis is staged element by element (one phase) and split when the other axes are done: its
  /// real cells and phases.
  std::optional<StagedAxis> late;
  int64_t row() const { return late ? late->out : axes.back().out; }
  int64_t places() const;  // output places of a task
  /// Elements that vectors may touch beyond the last one in use.
  int64_t slack() const { return 8 * lanes; }
  int64_t tap_offset(const WindowProblem& problem, size_t axis, int64_t tap) const;
};

WindowShape window_shape(const WindowProblem& problem, int64_t band, int lanes);
/// The band that keeps the staged copy in cache without many rows staged twice, and all threads at work.
int64_t default_band(const WindowProblem& problem, const Facts& facts);

/// C++ text of `void name(T* staged, const T* weights, T* out)`: combines the taps of all places of a task; out is
/// dense and has room for `slack` more elements.
std::string window_filter_text(const std::string& name, const WindowProblem& problem, const WindowShape& shape,
                               DType dtype);

}  // namespace kw::kernel::schedule
