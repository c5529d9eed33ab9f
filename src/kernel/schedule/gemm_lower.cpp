#include "kernel/schedule/gemm_lower.h"

#include <algorithm>
#include <utility>

#include "kernel/schedule/blocks.h"

namespace kw::kernel::schedule {

using tile::Bind;
using tile::Block;
using tile::Expr;

GemmLowering::GemmLowering(const Task& task, const GemmProblem& problem, const GemmShape& shape)
    : task_(task), problem_(problem), shape_(shape), reader_(task.graph, task.piece) {
  rows_ = side(true);
  columns_ = side(false);
  tiles_ = task.name + "_tiles";
}

GemmLowering::Side GemmLowering::side(bool rows) {
  Side s;
  const std::string name = task_.name + (rows ? "_r" : "_c");
  s.what = rows ? &problem_.rows : &problem_.columns;
  s.own = rows ? &problem_.m : &problem_.n;
  s.at = rows ? shape_.rows : shape_.columns;
  s.width = rows ? shape_.micro.mr : shape_.micro.width();
  s.panels = rows ? shape_.row_panels : shape_.column_panels;
  s.array = name + "panels";
  s.buffered_outer = s.what->per_outer ? problem_.outer.size() : 1;
  s.packer = std::make_unique<Packer>(task_.graph, task_.piece, problem_, rows, s.width, shape_.micro.lanes,
                                      rows ? "r" : "c", name + "turn");
  if (s.packer->way() == PackWay::across)
    out_.text += transpose_text(name + "turn", s.width, shape_.micro.lanes, problem_.dtype);
  if (s.at == PackAt::task && s.packer->way() != PackWay::along)
    if (auto found = WindowSide::find(task_.graph, task_.piece, problem_, rows))
      s.windows = std::make_unique<WindowSide>(*found);
  s.image = name + "image";
  s.gather = name + "gather";
  return s;
}

void GemmLowering::add_pack_launch(Side& s) {
  const int64_t k = problem_.k.size();
  out_.buffers.push_back({s.array,
                          s.at == PackAt::prepared ? Role::prepared : Role::scratch,
                          0,
                          "",
                          problem_.dtype,
                          {SizeExpr(s.buffered_outer * s.panels * k * s.width)}});
  ValueReader reader(task_.graph, task_.piece);
  const Expr panel = tile::index_var("panel", s.panels), outer = tile::index_var("outer", s.buffered_outer);
  PanelFill fill{outer, panel * s.width, 0, k, k, s.array, (outer * s.panels + panel) * (k * s.width)};
  Block body = s.packer->fill(reader, fill);
  body = one(tile::loop(Bind::grid, "outer", 0, s.buffered_outer, std::move(body)));
  body = one(tile::loop(Bind::grid, "panel", 0, s.panels, std::move(body)));
  tile::Function function{s.array + "_pack", kernel_params(task_.graph, reader, {}), std::move(body)};
  function.params.push_back({s.array, problem_.dtype, true, true});
  Launch launch{function.name, launch_args(function.params), {s.panels, s.buffered_outer, 1}, {1, 1, 1}};
  (s.at == PackAt::prepared ? out_.prepare : out_.steps).push_back(std::move(launch));
  out_.functions.push_back(std::move(function));
}

void GemmLowering::add_image_copy(const Side& s) {
  int lanes = vector_lanes(task_.graph, task_.piece, task_.facts) == shape_.micro.lanes ? shape_.micro.lanes : 1;
  ValueReader probe(task_.graph, task_.piece);
  s.windows->copy_body(probe, s.image, lanes);
  if (probe.spoiled()) lanes = 1;
  out_.buffers.push_back({s.image, Role::scratch, 0, "", problem_.dtype, {SizeExpr(s.windows->elements())}});
  ValueReader reader(task_.graph, task_.piece);
  Block body = s.windows->copy_body(reader, s.image, lanes);
  tile::Function function{s.image + "_copy", kernel_params(task_.graph, reader, {}), std::move(body)};
  function.params.push_back({s.image, problem_.dtype, true, true});
  out_.steps.push_back(Launch{function.name, launch_args(function.params), {s.windows->copy_tasks(), 1, 1}, {1, 1, 1}});
  out_.functions.push_back(std::move(function));
  out_.text += s.windows->gather_text(s.gather, s.width, shape_.micro.lanes);
}

Lowered GemmLowering::lower() {
  for (Side* s : {&rows_, &columns_})
    if (s->at != PackAt::task) add_pack_launch(*s);
  for (Side* s : {&rows_, &columns_})
    if (s->windows) add_image_copy(*s);
  out_.text += micro_text(task_.name + "_micro", shape_.micro);
  tile::Function function = main_function();
  const int64_t outer = problem_.outer.size();
  out_.steps.push_back(Launch{
      function.name, launch_args(function.params), {shape_.row_tasks(), shape_.column_tasks(), outer}, {1, 1, 1}});
  out_.functions.push_back(std::move(function));
  return std::move(out_);
}

tile::Function GemmLowering::main_function() {
  outer_ = tile::index_var("outer", problem_.outer.size());
  Block body = task_body();
  body = one(tile::loop(Bind::grid, "outer", 0, problem_.outer.size(), std::move(body)));
  body = one(tile::loop(Bind::grid, "column_task", 0, shape_.column_tasks(), std::move(body)));
  body = one(tile::loop(Bind::grid, "row_task", 0, shape_.row_tasks(), std::move(body)));
  tile::Function function{task_.name, kernel_params(task_.graph, reader_, task_.piece.outputs), std::move(body)};
  for (const Side* s : {&rows_, &columns_})
    if (s->at != PackAt::task) function.params.push_back({s->array, problem_.dtype, true, false});
  for (const Side* s : {&rows_, &columns_})
    if (s->windows) function.params.push_back({s->image, problem_.dtype, true, false});
  return function;
}

Block GemmLowering::task_body() {
  Block body;
  const Expr row_task = tile::index_var("row_task", shape_.row_tasks());
  const Expr column_task = tile::index_var("column_task", shape_.column_tasks());
  row_begin_ = row_task * shape_.task_row_panels;
  column_begin_ = column_task * shape_.task_column_panels;
  row_end_ = let(body, "row_count", tile::min_of(shape_.task_row_panels, shape_.row_panels - row_begin_), 1,
                 shape_.task_row_panels);
  column_end_ = let(body, "column_count", tile::min_of(shape_.task_column_panels, shape_.column_panels - column_begin_),
                    1, shape_.task_column_panels);
  const int64_t tiles = shape_.one_pass ? 1 : shape_.task_row_panels * shape_.task_column_panels;
  const tile::Type element{problem_.dtype, 1};
  auto local = [&](const std::string& name, int64_t count) {
    body.push_back(tile::Alloc{tile::Space::local, element, name, {count}});
  };
  local(tiles_, tiles * shape_.micro.mr * shape_.micro.width());
  if (rows_.at == PackAt::task)
    local(rows_.array, shape_.task_row_panels * shape_.kc * rows_.width + shape_.micro.lanes);
  if (columns_.at == PackAt::task) local(columns_.array, shape_.kc * columns_.width + shape_.micro.lanes);
  if (shape_.one_pass) {
    append(body, pass(0, problem_.k.size()));
    return body;
  }
  const int64_t k = problem_.k.size();
  const Expr k0 = tile::index_var("k0", k);
  Block turn;
  const Expr kc = let(turn, "kc", tile::min_of(shape_.kc, k - k0), 1, shape_.kc);
  append(turn, pass(k0, kc));
  body.push_back(tile::loop(Bind::serial, "k0", 0, k, std::move(turn), shape_.kc));
  return body;
}

Expr GemmLowering::panel_offset(const Side& s, const Expr& panel, const Expr& slot, const Expr& k0) const {
  if (s.at == PackAt::task) return slot * (shape_.kc * s.width);
  const Expr outer = s.what->per_outer ? outer_ : Expr(0);
  return ((outer * s.panels + panel) * problem_.k.size() + k0) * s.width;
}

Block GemmLowering::pack_in_task(const Side& s, const Expr& panel, const Expr& slot, const Expr& k0, const Expr& kc) {
  const Expr to = slot * (shape_.kc * s.width);
  if (!s.windows) return s.packer->fill(reader_, {outer_, panel * s.width, k0, kc, shape_.kc, s.array, to});
  auto array = [&](const std::string& name) { return tile::var(name, {problem_.dtype, 1}); };
  return one(
      tile::CallStmt{s.gather, {array(s.image), s.windows->base(outer_), array(s.array), to, panel * s.width, k0, kc}});
}

Block GemmLowering::pass(const Expr& k0, const Expr& kc) {
  Block block;
  if (rows_.at == PackAt::task) {
    const Expr slot = tile::index_var("row_fill", shape_.task_row_panels);
    block.push_back(
        tile::loop(Bind::serial, "row_fill", 0, row_end_, pack_in_task(rows_, row_begin_ + slot, slot, k0, kc)));
  }
  row_slot_ = tile::index_var("row_slot", shape_.task_row_panels);
  column_slot_ = tile::index_var("column_slot", shape_.task_column_panels);
  Block line;
  column_panel_ = let(line, "column_panel", column_begin_ + column_slot_, 0, shape_.column_panels - 1);
  if (columns_.at == PackAt::task) append(line, pack_in_task(columns_, column_panel_, 0, k0, kc));
  line.push_back(tile::loop(Bind::serial, "row_slot", 0, row_end_, tile_turn(k0, kc)));
  block.push_back(tile::loop(Bind::serial, "column_slot", 0, column_end_, std::move(line)));
  return block;
}

Block GemmLowering::tile_turn(const Expr& k0, const Expr& kc) {
  Block block;
  row_panel_ = let(block, "row_panel", row_begin_ + row_slot_, 0, shape_.row_panels - 1);
  const int64_t size = int64_t{shape_.micro.mr} * shape_.micro.width();
  const Expr tile = shape_.one_pass ? Expr(0) : (column_slot_ * shape_.task_row_panels + row_slot_) * size;
  auto array = [&](const std::string& name) { return tile::var(name, {problem_.dtype, 1}); };
  block.push_back(
      tile::CallStmt{task_.name + "_micro",
                     {array(rows_.array), panel_offset(rows_, row_panel_, row_slot_, k0), array(columns_.array),
                      panel_offset(columns_, column_panel_, 0, k0), array(tiles_), tile, kc, k0}});
  if (shape_.one_pass)
    append(block, epilogue(tile));
  else
    block.push_back(tile::branch(k0 + kc >= Expr(problem_.k.size()), epilogue(tile), {}));
  return block;
}

LabelValues GemmLowering::labels(const Expr& row, const Expr& column) const {
  LabelValues values;
  bind_labels(problem_.outer, outer_, values);
  bind_labels(problem_.m, row, values);
  bind_labels(problem_.n, column, values);
  return values;
}

Block GemmLowering::element(ValueReader& reader, const Expr& place, const Expr& row, const Expr& column,
                            int lanes) const {
  Block block;
  reader.forget();
  reader.define(problem_.contract, [&](const Coords&) { return tile::load(tiles_, problem_.dtype, {place}, lanes); });
  const Coords at = contract_coords(task_.graph, problem_, labels(row, column));
  const auto reached = epilogue_coords(task_.graph, task_.piece, problem_.contract, at);
  for (graph::NodeId id : task_.piece.outputs) {
    const graph::Node& node = task_.graph[id];
    const Expr value = reader.read(id, reached.at(id), block);
    block.push_back(tile::Store{
        buffer_name(id), node.dtype, {linear_index(node.shape, reached.at(id))}, tile::splat(value, lanes)});
  }
  reader.forget();
  return block;
}

bool GemmLowering::vector_epilogue() const {
  const int lanes = shape_.micro.lanes;
  if (vector_lanes(task_.graph, task_.piece, task_.facts) != lanes || problem_.n.size() < lanes) return false;
  ValueReader probe(task_.graph, task_.piece);
  probe.vectorise("column", lanes);
  const Expr row = tile::index_var("row", problem_.m.size()), column = tile::index_var("column", problem_.n.size());
  element(probe, 0, row, column, lanes);
  if (probe.spoiled()) return false;
  const Coords at = contract_coords(task_.graph, problem_, labels(row, column));
  for (const auto& [id, coords] : epilogue_coords(task_.graph, task_.piece, problem_.contract, at)) {
    const auto& outputs = task_.piece.outputs;
    if (std::find(outputs.begin(), outputs.end(), id) == outputs.end()) continue;
    const tile::Stride stride = tile::stride_of(linear_index(task_.graph[id].shape, coords), "column");
    if (!stride.known || stride.step != 1) return false;
  }
  return true;
}

Block GemmLowering::epilogue_line(const Expr& tile, const Expr& i, const std::string& column, int lanes) {
  const int width = shape_.micro.width();
  const std::string in = column + "_i";
  const Expr j = tile::index_var_in(in, 0, width - lanes);
  Block body;
  const Expr at = let(body, column, column_panel_ * width + j, 0, problem_.n.size() - 1);
  if (lanes > 1)
    reader_.vectorise(column, lanes);
  else
    reader_.scalar();
  append(body, element(reader_, tile + i * width + j, tile::index_var("row", problem_.m.size()), at, lanes));
  reader_.scalar();
  return body;
}

Block GemmLowering::epilogue(const Expr& tile) {
  const int width = shape_.micro.width(), lanes = shape_.micro.lanes;
  const Expr i = tile::index_var("row_i", shape_.micro.mr);
  Block block;
  const Expr rows =
      let(block, "rows_here", tile::min_of(shape_.micro.mr, problem_.m.size() - row_panel_ * shape_.micro.mr), 1,
          shape_.micro.mr);
  const Expr columns =
      let(block, "columns_here", tile::min_of(width, problem_.n.size() - column_panel_ * width), 1, width);
  Block line;
  let(line, "row", row_panel_ * shape_.micro.mr + i, 0, problem_.m.size() - 1);
  const bool vector = vector_epilogue();
  const Expr whole = vector ? columns / lanes * lanes : Expr(0);
  if (vector)
    line.push_back(tile::loop(Bind::serial, "column_i", 0, whole, epilogue_line(tile, i, "column", lanes), lanes));
  line.push_back(tile::loop(Bind::serial, "single_i", whole, columns, epilogue_line(tile, i, "single", 1)));
  block.push_back(tile::loop(Bind::serial, "row_i", 0, rows, std::move(line)));
  return block;
}

}  // namespace kw::kernel::schedule
