#pragma once
#include <string>

#include "kernel/schedule/direct_shape.h"

namespace kw::kernel::schedule {

/// Builds the kernel of one direct convolution or pool: register tiles over places and filters that read the image
/// where it lies, and the epilogue on each finished tile.
class DirectLowering {
 public:
  DirectLowering(const Task& task, const DirectProblem& problem, const DirectShape& shape);
  Lowered lower();

 private:
  using Expr = tile::Expr;
  using Block = tile::Block;
  void add_pack();
  Block pack_body(ValueReader& reader) const;
  Block task_body();
  Block group_turn();
  Block lines(const Expr& b0, const Expr& blocks);
  Block tile_turn(const Expr& b0, const Expr& blocks);
  Block claim();
  Block call(const Expr& stored, const Expr& b0, const Expr& blocks) const;
  Block epilogue(const Expr& stored);
  Block element(ValueReader& reader, const Expr& at, const DirectPlace& place, int lanes) const;
  bool vector_epilogue() const;
  int64_t weight_block() const;  // elements of a group's weights for one block of summed channels

  const Task& task_;
  const DirectProblem& problem_;
  const DirectShape& shape_;
  ValueReader reader_;
  Lowered out_;
  const std::string tiles_, weights_;
  Expr outer_, group_, line_, tile_, x0_;
};

}  // namespace kw::kernel::schedule
