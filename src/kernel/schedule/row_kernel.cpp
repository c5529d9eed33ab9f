#include "kernel/schedule/row_kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/result.h"

#include "kernel/schedule/blocks.h"

namespace kw::kernel::schedule {

using graph::NodeId;
using graph::ReduceOp;
using tile::Bind;
using tile::Block;
using tile::Expr;

namespace {

/// Longest chain of additions into one accumulator before it is flushed into a total: keeps float32 sums accurate.
constexpr int64_t longest_chain = 64;
/// Values kept between passes live on the task's stack.
constexpr int64_t most_kept_elements = 1 << 16;

}  // namespace

RowKernel::RowKernel(const Task& task, const RowDomain& domain, const RowSetting& setting)
    : task_(task), graph_(task.graph), domain_(domain), setting_(setting), reader_(task.graph, task.piece) {
  const int64_t side_by_side = setting.across ? int64_t{setting.lanes} * setting.unroll : 1;
  if (setting.keep && domain.columns * side_by_side <= most_kept_elements)
    kept_ = nodes_to_keep(task.graph, task.piece, domain);
}

tile::Type RowKernel::type_of(NodeId id, int lanes) const { return {compute_dtype(graph_[id].dtype), lanes}; }
std::string RowKernel::name(const std::string& prefix, NodeId id) const { return fmt::format("{}{}", prefix, id); }

Expr RowKernel::identity(NodeId reduce, int lanes) const {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const ReduceOp op = graph_[reduce].as<graph::ReduceAttr>().op;
  const double value = op == ReduceOp::prod ? 1 : op == ReduceOp::max ? -inf : op == ReduceOp::min ? inf : 0;
  return tile::splat(tile::imm(value, type_of(reduce, 1)), lanes);
}

Expr RowKernel::joined(NodeId reduce, const Expr& a, const Expr& b) const {
  const ReduceOp op = graph_[reduce].as<graph::ReduceAttr>().op;
  if (op == ReduceOp::sum) return tile::binary(tile::Op::add, a, b);
  if (op == ReduceOp::prod) return tile::binary(tile::Op::mul, a, b);
  return tile::call(op == ReduceOp::max ? "max" : "min", a.type(), {a, b});
}

bool RowKernel::is_long() const {
  const int64_t steps = setting_.across ? domain_.columns : domain_.columns / (setting_.lanes * setting_.unroll);
  return !now_.empty() && steps > longest_chain;
}

// ---- one point ----

Coords RowKernel::coords(const Coords& symbolic, const Point& point) const {
  return domain_.at(symbolic, point.row, point.column);
}

void RowKernel::enter(const Point& point) {
  point_ = point;
  if (point.lanes > 1)
    reader_.vectorise(point.lane_var, point.lanes);
  else
    reader_.scalar();
}

void RowKernel::visit(const Points& points, const std::string& accumulators, Block& out) {
  for (const Point& point : points) visit_one(point, accumulators, out);
}

void RowKernel::visit_one(const Point& point, const std::string& accumulators, Block& out) {
  enter(point);
  for (NodeId id : now_) {
    const NodeId in = graph_[id].inputs[0];
    Expr value = reader_.read(in, coords(domain_.full.at(in), point), out);
    value = tile::splat(tile::cast(value, type_of(id, 1).dtype), setting_.lanes);
    if (point.valid) value = tile::select(point.valid, value, identity(id, setting_.lanes));
    const std::string array = name(accumulators, id);
    const Expr so_far = tile::load(array, type_of(id, 1).dtype, {Expr(point.slot)}, setting_.lanes);
    out.push_back(tile::Assign{array, {Expr(point.slot)}, joined(id, so_far, value)});
  }
  for (NodeId id : task_.piece.outputs)
    if (domain_.full.contains(id) && domain_.stage.at(id) == pass_) store_full(id, point, out);
  for (const auto& [id, first] : kept_) {
    if (first != pass_) continue;
    const Expr value = reader_.read(id, coords(domain_.full.at(id), point), out);
    out.push_back(tile::Store{name("keep", id), DType::f32, {point.keep_index}, tile::splat(value, setting_.lanes)});
  }
}

void RowKernel::store_full(NodeId id, const Point& point, Block& out) {
  const Coords at = coords(domain_.full.at(id), point);
  const DType stored = graph_[id].dtype;
  const Expr index = linear_index(graph_[id].shape, at);
  if (point.lanes > 1) {
    const tile::Stride stride = tile::stride_of(index, point.lane_var);
    if (!stride.known || stride.step != 1) fault_ = "an output is not contiguous along the vector";
  }
  Expr value = tile::cast(reader_.read(id, at, out), compute_dtype(stored));
  out.push_back(tile::Store{buffer_name(id), stored, {index}, tile::splat(std::move(value), point.lanes)});
}

// ---- walking the row ----

void RowKernel::allocate(const std::string& prefix, Block& out) {
  for (NodeId id : now_)
    out.push_back(tile::Alloc{tile::Space::reg, type_of(id, setting_.lanes), name(prefix, id), {setting_.unroll}});
}

void RowKernel::reset(const std::string& prefix, Block& out) {
  for (NodeId id : now_)
    for (int i = 0; i < setting_.unroll; ++i)
      out.push_back(tile::Assign{name(prefix, id), {Expr(i)}, identity(id, setting_.lanes)});
}

void RowKernel::flush(Block& out) {
  for (NodeId id : now_)
    for (int i = 0; i < setting_.unroll; ++i) {
      const DType dtype = type_of(id, 1).dtype;
      const Expr total = tile::load(name("sum", id), dtype, {Expr(i)}, setting_.lanes);
      const Expr part = tile::load(name("acc", id), dtype, {Expr(i)}, setting_.lanes);
      out.push_back(tile::Assign{name("sum", id), {Expr(i)}, joined(id, total, part)});
    }
}

void RowKernel::walk_across(Block& out) {
  const int64_t columns = domain_.columns;
  const bool blocked = is_long();
  const int64_t share = (columns + setting_.parts - 1) / setting_.parts;
  const Expr from = setting_.parts > 1 ? part_ * share : Expr(0);
  const Expr to = setting_.parts > 1 ? tile::min_of(from + share, columns) : Expr(columns);
  Block body;
  Points points;
  for (int side = 0; side < sides(); ++side) {
    Point p = side_point(side);
    p.column = tile::index_var("col", columns);
    p.keep_index = p.column * (int64_t{setting_.lanes} * sides()) + int64_t{side} * setting_.lanes;
    points.push_back(p);
  }
  reader_.forget();
  visit(points, blocked ? "acc" : "sum", body);
  reader_.forget();
  if (!blocked) {
    out.push_back(tile::loop(Bind::serial, "col", from, to, std::move(body)));
    return;
  }
  Block outer;
  reset("acc", outer);
  const Expr start = tile::index_var("cols", columns);
  outer.push_back(tile::loop(Bind::serial, "col", start, tile::min_of(start + longest_chain, to), std::move(body)));
  flush(outer);
  out.push_back(tile::loop(Bind::serial, "cols", from, to, std::move(outer), longest_chain));
}

void RowKernel::walk_along(Block& out) {
  const int64_t runs = domain_.columns / setting_.inner;
  if (runs == 1) return along_run(Expr(0), out);
  Block body;
  along_run(tile::index_var("run", runs), body);
  const int64_t share = (runs + setting_.parts - 1) / setting_.parts;
  const bool split = setting_.parts > 1;
  const Expr from = split ? part_ * share : Expr(0);
  const Expr to = split ? tile::min_of(from + share, runs) : Expr(runs);
  out.push_back(tile::loop(Bind::serial, "run", from, to, std::move(body)));
}

void RowKernel::along_run(const Expr& outer, Block& out) {
  const int64_t step = int64_t{setting_.lanes} * setting_.unroll, main = setting_.inner / step * step;
  const bool split = setting_.parts > 1 && setting_.inner == domain_.columns;
  const bool blocked = is_long() && main / step > 1;
  if (main > 0) {
    const int64_t share = (main / step + setting_.parts - 1) / setting_.parts * step;
    const Expr from = split ? part_ * share : Expr(0);
    const Expr to = split ? tile::min_of(from + share, main) : Expr(main);
    Points points;
    const Expr at = tile::index_var_in("at", 0, std::max<int64_t>(main - step, 1));
    for (int u = 0; u < setting_.unroll; ++u) {
      const Expr column = outer * setting_.inner + at + int64_t{u} * setting_.lanes;
      points.push_back({row_, column, "at", setting_.lanes, u, 0, column, {}});
    }
    Block body;
    reader_.forget();
    visit(points, blocked ? "acc" : "sum", body);
    reader_.forget();
    if (blocked) {
      Block chain;
      reset("acc", chain);
      const Expr start = tile::index_var("ats", main);
      chain.push_back(
          tile::loop(Bind::serial, "at", start, tile::min_of(start + longest_chain * step, to), std::move(body), step));
      flush(chain);
      out.push_back(tile::loop(Bind::serial, "ats", from, to, std::move(chain), longest_chain * step));
    } else {
      out.push_back(tile::loop(Bind::serial, "at", from, to, std::move(body), step));
    }
  }
  if (main == setting_.inner) return;
  Block rest;
  along_rest(outer, rest);
  if (split)
    out.push_back(tile::branch(tile::binary(tile::Op::eq, part_, Expr(setting_.parts - 1)), std::move(rest)));
  else
    append(out, std::move(rest));
}

/// Whole vectors after the unrolled loop, then one that ends with the row and overlaps what is done.
void RowKernel::along_rest(const Expr& outer, Block& out) {
  const int lanes = setting_.lanes;
  const int64_t step = int64_t{lanes} * setting_.unroll;
  reader_.forget();
  int slot = 0;
  for (int64_t at = setting_.inner / step * step; at < setting_.inner; at += lanes) {
    const int64_t start = std::min(at, setting_.inner - lanes);
    const std::string var = fmt::format("e{}", names_++);
    out.push_back(tile::Let{var, Expr(start)});
    const Expr column = outer * setting_.inner + tile::index_var_in(var, 0, std::max<int64_t>(start, 1));
    Point point{row_, column, var, lanes, slot++ % setting_.unroll, 0, column, {}};
    if (start < at) {
      const tile::Type places{type_of(domain_.reduces[0], 1).dtype == DType::f64 ? DType::i64 : DType::i32, lanes};
      const Expr first = tile::splat(tile::imm(static_cast<double>(at), {places.dtype, 1}), lanes);
      point.valid = tile::binary(tile::Op::le, first, tile::ramp(Expr(start), places));
    }
    visit_one(point, "sum", out);
  }
  reader_.forget();
}

// ---- between passes ----

RowKernel::Point RowKernel::side_point(int side) const {
  Point p;
  p.row = setting_.across ? row_ + int64_t{side} * setting_.lanes : row_;
  p.column = 0;
  p.lane_var = setting_.across ? "r" : "";
  p.lanes = setting_.across ? setting_.lanes : 1;
  p.slot = p.side = side;
  return p;
}

void RowKernel::define_value(NodeId id) {
  reader_.define(id, [this, id](const Coords& at) {
    const Coords here = coords(domain_.reduced.at(id), point_);
    for (size_t i = 0; i < at.size(); ++i)
      if (!same(at[i], here[i]))
        fault_ = "a reduced value is read at another row: " + to_text(at[i]) + " is not " + to_text(here[i]);
    return values_.at(id).at(static_cast<size_t>(point_.side));
  });
}

/// The accumulators of the pass become values.
void RowKernel::combine(Block& out) {
  for (NodeId id : now_) {
    const DType dtype = type_of(id, 1).dtype;
    std::vector<Expr> parts;
    for (int i = 0; i < setting_.unroll; ++i)
      parts.push_back(tile::load(name("sum", id), dtype, {Expr(i)}, setting_.lanes));
    if (setting_.across) {
      values_[id].clear();
      for (int i = 0; i < setting_.unroll; ++i) {
        const std::string value = fmt::format("value{}_{}", id, i);
        out.push_back(tile::Let{value, parts[static_cast<size_t>(i)]});
        values_[id].push_back(tile::var(value, type_of(id, setting_.lanes)));
      }
    } else {
      for (size_t width = parts.size(); width > 1; width = (width + 1) / 2)
        for (size_t i = 0; i < width / 2; ++i) parts[i] = joined(id, parts[i], parts[width - 1 - i]);
      const ReduceOp op = graph_[id].as<graph::ReduceAttr>().op;
      if (setting_.lanes > 1)
        out.push_back(tile::LaneReduce{name("value", id), op, parts[0]});
      else
        out.push_back(tile::Let{name("value", id), parts[0]});
      values_[id] = {tile::var(name("value", id), type_of(id, 1))};
    }
    define_value(id);
  }
}

/// Maps of one value a row, as soon as they are known: computed once a row, not once an element.
void RowKernel::reduced_values(int stage, Block& out) {
  for (NodeId id : task_.piece.nodes) {
    const graph::Node& n = graph_[id];
    if (!domain_.reduced.contains(id) || domain_.stage.at(id) != stage) continue;
    if (!n.is<graph::MapAttr>() && !n.is<graph::CastAttr>()) continue;
    std::vector<Expr> sides_of;
    for (int side = 0; side < sides(); ++side) {
      enter(side_point(side));
      sides_of.push_back(reader_.read(id, coords(domain_.reduced.at(id), point_), out));
    }
    values_[id] = std::move(sides_of);
    define_value(id);
  }
}

void RowKernel::pass(int number, Block& out) {
  pass_ = number;
  now_.clear();
  for (NodeId id : domain_.reduces)
    if (domain_.stage.at(id) == number + 1) now_.push_back(id);
  allocate("sum", out);
  reset("sum", out);
  if (is_long()) allocate("acc", out);
  if (setting_.across)
    walk_across(out);
  else
    walk_along(out);
  for (const auto& [id, first] : kept_) {
    if (first != number) continue;
    const NodeId node = id;
    reader_.define(node, [this, node](const Coords& at) {
      const Coords here = coords(domain_.full.at(node), point_);
      for (size_t i = 0; i < at.size(); ++i)
        if (!same(at[i], here[i])) fault_ = "a kept value is read at another place";
      return tile::load(name("keep", node), DType::f32, {point_.keep_index}, setting_.lanes);
    });
  }
  if (setting_.parts > 1) return;
  reader_.forget();
  combine(out);
  reduced_values(number + 1, out);
}

void RowKernel::store_reduced(Block& out) {
  for (NodeId id : task_.piece.outputs) {
    if (!domain_.reduced.contains(id)) continue;
    for (int side = 0; side < sides(); ++side) {
      enter(side_point(side));
      const Coords at = coords(domain_.reduced.at(id), point_);
      const Expr index = linear_index(graph_[id].shape, at);
      if (point_.lanes > 1) {
        const tile::Stride stride = tile::stride_of(index, "r");
        if (!stride.known || stride.step != 1) fault_ = "a reduced output is not contiguous across rows";
      }
      const DType stored = graph_[id].dtype;
      Expr value = tile::cast(reader_.read(id, at, out), compute_dtype(stored));
      out.push_back(tile::Store{buffer_name(id), stored, {index}, tile::splat(std::move(value), point_.lanes)});
    }
  }
}

void RowKernel::all_passes(Block& out) {
  const int64_t width = setting_.across ? int64_t{setting_.lanes} * setting_.unroll : 1;
  for (const auto& [id, first] : kept_)
    out.push_back(
        tile::Alloc{tile::Space::local, {DType::f32, 1}, name("keep", id), {domain_.columns * width + setting_.lanes}});
  reader_.forget();
  reduced_values(0, out);
  for (int number = 0; number < domain_.passes; ++number) pass(number, out);
  if (setting_.parts > 1) return store_parts(out);
  store_reduced(out);
}

}  // namespace kw::kernel::schedule
