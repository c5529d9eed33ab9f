#include "kernel/schedule/window_lower.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernel/schedule/blocks.h"
#include "kernel/schedule/gemm_problem.h"

namespace kw::kernel::schedule {

using graph::NodeId;
using tile::Bind;
using tile::Block;
using tile::Expr;

namespace {

Expr truth() { return tile::imm(1, tile::bool_type); }

Shape window_outs(const WindowProblem& problem) {
  Shape shape;
  for (const WindowAxis& axis : problem.axes) shape.push_back(axis.out);
  return shape;
}

bool is_fixed(const Expr& e) { return e->op == tile::Op::imm; }

}  // namespace

WindowLowering::WindowLowering(const Task& task, const WindowProblem& problem, const WindowShape& shape,
                               int64_t planes_each)
    : task_(task),
      problem_(problem),
      shape_(shape),
      each_(planes_each),
      element_{compute_dtype(task.graph[problem.anchor].dtype), 1},
      lanes_(vector_lanes(task.graph, task.piece, task.facts) == shape.lanes ? shape.lanes : 1),
      staged_(task.name + "_staged"),
      result_(task.name + "_result"),
      weights_(task.name + "_weights"),
      line_(task.name + "_line"),
      reader_(task.graph, task.piece),
      band_(tile::index_var("band", shape.bands)) {
  lead_ = coords_of(problem_.lead, tile::index_var("plane", problem_.planes()));
}

Lowered WindowLowering::lower() {
  Lowered out;
  const std::string filter = task_.name + "_filter";
  out.text = window_filter_text(filter, problem_, shape_, element_.dtype);
  Block body;
  auto local = [&](const std::string& name, int64_t count) {
    body.push_back(tile::Alloc{tile::Space::local, element_, name, {count}});
  };
  local(staged_, shape_.elements + shape_.slack());
  local(result_, shape_.places() + shape_.slack());
  local(weights_, problem_.weight >= 0 ? problem_.taps() : 1);
  if (!direct()) local(line_, line_elements() + shape_.slack());
  clear_slack(body);
  const int64_t planes = problem_.planes(), tasks = (planes + each_ - 1) / each_;
  const Expr first = tile::index_var("task", tasks) * each_;
  body.push_back(tile::loop(Bind::serial, "plane", first, tile::min_of(first + each_, planes), plane_body()));
  body = one(tile::loop(Bind::grid, "band", 0, shape_.bands, std::move(body)));
  body = one(tile::loop(Bind::grid, "task", 0, tasks, std::move(body)));
  tile::Function function{task_.name, kernel_params(task_.graph, reader_, task_.piece.outputs), std::move(body)};
  out.steps.emplace_back(Launch{function.name, launch_args(function.params), {tasks, shape_.bands, 1}, {1, 1, 1}});
  out.functions.push_back(std::move(function));
  return out;
}

/// Lanes beyond the last cell are computed and dropped; what they hold must not be slow (denormals).
void WindowLowering::clear_slack(Block& body) const {
  const Expr z = tile::index_var("z", shape_.slack());
  const tile::Store store{staged_, element_.dtype, {z + shape_.elements}, tile::imm(0, element_)};
  body.push_back(tile::loop(Bind::serial, "z", 0, shape_.slack(), one(store)));
}

Block WindowLowering::plane_body() {
  Block body;
  add_weights(body);
  stage_plane(body);
  auto array = [&](const std::string& name) { return tile::var(name, element_); };
  body.push_back(tile::CallStmt{task_.name + "_filter", {array(staged_), array(weights_), array(result_)}});
  add_epilogue(body);
  return body;
}

void WindowLowering::add_weights(Block& body) {
  if (problem_.weight < 0) return;
  const Shape shape = [&] {
    Shape s;
    for (const WindowAxis& axis : problem_.axes) s.push_back(axis.taps);
    return s;
  }();
  reader_.scalar();
  for (int64_t i = 0; i < problem_.taps(); ++i) {
    std::vector<int64_t> taps(shape.size());
    for (int64_t axis = static_cast<int64_t>(shape.size()) - 1, rest = i; axis >= 0; --axis) {
      taps[static_cast<size_t>(axis)] = rest % shape[static_cast<size_t>(axis)];
      rest /= shape[static_cast<size_t>(axis)];
    }
    const Coords at = window_weight_at(task_.graph, problem_, lead_, taps);
    const Expr value = reader_.read(problem_.weight, at, body);
    body.push_back(tile::Store{weights_, element_.dtype, {Expr(i)}, value});
  }
  reader_.forget();
}

void WindowLowering::stage_plane(Block& body) {
  source_at_.clear();
  row_place_ = 0;
  append(body, stage_rows(0, truth()));
}

/// Loops over phases and cells of the axes from `axis` to the last but one, then one row.
Block WindowLowering::stage_rows(size_t axis, const Expr& valid) {
  Block body;
  if (axis + 1 == problem_.axes.size()) {
    stage_row(body, valid);
    return body;
  }
  const WindowAxis& w = problem_.axes[axis];
  const StagedAxis& s = shape_.axes[axis];
  const std::string cell_name = fmt::format("s{}", axis), phase_name = fmt::format("f{}", axis);
  const Expr cell = tile::index_var(cell_name, s.cells), phase = tile::index_var(phase_name, s.phases);
  const Expr first = axis == 0 ? first_place() : Expr(0);
  const Expr at = (first + cell) * w.stride + phase * s.grain - w.lo;
  const Expr before = row_place_;
  row_place_ = row_place_ + phase * s.phase_step + cell * s.step;
  source_at_.push_back(at);
  body = stage_rows(axis + 1, valid && at >= 0 && at < w.extent);
  source_at_.pop_back();
  row_place_ = before;
  body = one(tile::loop(Bind::serial, cell_name, 0, s.cells, std::move(body)));
  return one(tile::loop(Bind::serial, phase_name, 0, s.phases, std::move(body)));
}

int64_t WindowLowering::line_elements() const {
  const StagedAxis& s = shape_.axes.back();
  if (direct()) return s.cells;
  return (s.cells - 1) * problem_.axes.back().stride + (s.phases - 1) * s.grain + 1;
}

/// The source's element of a line's first one.
Expr WindowLowering::row_shift() const {
  const WindowAxis& w = problem_.axes.back();
  return problem_.axes.size() == 1 ? first_place() * w.stride - w.lo : Expr(-w.lo);
}

/// Elements of a line that the source has; the others are padding.
WindowLowering::Range WindowLowering::inside_row() const {
  const WindowAxis& w = problem_.axes.back();
  const Expr shift = row_shift();
  const Expr all = line_elements();
  const Expr from = tile::min_of(tile::max_of(Expr(0) - shift, 0), all);
  return {from, tile::max_of(tile::min_of(Expr(w.extent) - shift, all), from)};
}

void WindowLowering::stage_row(Block& body, const Expr& valid) {
  const std::string array = direct() ? staged_ : line_;
  const Expr offset = direct() ? row_place_ : Expr(0);
  Block blank = fill(array, offset, "e", {0, line_elements()});
  Block copy = copy_in(array, offset);
  if (is_fixed(valid))
    append(body, valid->integer ? std::move(copy) : std::move(blank));
  else
    body.push_back(tile::branch(valid, std::move(copy), std::move(blank)));
  if (!direct()) split_phases(body, row_place_);
}

Block WindowLowering::fill(const std::string& array, const Expr& offset, const std::string& var,
                           const Range& range) const {
  if (tile::same(range.from, range.to)) return {};
  const Expr at = tile::index_var(var, line_elements());
  const tile::Store store{array, element_.dtype, {offset + at}, tile::imm(problem_.fill, element_)};
  return one(tile::loop(Bind::serial, var, range.from, range.to, one(store)));
}

Block WindowLowering::copy_in(const std::string& array, const Expr& offset) {
  const Range inside = inside_row();
  Block block;
  append(block, fill(array, offset, "before", {0, inside.from}));
  const bool fixed = is_fixed(inside.from) && is_fixed(inside.to);
  const int64_t width = fixed ? inside.to->integer - inside.from->integer : line_elements();
  const bool vector = lanes_ > 1 && width >= lanes_ && vector_source();
  if (fixed && width < lanes_ && reads_buffer())
    append(block, copy_narrow(array, offset, inside));
  else if (!vector || !fixed) {
    Block single = copy_elements(array, offset, "single", inside, 1);
    if (vector) {
      Block wide = copy_elements(array, offset, "wide", inside, lanes_);
      append(block, one(tile::branch(inside.to - inside.from >= Expr(lanes_), std::move(wide), std::move(single))));
    } else {
      append(block, std::move(single));
    }
  } else if (width > 0) {
    append(block, copy_elements(array, offset, "wide", inside, lanes_));
  }
  append(block, fill(array, offset, "after", {inside.to, line_elements()}));
  return block;
}

/// A row shorter than a vector: a whole one is loaded where the buffer has it; what it holds too much is overwritten by
/// the padding and rows that follow.
Block WindowLowering::copy_narrow(const std::string& array, const Expr& offset, const Range& range) {
  Block wide;
  const Expr here = tile::index_var("narrow", 2);
  Coords inner = source_at_;
  inner.push_back(range.from + here + row_shift());
  const Coords at = window_source_at(task_.graph, problem_, lead_, inner);
  const Shape& shape = task_.graph[problem_.source].shape;
  reader_.forget();
  reader_.vectorise("narrow", lanes_);
  const Expr value = reader_.read(problem_.source, at, wide);
  wide.push_back(tile::Store{array, element_.dtype, {offset + range.from}, tile::splat(value, lanes_)});
  reader_.forget();
  reader_.scalar();
  Block block;
  block.push_back(tile::Let{"narrow", 0});
  const Expr room = linear_index(shape, at) + lanes_;
  block.push_back(tile::branch(tile::binary(tile::Op::le, room, Expr(element_count(shape))), std::move(wide),
                               copy_elements(array, offset, "single", range, 1)));
  return block;
}

bool WindowLowering::reads_buffer() const {
  const auto& inputs = task_.piece.inputs;
  return lanes_ > 1 && vector_source() && std::find(inputs.begin(), inputs.end(), problem_.source) != inputs.end();
}

/// The last vector overlaps the one before it, so that it ends with the range.
Block WindowLowering::copy_elements(const std::string& array, const Expr& offset, const std::string& var,
                                    const Range& range, int lanes) {
  const std::string turn = var + "_turn";
  Block body;
  const Expr at = tile::index_var(turn, line_elements());
  body.push_back(tile::Let{var, lanes > 1 ? tile::min_of(at, range.to - lanes) : at});
  const Expr here = tile::index_var_in(var, 0, std::max<int64_t>(line_elements() - lanes, 1));
  Coords inner = source_at_;
  inner.push_back(here + row_shift());
  reader_.forget();
  if (lanes > 1) reader_.vectorise(var, lanes);
  const Expr value = reader_.read(problem_.source, window_source_at(task_.graph, problem_, lead_, inner), body);
  body.push_back(tile::Store{array, element_.dtype, {offset + here}, tile::splat(value, lanes)});
  reader_.forget();
  reader_.scalar();
  return one(tile::loop(Bind::serial, turn, range.from, range.to, std::move(body), lanes));
}

void WindowLowering::split_phases(Block& body, const Expr& place) const {
  const WindowAxis& w = problem_.axes.back();
  const StagedAxis& s = shape_.axes.back();
  for (int64_t f = 0; f < s.phases; ++f) {
    const std::string name = fmt::format("cell{}", f);
    const Expr cell = tile::index_var(name, s.cells);
    const Expr from = tile::min_of(cell * w.stride + f * s.grain, line_elements() - 1);
    const bool inside = (s.cells - 1) * w.stride + f * s.grain < line_elements();
    const Expr value = tile::load(line_, element_.dtype, {inside ? cell * w.stride + f * s.grain : from});
    const tile::Store store{staged_, element_.dtype, {place + f * s.phase_step + cell}, value};
    body.push_back(tile::loop(Bind::vector, name, 0, s.cells, one(store)));
  }
}

Block WindowLowering::element(ValueReader& reader, const Expr& place, const Expr& flat, int lanes) const {
  Block block;
  reader.forget();
  if (lanes > 1) reader.vectorise("flat", lanes);
  reader.define(problem_.anchor, [&](const Coords&) { return tile::load(result_, element_.dtype, {place}, lanes); });
  Coords at = lead_;
  for (const Expr& e : coords_of(window_outs(problem_), flat)) at.push_back(e);
  const auto reached = epilogue_coords(task_.graph, task_.piece, problem_.anchor, at);
  for (NodeId id : task_.piece.outputs) {
    const graph::Node& node = task_.graph[id];
    const Expr value = reader.read(id, reached.at(id), block);
    block.push_back(tile::Store{
        buffer_name(id), node.dtype, {linear_index(node.shape, reached.at(id))}, tile::splat(value, lanes)});
  }
  reader.forget();
  reader.scalar();
  return block;
}

bool WindowLowering::vector_source() const {
  ValueReader probe(task_.graph, task_.piece);
  probe.vectorise("wide", lanes_);
  Coords inner;
  for (size_t i = 0; i + 1 < problem_.axes.size(); ++i)
    inner.push_back(tile::index_var(fmt::format("x{}", i), problem_.axes[i].extent));
  inner.push_back(tile::index_var("wide", std::max<int64_t>(problem_.axes.back().extent, 2)));
  Block ignored;
  probe.read(problem_.source, window_source_at(task_.graph, problem_, lead_, inner), ignored);
  return !probe.spoiled();
}

bool WindowLowering::vector_epilogue() const {
  const auto& outputs = task_.piece.outputs;
  const bool wide = lane_class(task_.graph, task_.piece) == LaneClass::f64;
  if (lanes_ == 1 || problem_.plane_size() < 2) return false;
  ValueReader probe(task_.graph, task_.piece);
  const Expr flat = tile::index_var("flat", problem_.plane_size());
  element(probe, 0, flat, lanes_);
  if (probe.spoiled()) return false;
  Coords at = lead_;
  for (const Expr& e : coords_of(window_outs(problem_), flat)) at.push_back(e);
  const auto reached = epilogue_coords(task_.graph, task_.piece, problem_.anchor, at);
  return std::all_of(outputs.begin(), outputs.end(), [&](NodeId id) {
    const tile::Stride stride = tile::stride_of(linear_index(task_.graph[id].shape, reached.at(id)), "flat");
    return stride.known && stride.step == 1 && (wide || task_.graph[id].dtype != DType::i64);
  });
}

Block WindowLowering::epilogue_loop(const std::string& tag, int lanes, const Expr& count) {
  const int64_t places = shape_.places(), inner = places / shape_.axes[0].out;
  const std::string turn = tag + "_turn", place_name = tag + "_place";
  Block body;
  const Expr at = tile::index_var(turn, places);
  body.push_back(tile::Let{place_name, lanes > 1 ? tile::min_of(at, count - lanes) : at});
  const Expr place = tile::index_var_in(place_name, 0, std::max<int64_t>(places - lanes, 1));
  body.push_back(tile::Let{"flat", first_place() * inner + place});
  const Expr flat = tile::index_var_in("flat", 0, std::max<int64_t>(problem_.plane_size() - lanes, 1));
  append(body, element(reader_, place, flat, lanes));
  Block block = one(tile::loop(Bind::serial, turn, 0, count, std::move(body), lanes));
  return block;
}

void WindowLowering::add_epilogue(Block& body) {
  const int64_t places = shape_.places(), inner = places / shape_.axes[0].out;
  const int64_t last = problem_.plane_size() - (shape_.bands - 1) * places;  // of the last band
  Expr count = places;
  if (last < places) {
    body.push_back(tile::Let{"count", tile::min_of(places, Expr(problem_.plane_size()) - first_place() * inner)});
    count = tile::index_var_in("count", last, places);
  }
  const bool vector = places >= lanes_ && vector_epilogue();
  if (!vector) return append(body, epilogue_loop("single", 1, count));
  Block wide = epilogue_loop("wide", lanes_, count);
  if (last >= lanes_) return append(body, std::move(wide));
  body.push_back(tile::branch(count >= Expr(lanes_), std::move(wide), epilogue_loop("single", 1, count)));
}

}  // namespace kw::kernel::schedule
