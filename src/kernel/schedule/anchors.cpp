#include "kernel/schedule/anchors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/result.h"
#include "kernel/schedule/gpu.h"

namespace kw::kernel::schedule {
namespace {

using graph::NodeId;
using graph::ReduceOp;
using tile::Bind;
using tile::Block;
using tile::Expr;
using tile::Op;

/// Sums and products of floats are carried in double, on a GPU in two floats: a plain loop has one accumulator.
DType accumulator_dtype(DType dtype, bool gpu) { return is_float(dtype) && !gpu ? DType::f64 : dtype; }

Expr lowest(DType d) {
  if (is_float(d)) return tile::imm(-INFINITY, {d, 1});
  if (d == DType::boolean || d == DType::u8) return tile::imm(0, {d, 1});
  const int64_t value = d == DType::i8    ? INT8_MIN
                        : d == DType::i16 ? INT16_MIN
                        : d == DType::i32 ? INT32_MIN
                                          : std::numeric_limits<int64_t>::min();
  return d == DType::i64 ? Expr(value) : tile::imm(static_cast<double>(value), {d, 1});
}
Expr highest(DType d) {
  if (is_float(d)) return tile::imm(INFINITY, {d, 1});
  if (d == DType::boolean) return tile::imm(1, {d, 1});
  const int64_t value = d == DType::u8    ? 255
                        : d == DType::i8  ? INT8_MAX
                        : d == DType::i16 ? INT16_MAX
                        : d == DType::i32 ? INT32_MAX
                                          : std::numeric_limits<int64_t>::max();
  return d == DType::i64 ? Expr(value) : tile::imm(static_cast<double>(value), {d, 1});
}

/// A running combination: its start, its type, and one step.
struct Combine {
  DType dtype;
  Expr start;
  Expr step(const Expr& acc, const Expr& x) const {
    const Expr y = tile::cast(x, dtype);
    const bool logic = dtype == DType::boolean;
    if (op == ReduceOp::sum) return tile::binary(logic ? Op::lor : Op::add, acc, y);
    if (op == ReduceOp::prod) return tile::binary(logic ? Op::land : Op::mul, acc, y);
    const bool is_max = op == ReduceOp::max;
    if (logic) return tile::binary(is_max ? Op::lor : Op::land, acc, y);
    return tile::call(is_max ? "max" : "min", {dtype, 1}, {acc, y});
  }
  ReduceOp op;
  bool two_part = false;  // `acc` carries what it loses in `rest`

  void begin(Block& out) const {
    out.push_back(tile::Alloc{tile::Space::reg, {dtype, 1}, "acc", {}});
    out.push_back(tile::Assign{"acc", {}, start});
    if (!two_part) return;
    out.push_back(tile::Alloc{tile::Space::reg, {dtype, 1}, "rest", {}});
    out.push_back(tile::Assign{"rest", {}, tile::imm(0, {dtype, 1})});
  }
  void add(const Expr& x, Block& out) const {
    const Expr acc = tile::var("acc", {dtype, 1}), rest = tile::var("rest", {dtype, 1});
    if (two_part)
      out.push_back(tile::CallStmt{op == ReduceOp::sum ? "kw_add" : "kw_times", {acc, rest, x}});
    else
      out.push_back(tile::Assign{"acc", {}, step(acc, x)});
  }
  Expr value() const {
    const Expr acc = tile::var("acc", {dtype, 1});
    return two_part && op == ReduceOp::prod ? acc + tile::var("rest", {dtype, 1}) : acc;
  }
};

Combine combine_of(ReduceOp op, DType dtype, bool gpu) {
  const DType d = compute_dtype(dtype), wide = accumulator_dtype(d, gpu);
  const bool two_part = gpu && is_float(d);
  if (op == ReduceOp::sum) return {wide, tile::imm(0, {wide, 1}), op, two_part};
  if (op == ReduceOp::prod) return {wide, tile::imm(1, {wide, 1}), op, two_part};
  return {d, op == ReduceOp::max ? lowest(d) : highest(d), op};
}

ReduceOp reduce_op(graph::ScanOp op) {
  constexpr ReduceOp rows[] = {ReduceOp::sum, ReduceOp::prod, ReduceOp::max, ReduceOp::min};
  return rows[static_cast<size_t>(op)];
}

class AnchorLowering {
 public:
  AnchorLowering(const graph::Graph& graph, const Piece& piece, NodeId anchor, const Facts& facts, std::string name)
      : graph_(graph),
        node_(graph[anchor]),
        anchor_(anchor),
        facts_(facts),
        name_(std::move(name)),
        reader_(graph, piece) {}

  AnchorKernels kernels() {
    if (const auto* r = std::get_if<graph::ReduceAttr>(&node_.attr)) {
      r->op == ReduceOp::argmax || r->op == ReduceOp::argmin ? arg_reduce(*r) : reduce(*r);
    } else if (const auto* c = std::get_if<graph::ContractAttr>(&node_.attr)) {
      contract(*c);
    } else if (const auto* s = std::get_if<graph::ScanAttr>(&node_.attr)) {
      scan(*s);
    } else if (const auto* u = std::get_if<graph::ScatterAttr>(&node_.attr)) {
      scatter(*u);
    } else {
      check(node_.is<graph::SortAttr>(), "no loop nest for this node");
      sort(node_.as<graph::SortAttr>());
    }
    return std::move(made_);
  }

 private:
  /// A kernel whose tasks share the indices [0, count) of `var`; `work`: flops an index.
  void emit_kernel(const std::string& name, const std::string& var, int64_t count, double work, Block body,
                   std::vector<tile::Param> extra = {}) {
    if (gpu()) return emit_threads(name, var, count, std::move(body), std::move(extra));
    const double least = 16384 / std::max(work, 1.0);
    const int64_t even = (count + facts_.threads * 4 - 1) / (facts_.threads * 4);
    const int64_t chunk = std::max<int64_t>({1, static_cast<int64_t>(least), even});
    const int64_t tasks = std::max<int64_t>(1, (count + chunk - 1) / chunk);
    tile::Function f;
    f.name = name;
    f.params = kernel_params(graph_, reader_, {anchor_});
    f.params.insert(f.params.end(), extra.begin(), extra.end());
    const Expr from = tile::index_var("task", tasks) * chunk;
    Block shell;
    shell.push_back(tile::loop(Bind::serial, var, from, tile::min_of(from + chunk, count), std::move(body)));
    if (count > 0) f.body.push_back(tile::loop(Bind::grid, "task", 0, tasks, std::move(shell)));
    Launch launch;
    launch.kernel = name;
    launch.args = launch_args(f.params);
    launch.groups = {tasks, 1, 1};
    made_.functions.push_back(std::move(f));
    made_.launches.push_back(std::move(launch));
  }

  bool gpu() const { return facts_.dialect == "msl"; }

  void emit_threads(const std::string& name, const std::string& var, int64_t count, Block body,
                    std::vector<tile::Param> extra) {
    tile::Function f;
    f.name = name;
    f.params = kernel_params(graph_, reader_, {anchor_});
    f.params.insert(f.params.end(), extra.begin(), extra.end());
    Launch launch;
    launch.args = launch_args(f.params);
    place_grid(thread_grid(var, count, std::move(body)), f, launch);
    made_.functions.push_back(std::move(f));
    made_.launches.push_back(std::move(launch));
  }

  void store(Block& block, const Coords& at, const Expr& value) const {
    block.push_back(tile::Store{buffer_name(anchor_),
                                node_.dtype,
                                {linear_index(node_.shape, at)},
                                tile::cast(value, compute_dtype(node_.dtype))});
  }

  /// Serial loops over `extents` with variables prefix0, prefix1, ... round `body`.
  static Block nested(const Shape& extents, const std::string& prefix, Block body) {
    for (size_t i = extents.size(); i-- > 0;)
      body = {tile::loop(Bind::serial, fmt::format("{}{}", prefix, i), 0, extents[i], std::move(body))};
    return body;
  }
  static Coords variables(const Shape& extents, const std::string& prefix) {
    Coords at;
    for (size_t i = 0; i < extents.size(); ++i)
      at.push_back(tile::index_var(fmt::format("{}{}", prefix, i), extents[i]));
    return at;
  }
  Coords output_coords() const {
    return coords_of(node_.shape, tile::index_var("o", std::max<int64_t>(element_count(node_.shape), 1)));
  }

  static bool holds(const std::vector<int>& axes, size_t axis) {
    return std::find(axes.begin(), axes.end(), static_cast<int>(axis)) != axes.end();
  }

  /// Input coordinates: reduced axes from `inner`, the others from `outer`, in order.
  static Coords joined(size_t rank, const std::vector<int>& axes, const Coords& outer, const Coords& inner) {
    Coords at;
    size_t i = 0, o = 0;
    for (size_t axis = 0; axis < rank; ++axis) at.push_back(holds(axes, axis) ? inner[i++] : outer[o++]);
    return at;
  }

  void reduce(const graph::ReduceAttr& r) {
    const Shape& from = graph_[node_.inputs[0]].shape;
    Shape extents;
    for (int axis : r.axes) extents.push_back(from[static_cast<size_t>(axis)]);
    const Combine combine = combine_of(r.op, node_.dtype, gpu());
    const Coords outer = output_coords();
    Block inner;
    const Expr x = reader_.read(node_.inputs[0], joined(from.size(), r.axes, outer, variables(extents, "r")), inner);
    accumulate(combine, x, extents, std::move(inner), outer);
  }

  void accumulate(const Combine& combine, const Expr& x, const Shape& extents, Block inner, const Coords& outer) {
    combine.add(x, inner);
    Block body;
    combine.begin(body);
    for (tile::Stmt& s : nested(extents, "r", std::move(inner))) body.push_back(std::move(s));
    store(body, outer, combine.value());
    emit_kernel(name_, "o", element_count(node_.shape), static_cast<double>(element_count(extents)), std::move(body));
  }

  void arg_reduce(const graph::ReduceAttr& r) {
    const Shape& from = graph_[node_.inputs[0]].shape;
    const Shape extents{from[static_cast<size_t>(r.axes[0])]};
    const DType d = compute_dtype(graph_[node_.inputs[0]].dtype);
    const bool largest = r.op == ReduceOp::argmax;
    const Coords outer = output_coords();
    Block inner;
    const Expr x = reader_.read(node_.inputs[0], joined(from.size(), r.axes, outer, variables(extents, "r")), inner);
    const Expr best = tile::var("best", {d, 1}), index = tile::index_var("r0", extents[0]);
    Expr better = largest ? tile::binary(Op::lt, best, x) : tile::binary(Op::lt, x, best);
    if (is_float(d)) {  // the first NaN wins
      const Expr nan = tile::call("is_nan", tile::bool_type, {x}), had = tile::call("is_nan", tile::bool_type, {best});
      better = tile::binary(Op::lor, better, tile::binary(Op::land, nan, tile::unary(Op::lnot, had)));
    }
    inner.push_back(tile::branch(better, {tile::Assign{"best", {}, x}, tile::Assign{"where", {}, index}}));
    Block body{tile::Alloc{tile::Space::reg, {d, 1}, "best", {}},
               tile::Assign{"best", {}, largest ? lowest(d) : highest(d)},
               tile::Alloc{tile::Space::reg, tile::index_type, "where", {}}, tile::Assign{"where", {}, Expr(0)}};
    for (tile::Stmt& s : nested(extents, "r", std::move(inner))) body.push_back(std::move(s));
    store(body, outer, tile::var("where", tile::index_type));
    emit_kernel(name_, "o", element_count(node_.shape), static_cast<double>(extents[0]), std::move(body));
  }

  void contract(const graph::ContractAttr& c) {
    std::map<int, int64_t> size;
    for (size_t i = 0; i < c.a.size(); ++i) size[c.a[i]] = graph_[node_.inputs[0]].shape[i];
    for (size_t i = 0; i < c.b.size(); ++i) size[c.b[i]] = graph_[node_.inputs[1]].shape[i];
    std::map<int, Expr> at;
    const Coords outer = output_coords();
    for (size_t i = 0; i < c.out.size(); ++i) at[c.out[i]] = outer[i];
    Shape extents;
    for (const auto& [label, extent] : size) {
      if (at.contains(label)) continue;
      at[label] = tile::index_var(fmt::format("r{}", extents.size()), extent);
      extents.push_back(extent);
    }
    auto coords = [&](const std::vector<int>& labels) {
      Coords list;
      for (int label : labels) list.push_back(at.at(label));
      return list;
    };
    Block inner;
    const Combine combine = combine_of(ReduceOp::sum, node_.dtype, gpu());
    const Expr x = tile::cast(reader_.read(node_.inputs[0], coords(c.a), inner), combine.dtype);
    const Expr y = tile::cast(reader_.read(node_.inputs[1], coords(c.b), inner), combine.dtype);
    accumulate(combine, x * y, extents, std::move(inner), outer);
  }

  void scan(const graph::ScanAttr& s) {
    const auto axis = static_cast<size_t>(s.axis);
    Shape lines = node_.shape;
    lines.erase(lines.begin() + s.axis);
    const int64_t count = element_count(lines);
    Coords at = coords_of(lines, tile::index_var("o", std::max<int64_t>(count, 1)));
    at.insert(at.begin() + s.axis, tile::index_var("r0", node_.shape[axis]));
    const Combine combine = combine_of(reduce_op(s.op), node_.dtype, gpu());
    Block inner;
    const Expr x = reader_.read(node_.inputs[0], at, inner);
    combine.add(x, inner);
    store(inner, at, combine.value());
    Block body;
    combine.begin(body);
    for (tile::Stmt& st : nested({node_.shape[axis]}, "r", std::move(inner))) body.push_back(std::move(st));
    emit_kernel(name_, "o", count, static_cast<double>(node_.shape[axis]), std::move(body));
  }

  void scatter(const graph::ScatterAttr& s) {
    Block copy;
    const Coords at = output_coords();
    store(copy, at, reader_.read(node_.inputs[0], at, copy));
    emit_kernel(name_ + "_base", "o", element_count(node_.shape), 1, std::move(copy));
    reader_.forget();
    const Shape& updates = graph_[node_.inputs[1]].shape;
    const Coords from = coords_of(updates, tile::index_var("o", std::max<int64_t>(element_count(updates), 1)));
    Block body;
    const Coords to = target_coords(s, from, body);
    const Expr x = reader_.read(node_.inputs[1], from, body);
    const Expr place = linear_index(node_.shape, to);
    store(body, to, merged(s.op, tile::load(buffer_name(anchor_), node_.dtype, {place}), x));
    // One task: equal indices meet in the order of the updates.
    serial_kernel(name_, element_count(updates), std::move(body));
  }

  void serial_kernel(const std::string& name, int64_t count, Block body) {
    emit_kernel(name, "o", count, 1e18, {});
    tile::Function& f = made_.functions.back();
    f.body.clear();
    f.body.push_back(tile::loop(Bind::serial, "o", 0, count, std::move(body)));
    f.group = 1;
    made_.launches.back().groups = {1, 1, 1};
    made_.launches.back().group = {1, 1, 1};
  }

  Coords target_coords(const graph::ScatterAttr& s, const Coords& from, Block& body) {
    const size_t place = static_cast<size_t>(s.axes[0]), index_rank = graph_[node_.inputs[2]].shape.size();
    const auto first = from.begin() + static_cast<std::ptrdiff_t>(place);
    const Coords index_at(first, first + static_cast<std::ptrdiff_t>(index_rank));
    Coords to;
    size_t next = 0;
    for (size_t axis = 0; axis < node_.shape.size(); ++axis) {
      if (next == place) next += index_rank;
      const auto found = std::find(s.axes.begin(), s.axes.end(), static_cast<int>(axis));
      if (found == s.axes.end()) {
        to.push_back(from[next++]);
        continue;
      }
      const Expr index = reader_.read(node_.inputs[static_cast<size_t>(found - s.axes.begin()) + 2], index_at, body);
      const Expr safe = tile::min_of(tile::max_of(tile::cast(index, DType::i64), 0), node_.shape[axis] - 1);
      const std::string name = fmt::format("to{}", axis);
      body.push_back(tile::Let{name, safe});
      to.push_back(tile::index_var(name, node_.shape[axis]));
    }
    return to;
  }

  Expr merged(graph::ScatterOp op, const Expr& old, const Expr& x) const {
    constexpr ReduceOp rows[] = {ReduceOp::sum, ReduceOp::sum, ReduceOp::prod, ReduceOp::max, ReduceOp::min};
    if (op == graph::ScatterOp::set) return x;
    Combine combine = combine_of(rows[static_cast<size_t>(op)], node_.dtype, gpu());
    combine.dtype = compute_dtype(node_.dtype);
    return combine.step(old, x);
  }

  void sort(const graph::SortAttr& s) {
    const Shape& from = graph_[node_.inputs[0]].shape;
    const int64_t n = from[static_cast<size_t>(s.axis)], k = node_.shape[static_cast<size_t>(s.axis)];
    Shape lines = from;
    lines.erase(lines.begin() + s.axis);
    const int64_t count = element_count(lines);
    const DType d = compute_dtype(graph_[node_.inputs[0]].dtype);
    const DType key = d == DType::boolean ? DType::u8 : d;
    std::vector<tile::Param> extra;
    for (const auto& [what, dtype] : {std::pair{"keys", key}, {"order", DType::i64}, {"spare", DType::i64}}) {
      Buffer b;
      b.name = name_ + "_" + what;
      b.dtype = dtype;
      b.shape = {count, std::max<int64_t>(n, 1)};
      extra.push_back({b.name, dtype, true, true});
      made_.scratch.push_back(std::move(b));
    }
    const Expr line = tile::index_var("o", std::max<int64_t>(count, 1)), base = line * n;
    Coords at = coords_of(lines, line);
    at.insert(at.begin() + s.axis, tile::index_var("r0", n));
    Block fill;
    const Expr x = reader_.read(node_.inputs[0], at, fill);
    fill.push_back(tile::Store{extra[0].name, key, {base + at[static_cast<size_t>(s.axis)]}, tile::cast(x, key)});
    Block body = nested({n}, "r", std::move(fill));
    auto array = [&](size_t i) { return tile::var(extra[i].name, {extra[i].dtype, 1}); };
    body.push_back(tile::CallStmt{
        "kw_sort_line", {array(0), array(1), array(2), base, Expr(n), tile::imm(s.largest, tile::bool_type)}});
    Coords to = at;
    to[static_cast<size_t>(s.axis)] = tile::index_var("r0", k);
    Block copy;
    const Expr index = tile::load(extra[1].name, DType::i64, {base + to[static_cast<size_t>(s.axis)]});
    store(copy, to, index);
    for (tile::Stmt& st : nested({k}, "r", std::move(copy))) body.push_back(std::move(st));
    if (!gpu()) made_.text = sort_text;  // a helper of the Metal prelude
    emit_kernel(name_, "o", count, static_cast<double>(n) * 20, std::move(body), std::move(extra));
  }

  static constexpr const char* sort_text = R"(
// Stable bottom-up merge sort of indices by key; NaN counts as largest.
template <class T>
static bool kw_sorts_before(T a, T b, bool largest) {
  return largest ? (a > b || (a != a && b == b)) : (a < b || (a == a && b != b));
}
template <class T>
static void kw_sort_line(T* keys, int64_t* order, int64_t* spare, int64_t base, int64_t n, bool largest) {
  const T* key = keys + base;
  int64_t *from = order + base, *to = spare + base;
  for (int64_t i = 0; i < n; ++i) from[i] = i;
  for (int64_t width = 1; width < n; width *= 2) {
    for (int64_t lo = 0; lo < n; lo += 2 * width) {
      const int64_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
      int64_t a = lo, b = mid;
      for (int64_t i = lo; i < hi; ++i)
        to[i] = b < hi && (a >= mid || kw_sorts_before(key[from[b]], key[from[a]], largest)) ? from[b++] : from[a++];
    }
    int64_t* swap = from;
    from = to;
    to = swap;
  }
  if (from != order + base)
    for (int64_t i = 0; i < n; ++i) order[base + i] = from[i];
}
)";

  const graph::Graph& graph_;
  const graph::Node& node_;
  const NodeId anchor_;
  const Facts& facts_;
  const std::string name_;
  ValueReader reader_;
  AnchorKernels made_;
};

}  // namespace

AnchorKernels lower_anchor(const graph::Graph& graph, const Piece& piece, NodeId anchor, const Facts& facts,
                           const std::string& name) {
  return AnchorLowering(graph, piece, anchor, facts, name).kernels();
}

double anchor_work(const graph::Graph& graph, NodeId anchor) {
  const graph::Node& n = graph[anchor];
  if (const auto* c = std::get_if<graph::ContractAttr>(&n.attr)) {
    std::map<int, int64_t> size;
    for (size_t i = 0; i < c->a.size(); ++i) size[c->a[i]] = graph[n.inputs[0]].shape[i];
    for (size_t i = 0; i < c->b.size(); ++i) size[c->b[i]] = graph[n.inputs[1]].shape[i];
    double work = 2;
    for (const auto& [label, extent] : size) work *= static_cast<double>(extent);
    return work;
  }
  double work = static_cast<double>(element_count(n.shape));
  for (NodeId in : n.inputs) work = std::max(work, static_cast<double>(element_count(graph[in].shape)));
  return n.is<graph::SortAttr>() ? 20 * work : work;
}

}  // namespace kw::kernel::schedule
