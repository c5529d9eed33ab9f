#pragma once
#include <memory>
#include <string>

#include "kernel/schedule/gemm_pack.h"
#include "kernel/schedule/gemm_shape.h"
#include "kernel/schedule/window_side.h"

/// Builds the kernels of one matrix product.
namespace kw::kernel::schedule {

class GemmLowering {
 public:
  GemmLowering(const Task& task, const GemmProblem& problem, const GemmShape& shape);
  Lowered lower();

 private:
  using Expr = tile::Expr;
  using Block = tile::Block;
  struct Side {
    const GemmSide* what = nullptr;
    const LabelGroup* own = nullptr;
    std::unique_ptr<Packer> packer;
    std::unique_ptr<WindowSide> windows;  // panels are gathered from a copy of an image, the buffer `image`
    std::string image, gather;
    PackAt at = PackAt::task;
    int width = 1;
    int64_t panels = 1;
    std::string array;  // of panels: a buffer or a local array
    int64_t buffered_outer = 1;
  };
  Side side(bool rows);
  void add_pack_launch(Side& side);
  void add_image_copy(const Side& side);
  tile::Function main_function();
  Block task_body();
  Block pass(const Expr& k0, const Expr& kc);
  Block tile_turn(const Expr& k0, const Expr& kc);
  Block pack_in_task(const Side& side, const Expr& panel, const Expr& slot, const Expr& k0, const Expr& kc);
  Expr panel_offset(const Side& side, const Expr& panel, const Expr& slot, const Expr& k0) const;
  Block epilogue(const Expr& tile);
  Block epilogue_line(const Expr& tile, const Expr& i, const std::string& column, int lanes);
  bool vector_epilogue() const;
  Block element(ValueReader& reader, const Expr& place, const Expr& row, const Expr& column, int lanes) const;
  LabelValues labels(const Expr& row, const Expr& column) const;

  const Task& task_;
  const GemmProblem& problem_;
  GemmShape shape_;
  ValueReader reader_;
  Side rows_, columns_;
  Lowered out_;
  std::string tiles_;
  Expr outer_, row_begin_, row_end_, column_begin_, column_end_, row_panel_, column_panel_, row_slot_, column_slot_;
};

}  // namespace kw::kernel::schedule
