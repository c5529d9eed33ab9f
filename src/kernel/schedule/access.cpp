#include "kernel/schedule/access.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/result.h"

namespace kw::kernel::schedule {

using graph::NodeId;
using tile::Expr;
using tile::Op;

namespace {

Expr truth(bool value) { return tile::imm(value, tile::bool_type); }

bool contains(const std::vector<NodeId>& ids, NodeId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

Origin reshape_origin(const graph::Graph& g, const graph::Node& n, const Coords& at) {
  const Shape& from = g[n.inputs[0]].shape;
  return {coords_of(from, linear_index(n.shape, at)), truth(true), 0};
}

Origin pad_origin(const graph::Graph& g, const graph::Node& n, const Coords& at) {
  const auto& pad = n.as<graph::PadAttr>();
  const Shape& from = g[n.inputs[0]].shape;
  Origin o{at, truth(true), pad.value};
  for (size_t i = 0; i < at.size(); ++i) {
    o.at[i] = at[i] - pad.lo[i];
    if (pad.lo[i] > 0) o.valid = o.valid && o.at[i] >= 0;
    if (pad.hi[i] > 0) o.valid = o.valid && o.at[i] < from[i];
  }
  return o;
}

Origin window_origin(const graph::Node& n, const Coords& at) {
  const auto& w = n.as<graph::WindowAttr>();
  const size_t rank = at.size() - w.axes.size();
  Origin o{Coords(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(rank)), truth(true), 0};
  for (size_t i = 0; i < w.axes.size(); ++i) {
    const auto axis = static_cast<size_t>(w.axes[i]);
    o.at[axis] = at[axis] * w.stride[i] + at[rank + i] * w.dilation[i];
  }
  return o;
}

Origin dilate_origin(const graph::Node& n, const Coords& at) {
  const auto& d = n.as<graph::DilateAttr>();
  Origin o{at, truth(true), 0};
  for (size_t i = 0; i < d.axes.size(); ++i) {
    const auto axis = static_cast<size_t>(d.axes[i]);
    o.valid = o.valid && tile::binary(Op::eq, at[axis] % d.factor[i], 0);
    o.at[axis] = at[axis] / d.factor[i];
  }
  return o;
}

Origin flip_origin(const graph::Graph& g, const graph::Node& n, const Coords& at) {
  Origin o{at, truth(true), 0};
  for (int axis : n.as<graph::FlipAttr>().axes) {
    const auto i = static_cast<size_t>(axis);
    o.at[i] = Expr(g[n.inputs[0]].shape[i] - 1) - at[i];
  }
  return o;
}

}  // namespace

Expr linear_index(const Shape& shape, const Coords& at) {
  check(shape.size() == at.size(), "coordinates of another rank");
  Expr linear = 0;
  for (size_t i = 0; i < shape.size(); ++i) linear = linear * shape[i] + at[i];
  return linear;
}

Coords coords_of(const Shape& shape, const Expr& linear) {
  Coords at(shape.size());
  int64_t inner = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    const Expr outer = linear / std::max<int64_t>(inner, 1);
    // The leading axis needs no remainder: linear is inside the shape.
    at[i] = shape[i] == 1 ? Expr(0) : i == 0 ? outer : outer % std::max<int64_t>(shape[i], 1);
    inner *= shape[i];
  }
  return at;
}

bool is_view(const graph::Node& n) {
  return n.is<graph::PermuteAttr>() || n.is<graph::ReshapeAttr>() || n.is<graph::ExpandAttr>() ||
         n.is<graph::SliceAttr>() || n.is<graph::PadAttr>() || n.is<graph::FlipAttr>() || n.is<graph::WindowAttr>() ||
         n.is<graph::DilateAttr>();
}

Origin view_origin(const graph::Graph& g, NodeId view, const Coords& at) {
  const graph::Node& n = g[view];
  if (n.is<graph::ReshapeAttr>()) return reshape_origin(g, n, at);
  if (n.is<graph::PadAttr>()) return pad_origin(g, n, at);
  if (n.is<graph::WindowAttr>()) return window_origin(n, at);
  if (n.is<graph::DilateAttr>()) return dilate_origin(n, at);
  if (n.is<graph::FlipAttr>()) return flip_origin(g, n, at);
  Origin o{at, truth(true), 0};
  if (const auto* p = std::get_if<graph::PermuteAttr>(&n.attr)) {
    for (size_t i = 0; i < at.size(); ++i) o.at[static_cast<size_t>(p->perm[i])] = at[i];
  } else if (const auto* s = std::get_if<graph::SliceAttr>(&n.attr)) {
    for (size_t i = 0; i < at.size(); ++i) o.at[i] = at[i] * s->step[i] + s->start[i];
  } else {
    check(n.is<graph::ExpandAttr>(), "node is no view");
    for (size_t i = 0; i < at.size(); ++i)
      if (g[n.inputs[0]].shape[i] == 1) o.at[i] = Expr(0);
  }
  return o;
}

std::optional<Coords> view_target(const graph::Graph& g, NodeId view, const Coords& at) {
  const graph::Node& n = g[view];
  if (n.is<graph::ReshapeAttr>()) return coords_of(n.shape, linear_index(g[n.inputs[0]].shape, at));
  if (n.is<graph::FlipAttr>()) return flip_origin(g, n, at).at;
  const auto* p = std::get_if<graph::PermuteAttr>(&n.attr);
  if (!p) return std::nullopt;
  Coords out(at.size());
  for (size_t i = 0; i < at.size(); ++i) out[i] = at[static_cast<size_t>(p->perm[i])];
  return out;
}

ValueReader::ValueReader(const graph::Graph& graph, const Piece& piece) : graph_(graph), piece_(piece) {
  coder_.name_it = [this](Expr e) { return name_it(std::move(e), *out_); };
}

void ValueReader::define(NodeId id, Source source) { sources_[id] = std::move(source); }

void ValueReader::vectorise(std::string lane_var, int lanes) {
  lane_var_ = std::move(lane_var);
  lanes_ = lanes;
  coder_.narrow = lanes > 1 && lane_class(graph_, piece_) == LaneClass::f32 && narrow_integers(graph_, piece_);
}

void ValueReader::scalar() {
  lanes_ = 1;
  coder_.narrow = false;
}

Expr ValueReader::name_it(Expr value, tile::Block& out) {
  if (value->op == Op::imm || value->op == Op::var) return value;
  std::string name = fmt::format("{}{}", prefix_, counter_++);
  Expr named = tile::var(name, value.type());
  if (value.type() == tile::index_type && (value->lo >= 0 || value->hi < INT64_MAX))
    named = tile::index_var_in(name, value->lo, value->hi);
  out.push_back(tile::Let{std::move(name), std::move(value)});
  return named;
}

Expr ValueReader::read(NodeId id, const Coords& at, tile::Block& out) {
  for (const Seen& s : seen_) {
    if (s.id != id || s.lanes != lanes_ || s.at.size() != at.size()) continue;
    if (std::equal(at.begin(), at.end(), s.at.begin(), [](const Expr& a, const Expr& b) { return same(a, b); }))
      return s.value;
  }
  tile::Block* const outer = std::exchange(out_, &out);
  Expr value = compute(id, at, out);
  const bool loaded = value->op == Op::load || value->op == Op::gather || graph_[id].is<graph::MapAttr>();
  if (loaded) value = name_it(std::move(value), out);
  out_ = outer;
  seen_.push_back({id, at, lanes_, value});
  return value;
}

Expr ValueReader::compute(NodeId id, const Coords& at, tile::Block& out) {
  const auto source = sources_.find(id);
  if (source != sources_.end()) return source->second(at);
  if (contains(piece_.inputs, id)) return from_buffer(id, at);
  const graph::Node& n = graph_[id];
  if (const auto* c = std::get_if<graph::ConstantAttr>(&n.attr))
    return tile::imm(n.dtype == DType::boolean ? c->value != 0 : c->value, {coder_.register_dtype(n.dtype), 1});
  if (n.is<graph::IotaAttr>()) return iota_value(at.at(0));
  if (n.is<graph::CastAttr>()) return coder_.converted(read(n.inputs[0], at, out), n.dtype);
  if (n.is<graph::MapAttr>()) return map_value(n, at, out);
  if (n.is<graph::GatherAttr>()) return gathered(n, at, out);
  if (n.is<graph::CatAttr>()) return cat_value(n, at, out);
  check(is_view(n), "a piece's value has no source");
  const Origin o = view_origin(graph_, id, at);
  return guarded(o.valid, n.inputs[0], o.at, o.otherwise, n.dtype, out);
}

Expr ValueReader::iota_value(const Expr& at) {
  const DType dtype = coder_.register_dtype(DType::i64);
  if (lanes_ == 1 || !tile::mentions(at, lane_var_)) return tile::cast(at, dtype);
  const tile::Stride stride = tile::stride_of(at, lane_var_);
  spoiled_ = spoiled_ || !stride.known || stride.step != 1;
  return tile::ramp(at, {dtype, lanes_});
}

Expr ValueReader::map_value(const graph::Node& n, const Coords& at, tile::Block& out) {
  std::vector<Expr> args;
  for (NodeId in : n.inputs) args.push_back(read(in, at, out));
  return coder_.code(n.as<graph::MapAttr>().expr, args);
}

Expr ValueReader::from_buffer(NodeId id, const Coords& at) {
  const graph::Node& n = graph_[id];
  const std::string& array = arrays_[id] = buffer_name(id);
  const Expr index = linear_index(n.shape, at);
  const DType narrowed = coder_.register_dtype(n.dtype);
  if (lanes_ == 1 || !tile::mentions(index, lane_var_))
    return tile::cast(tile::load(array, n.dtype, {index}), narrowed);
  const tile::Stride stride = tile::stride_of(index, lane_var_);
  if (stride.known && stride.step == 1 && has_vector_form(n.dtype)) return tile::load(array, n.dtype, {index}, lanes_);
  const bool strided = stride.known && n.dtype != DType::boolean;
  spoiled_ = spoiled_ || !strided || !has_vector_form(n.dtype);
  return tile::gather(array, n.dtype, index, Expr(stride.step), lanes_);
}

bool ValueReader::has_vector_form(DType stored) const {
  if (stored == DType::boolean) return true;
  const bool wide = lane_class(graph_, piece_) == LaneClass::f64;
  if (wide) return stored == DType::f64 || stored == DType::i64;
  return compute_dtype(stored) == DType::f32 || stored == DType::i32;
}

Expr ValueReader::guarded(const Expr& valid, NodeId input, const Coords& at, double otherwise, DType dtype,
                          tile::Block& out) {
  if (valid->op == Op::imm && valid->integer) return read(input, at, out);
  Expr fill = tile::imm(otherwise, {coder_.register_dtype(dtype), 1});
  if (valid->op == Op::imm) return fill;
  undecided_.push_back(valid);
  if (lanes_ > 1 && tile::mentions(valid, lane_var_)) spoiled_ = true;
  return one_of(
      valid, [&](tile::Block& inner) { return read(input, at, inner); }, [&](tile::Block&) { return fill; }, out);
}

Expr ValueReader::one_of(const Expr& condition, const Branch& then, const Branch& otherwise, tile::Block& out) {
  tile::Block yes, no;
  const size_t visible = seen_.size();
  Expr a = then(yes);
  seen_.resize(visible);
  Expr b = otherwise(no);
  seen_.resize(visible);
  // A load named in a branch can stand in the conditional itself when it is all there is.
  if (yes.size() == 1 && no.empty() && a->op == Op::var)
    if (const auto* let = std::get_if<tile::Let>(&yes[0].base()); let && let->name == a->name) {
      a = let->value;
      yes.clear();
    }
  const int lanes = std::max(a.type().lanes, b.type().lanes);
  if (yes.empty() && no.empty()) return tile::select(condition, a, b);
  const std::string name = fmt::format("{}{}", prefix_, counter_++);
  const tile::Type type{a.type().dtype, lanes};
  out.push_back(tile::Alloc{tile::Space::reg, type, name, {}});
  yes.push_back(tile::Assign{name, {}, tile::splat(a, lanes)});
  no.push_back(tile::Assign{name, {}, tile::splat(b, lanes)});
  out.push_back(tile::branch(condition, std::move(yes), std::move(no)));
  return tile::var(name, type);
}

Expr ValueReader::gathered(const graph::Node& n, const Coords& at, tile::Block& out) {
  const auto& axes = n.as<graph::GatherAttr>().axes;
  const Shape& data = graph_[n.inputs[0]].shape;
  const size_t index_rank = graph_[n.inputs[1]].shape.size(), place = static_cast<size_t>(axes[0]);
  const auto first = at.begin() + static_cast<std::ptrdiff_t>(place);
  const Coords index_at(first, first + static_cast<std::ptrdiff_t>(index_rank));
  std::vector<Expr> picked;
  for (size_t i = 0; i < axes.size(); ++i) {
    Expr index = read(n.inputs[i + 1], index_at, out);
    if (index.type().lanes > 1) {
      spoiled_ = true;
      index = Expr(0);
    }
    index = tile::cast(index, DType::i64);
    // Out of range indices are the module's fault: they must not become ours.
    const int64_t last = data[static_cast<size_t>(axes[i])] - 1;
    picked.push_back(name_it(tile::min_of(tile::max_of(index, 0), last), out));
  }
  Coords from;
  size_t next = 0;
  for (size_t axis = 0; axis < data.size(); ++axis) {
    const auto found = std::find(axes.begin(), axes.end(), static_cast<int>(axis));
    if (next == place) next += index_rank;
    from.push_back(found != axes.end() ? picked[static_cast<size_t>(found - axes.begin())] : at[next++]);
  }
  return read(n.inputs[0], from, out);
}

Expr ValueReader::cat_value(const graph::Node& n, const Coords& at, tile::Block& out) {
  const auto axis = static_cast<size_t>(n.as<graph::CatAttr>().axis);
  std::function<Expr(size_t, int64_t, tile::Block&)> part = [&](size_t i, int64_t begin, tile::Block& block) -> Expr {
    const int64_t end = begin + graph_[n.inputs[i]].shape[axis];
    Coords inner = at;
    inner[axis] = at[axis] - begin;
    if (i + 1 == n.inputs.size()) return read(n.inputs[i], inner, block);
    const Expr here = at[axis] < end;
    if (here->op == Op::imm) return here->integer ? read(n.inputs[i], inner, block) : part(i + 1, end, block);
    undecided_.push_back(here);
    if (lanes_ > 1 && tile::mentions(here, lane_var_)) spoiled_ = true;
    return one_of(
        here, [&](tile::Block& b) { return read(n.inputs[i], inner, b); },
        [&](tile::Block& b) { return part(i + 1, end, b); }, block);
  };
  return part(0, 0, out);
}

bool narrow_integers(const graph::Graph& graph, const Piece& piece) {
  constexpr int64_t small = int64_t{1} << 24;
  for (NodeId id : piece.inputs)
    if (graph[id].dtype == DType::i64) return false;
  auto cheap = [](const graph::ScalarStep& s) {
    using graph::ScalarOp;
    if (s.op == ScalarOp::imm) return std::abs(s.imm) < small;
    return s.op != ScalarOp::mul && s.op != ScalarOp::pow && s.op != ScalarOp::shift_left;
  };
  for (NodeId id : piece.nodes) {
    const graph::Node& n = graph[id];
    if (n.is<graph::IotaAttr>() && n.shape[0] >= small) return false;
    if (n.dtype != DType::i64 || !n.is<graph::MapAttr>()) continue;
    const auto& expr = n.as<graph::MapAttr>().expr;
    if (!std::all_of(expr.begin(), expr.end(), cheap)) return false;
  }
  return true;
}

LaneClass lane_class(const graph::Graph& graph, const Piece& piece) {
  bool f64 = false, i64 = false, narrow = false, odd = false;
  auto see = [&](DType d) {
    f64 = f64 || d == DType::f64;
    i64 = i64 || d == DType::i64;
    narrow = narrow || compute_dtype(d) == DType::f32 || d == DType::i32;
    odd = odd || d == DType::u8 || d == DType::i8 || d == DType::i16;
  };
  for (NodeId id : piece.nodes) {
    see(graph[id].dtype);
    if (const auto* map = std::get_if<graph::MapAttr>(&graph[id].attr))
      for (const graph::ScalarStep& s : map->expr) see(s.dtype);
  }
  for (NodeId id : piece.inputs)
    if (graph[id].dtype != DType::i64) see(graph[id].dtype);  // indices are read as scalars, else the read is spoiled
  if (odd || (f64 && narrow)) return LaneClass::none;
  if (f64) return LaneClass::f64;
  if (i64 && !narrow_integers(graph, piece)) return LaneClass::none;
  return LaneClass::f32;
}

int vector_lanes(const graph::Graph& graph, const Piece& piece, const Facts& facts) {
  const LaneClass lanes = lane_class(graph, piece);
  return lanes == LaneClass::none ? 1 : facts.vector_bytes / (lanes == LaneClass::f64 ? 8 : 4);
}

std::vector<tile::Param> kernel_params(const graph::Graph& graph, const ValueReader& reader,
                                       const std::vector<NodeId>& outputs) {
  std::vector<tile::Param> params;
  for (const auto& [id, name] : reader.arrays()) params.push_back({name, graph[id].dtype, true, false});
  for (NodeId id : outputs) params.push_back({buffer_name(id), graph[id].dtype, true, true});
  return params;
}

std::vector<Arg> launch_args(const std::vector<tile::Param>& params) {
  std::vector<Arg> args;
  for (const tile::Param& p : params) {
    check(p.array, "launch_args of a scalar parameter");
    args.emplace_back(p.name);
  }
  return args;
}

}  // namespace kw::kernel::schedule
