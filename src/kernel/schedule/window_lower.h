#pragma once
#include <string>
#include <vector>

#include "kernel/schedule/window_shape.h"

namespace kw::kernel::schedule {

/// Builds the kernel of one pooling or depthwise convolution: a task stages its planes one after the other in a local
/// copy with the padding in place, combines taps there, and runs the epilogue over the dense result.
class WindowLowering {
 public:
  WindowLowering(const Task& task, const WindowProblem& problem, const WindowShape& shape, int64_t planes_each);
  Lowered lower();

 private:
  using Expr = tile::Expr;
  using Block = tile::Block;
  /// A range of cells or elements; constant bounds except along a cut last axis.
  struct Range {
    Expr from, to;
  };
  Block plane_body();
  void clear_slack(Block& body) const;
  void add_weights(Block& body);
  void stage_plane(Block& body);
  Block stage_rows(size_t axis, const Expr& valid);
  void stage_row(Block& body, const Expr& valid);
  Expr row_shift() const;
  Range inside_row() const;
  int64_t line_elements() const;
  Block copy_in(const std::string& array, const Expr& offset);
  Block copy_elements(const std::string& array, const Expr& offset, const std::string& var, const Range& range,
                      int lanes);
  Block copy_narrow(const std::string& array, const Expr& offset, const Range& range);
  bool reads_buffer() const;
  /// Rows are staged as they are.
  bool direct() const { return problem_.axes.back().stride == 1 || shape_.late; }
  Block fill(const std::string& array, const Expr& offset, const std::string& var, const Range& range) const;
  void split_phases(Block& body, const Expr& place) const;
  void add_epilogue(Block& body);
  Block epilogue_loop(const std::string& tag, int lanes, const Expr& count);
  Block element(ValueReader& reader, const Expr& place, const Expr& flat, int lanes) const;
  bool vector_epilogue() const;
  bool vector_source() const;
  Expr first_place() const { return band_ * shape_.band; }

  const Task& task_;
  const WindowProblem& problem_;
  const WindowShape& shape_;
  const int64_t each_;
  const tile::Type element_;
  const int lanes_;
  const std::string staged_, result_, weights_, line_;
  ValueReader reader_;
  Coords lead_;
  Expr band_;
  std::vector<Expr> source_at_;  // of the row being staged
  Expr row_place_;
};

}  // namespace kw::kernel::schedule
