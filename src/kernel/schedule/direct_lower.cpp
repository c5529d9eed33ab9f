#include "kernel/schedule/direct_lower.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernel/schedule/blocks.h"

namespace kw::kernel::schedule {

using graph::NodeId;
using tile::Bind;
using tile::Block;
using tile::Expr;

namespace {

Expr f32_array(const std::string& name) { return tile::var(name, {DType::f32, 1}); }

}  // namespace

DirectLowering::DirectLowering(const Task& task, const DirectProblem& problem, const DirectShape& shape)
    : task_(task),
      problem_(problem),
      shape_(shape),
      reader_(task.graph, task.piece),
      tiles_(task.name + "_tiles"),
      weights_(task.name + "_weights") {}

int64_t DirectLowering::weight_block() const {
  return problem_.products() / problem_.sum_outer * shape_.tile.filters * problem_.lanes;
}

Lowered DirectLowering::lower() {
  for (size_t i = 0; i < shape_.variants.size(); ++i)
    out_.text +=
        direct_micro_text(fmt::format("{}_micro{}", task_.name, i), problem_, shape_.tile, shape_.variants[i].second);
  if (problem_.weight >= 0) add_pack();
  outer_ = tile::index_var("outer", problem_.outer.size());
  Block body = task_body();
  body = one(tile::loop(Bind::grid, "outer", 0, problem_.outer.size(), std::move(body)));
  body = one(tile::loop(Bind::grid, "group_task", 0, shape_.group_tasks(), std::move(body)));
  body = one(tile::loop(Bind::grid, "line_task", 0, shape_.line_tasks(), std::move(body)));
  tile::Function function{task_.name, kernel_params(task_.graph, reader_, task_.piece.outputs), std::move(body)};
  const std::string source = buffer_name(problem_.source);
  if (std::none_of(function.params.begin(), function.params.end(), [&](const auto& p) { return p.name == source; }))
    function.params.push_back({source, DType::f32, true, false});
  if (problem_.weight >= 0) function.params.push_back({weights_, DType::f32, true, false});
  out_.steps.emplace_back(Launch{function.name,
                                 launch_args(function.params),
                                 {shape_.line_tasks(), shape_.group_tasks(), problem_.outer.size()},
                                 {1, 1, 1}});
  out_.functions.push_back(std::move(function));
  return std::move(out_);
}

void DirectLowering::add_pack() {
  const int64_t outer = problem_.weight_outer.size();
  const int64_t size = outer * shape_.groups * problem_.sum_outer * weight_block();
  out_.buffers.push_back({weights_, Role::prepared, 0, "", DType::f32, {SizeExpr(size)}});
  ValueReader reader(task_.graph, task_.piece);
  Block body = pack_body(reader);
  body = one(tile::loop(Bind::grid, "outer", 0, outer, std::move(body)));
  body = one(tile::loop(Bind::grid, "filters_at", 0, shape_.groups, std::move(body)));
  tile::Function function{weights_ + "_pack", kernel_params(task_.graph, reader, {}), std::move(body)};
  function.params.push_back({weights_, DType::f32, true, true});
  out_.prepare.emplace_back(Launch{function.name, launch_args(function.params), {shape_.groups, outer, 1}, {1, 1, 1}});
  out_.functions.push_back(std::move(function));
}

/// [outer][group][sum_outer][tap y][sum_inner][tap x][filter][lane].
Block DirectLowering::pack_body(ValueReader& reader) const {
  const std::pair<const char*, int64_t> loops[] = {{"so", problem_.sum_outer}, {"ty", problem_.y.taps},
                                                   {"si", problem_.sum_inner}, {"tx", problem_.x.taps},
                                                   {"f", shape_.tile.filters}, {"lane", problem_.lanes}};
  std::vector<Expr> at;
  Expr index = tile::index_var("outer", problem_.weight_outer.size()) * shape_.groups +
               tile::index_var("filters_at", shape_.groups);
  for (const auto& [name, size] : loops) {
    at.push_back(tile::index_var(name, size));
    index = index * size + at.back();
  }
  LabelValues values;
  bind_labels(problem_.weight_outer, tile::index_var("outer", problem_.weight_outer.size()), values);
  bind_labels(problem_.filters, tile::index_var("filters_at", shape_.groups) * shape_.tile.filters + at[4], values);
  bind_labels(problem_.sums, at[0] * problem_.sum_inner + at[2], values);
  values[problem_.y.tap_label] = at[1];
  values[problem_.x.tap_label] = at[3];
  values[problem_.lane_label] = at[5];
  const auto& contract = task_.graph[problem_.anchor].as<graph::ContractAttr>();
  const bool first = task_.graph[problem_.anchor].inputs[0] == problem_.weight;
  Coords from;
  for (int label : first ? contract.a : contract.b) from.push_back(values.at(label));
  Block body;
  const Expr value = reader.read(problem_.weight, from, body);
  body.push_back(tile::Store{weights_, DType::f32, {index}, value});
  for (size_t i = std::size(loops); i-- > 0;)
    body = one(tile::loop(Bind::serial, loops[i].first, 0, loops[i].second, std::move(body)));
  return body;
}

Block DirectLowering::task_body() {
  Block body;
  body.push_back(tile::Alloc{
      tile::Space::local, {DType::f32, 1}, tiles_, {shape_.stored_tiles() * shape_.tile_elements(problem_)}});
  const Expr first = tile::index_var("group_task", shape_.group_tasks()) * shape_.task_groups;
  group_ = tile::index_var("filters_at", shape_.groups);
  body.push_back(tile::loop(Bind::serial, "filters_at", first, tile::min_of(first + shape_.task_groups, shape_.groups),
                            group_turn()));
  return body;
}

Block DirectLowering::group_turn() {
  if (shape_.one_pass) return lines(0, problem_.sum_outer);
  const Expr b0 = tile::index_var("b0", problem_.sum_outer);
  Block turn;
  const Expr blocks = let(turn, "blocks", tile::min_of(shape_.pass, problem_.sum_outer - b0), 1, shape_.pass);
  append(turn, lines(b0, blocks));
  return one(tile::loop(Bind::serial, "b0", 0, problem_.sum_outer, std::move(turn), shape_.pass));
}

Block DirectLowering::lines(const Expr& b0, const Expr& blocks) {
  const Expr first = tile::index_var("line_task", shape_.line_tasks()) * shape_.task_lines;
  line_ = tile::index_var("line", shape_.lines);
  tile_ = tile::index_var("tile", shape_.tiles);
  Block turn = one(tile::loop(Bind::serial, "tile", 0, shape_.tiles, tile_turn(b0, blocks)));
  return one(
      tile::loop(Bind::serial, "line", first, tile::min_of(first + shape_.task_lines, shape_.lines), std::move(turn)));
}

Block DirectLowering::tile_turn(const Expr& b0, const Expr& blocks) {
  Block block;
  const int64_t last = problem_.x.out - shape_.tile.places;
  x0_ = let(block, "x0", tile::min_of((problem_.flat ? line_ : tile_) * shape_.tile.places, last), 0,
            std::max<int64_t>(last, 1));
  const Expr first = tile::index_var("line_task", shape_.line_tasks()) * shape_.task_lines;
  Expr stored = 0;
  if (!shape_.one_pass)
    stored = let(block, "slot", (line_ - first) * shape_.tiles + tile_, 0, shape_.stored_tiles() - 1) *
             shape_.tile_elements(problem_);
  if (shape_.one_pass) append(block, claim());
  append(block, call(stored, b0, blocks));
  if (shape_.one_pass)
    append(block, epilogue(stored));
  else
    block.push_back(tile::branch(b0 + blocks >= Expr(problem_.sum_outer), epilogue(stored), {}));
  return block;
}

/// Asks for the results' cache lines before the products, so that stores need not wait for them.
Block DirectLowering::claim() {
  // Results that stay in the second cache are there already, or soon.
  double bytes = 0;
  for (NodeId id : task_.piece.outputs) bytes += 4.0 * static_cast<double>(element_count(task_.graph[id].shape));
  if (bytes < static_cast<double>(task_.facts.l2_bytes) || !vector_epilogue()) return {};
  const Expr f = tile::index_var("claimed", shape_.tile.filters);
  const DirectPlace place{outer_, group_ * shape_.tile.filters + f, problem_.flat ? Expr(0) : line_, x0_, 0};
  const auto reached =
      epilogue_coords(task_.graph, task_.piece, problem_.anchor, direct_coords(task_.graph, problem_, place));
  Block block;
  for (NodeId id : task_.piece.outputs) {
    const graph::Node& node = task_.graph[id];
    const Expr at = linear_index(node.shape, reached.at(id));
    if (node.dtype != DType::f32) continue;
    block.push_back(tile::CallStmt{task_.name + "_claim", {f32_array(buffer_name(id)), at}});
  }
  out_.text += fmt::format(
      "static inline void {}_claim(float* p, int64_t at) {{\n"
      "  for (int64_t i = 0; i < {}; i += 16) __builtin_prefetch(p + at + i, 1);\n}}\n",
      task_.name, shape_.tile.places * problem_.lanes);
  return one(tile::loop(Bind::serial, "claimed", 0, shape_.tile.filters, std::move(block)));
}

Block DirectLowering::call(const Expr& stored, const Expr& b0, const Expr& blocks) const {
  const DirectAxis &y = problem_.y, &x = problem_.x;
  LabelValues values;
  bind_labels(problem_.outer, outer_, values);
  Expr from = problem_.base + b0 * problem_.sum_outer_step;
  for (size_t i = 0; i < problem_.outer.labels.size(); ++i)
    from = from + values.at(problem_.outer.labels[i]) * problem_.outer_steps[i];
  const Expr row = problem_.flat ? Expr(0) : line_;
  from = from + (row * y.stride - y.lo) * y.step + (x0_ * x.stride - x.lo) * x.step;
  // Taps outside the image are left out: those before its first row, and those after its last.
  const Expr y0 = tile::max_of((Expr(y.lo + y.dilation - 1) - row * y.stride) / y.dilation, 0);
  const Expr y1 = tile::min_of((Expr(y.extent + y.lo + y.dilation - 1) - row * y.stride) / y.dilation, y.taps);
  Coords weight_at;
  for (int label : problem_.weight_outer.labels) weight_at.push_back(values.at(label));
  const Expr weight =
      ((linear_index(problem_.weight_outer.shape, weight_at) * shape_.groups + group_) * problem_.sum_outer + b0) *
      weight_block();
  const std::string source = buffer_name(problem_.source);
  Block chosen;
  for (size_t i = shape_.variants.size(); i-- > 0;) {
    const std::vector<Expr> args{f32_array(source),
                                 from,
                                 f32_array(problem_.weight >= 0 ? weights_ : source),
                                 problem_.weight >= 0 ? weight : Expr(0),
                                 f32_array(tiles_),
                                 stored,
                                 blocks,
                                 y0,
                                 y1,
                                 b0};
    Block here = one(tile::CallStmt{fmt::format("{}_micro{}", task_.name, i), args});
    chosen = chosen.empty()
                 ? std::move(here)
                 : one(tile::branch(tile_ < Expr(shape_.variants[i + 1].first), std::move(here), std::move(chosen)));
  }
  return chosen;
}

Block DirectLowering::element(ValueReader& reader, const Expr& at, const DirectPlace& place, int lanes) const {
  Block block;
  reader.forget();
  reader.define(problem_.anchor, [&](const Coords&) { return tile::load(tiles_, DType::f32, {at}, lanes); });
  const auto reached =
      epilogue_coords(task_.graph, task_.piece, problem_.anchor, direct_coords(task_.graph, problem_, place));
  for (NodeId id : task_.piece.outputs) {
    const graph::Node& node = task_.graph[id];
    const Expr value = reader.read(id, reached.at(id), block);
    block.push_back(tile::Store{
        buffer_name(id), node.dtype, {linear_index(node.shape, reached.at(id))}, tile::splat(value, lanes)});
  }
  reader.forget();
  return block;
}

bool DirectLowering::vector_epilogue() const {
  const int lanes = static_cast<int>(problem_.lanes);
  if (vector_lanes(task_.graph, task_.piece, task_.facts) != lanes) return false;
  if (direct_scalar_stores(task_.graph, task_.piece, problem_)) return false;
  ValueReader probe(task_.graph, task_.piece);
  probe.vectorise("lane", lanes);
  element(probe, 0,
          {outer_, tile::index_var("filter", problem_.filters.size()), line_, tile::index_var("place", problem_.x.out),
           tile::index_var("lane", lanes)},
          lanes);
  return !probe.spoiled();
}

Block DirectLowering::epilogue(const Expr& stored) {
  const int64_t places = shape_.tile.places, filters = shape_.tile.filters, lanes = problem_.lanes;
  const bool vector = vector_epilogue();
  const Expr i = tile::index_var("i", places), f = tile::index_var("f", filters), lane = tile::index_var("lane", lanes);
  Block body;
  const Expr filter = let(body, "filter", group_ * filters + f, 0, std::max<int64_t>(problem_.filters.size() - 1, 1));
  const Expr place = let(body, "place", x0_ + i, 0, std::max<int64_t>(problem_.x.out - 1, 1));
  if (vector) body.push_back(tile::Let{"lane", 0});
  if (vector)
    reader_.vectorise("lane", static_cast<int>(lanes));
  else
    reader_.scalar();
  const Expr at = stored + (i * filters + f) * lanes;
  append(body, element(reader_, vector ? at : at + lane, {outer_, filter, problem_.flat ? Expr(0) : line_, place, lane},
                       vector ? static_cast<int>(lanes) : 1));
  reader_.scalar();
  Block block = one(tile::loop(Bind::serial, "i", 0, places, std::move(body)));
  if (!vector) block = one(tile::loop(Bind::serial, "lane", 0, lanes, std::move(block)));
  return one(tile::loop(Bind::serial, "f", 0, filters, std::move(block)));
}

}  // namespace kw::kernel::schedule
