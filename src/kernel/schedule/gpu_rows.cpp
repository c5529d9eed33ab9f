#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/result.h"
#include "kernel/schedule/gemm_problem.h"
#include "kernel/schedule/gpu.h"
#include "kernel/schedule/row_domain.h"

/// Reductions over rows with what surrounds them in one kernel: a thread, a simdgroup or a threadgroup a row.
namespace kw::kernel::schedule {
namespace {

using graph::NodeId;
using graph::ReduceOp;
using tile::Bind;
using tile::Block;
using tile::Expr;
using tile::Space;

constexpr int simd_width = 32, rows_a_group = 8;  // of simdgroups with a row each

bool is_simple(const graph::Graph& graph, NodeId id) {
  const ReduceOp op = graph[id].as<graph::ReduceAttr>().op;
  return op != ReduceOp::argmax && op != ReduceOp::argmin && compute_dtype(graph[id].dtype) == DType::f32;
}

class GpuRowKernel {
 public:
  /// width: threads a row, 1, 32 or a multiple of 32.
  GpuRowKernel(const Task& task, const RowDomain& domain, int width)
      : task_(task), graph_(task.graph), domain_(domain), width_(width), reader_(task.graph, task.piece) {}

  const std::string& fault() const { return fault_; }

  Lowered lower() {
    tile::Function f;
    Launch launch;
    f.name = task_.name;
    Block body;
    row_ = tile::index_var("row", std::max<int64_t>(domain_.rows, 1));
    passes(body);
    f.params = kernel_params(graph_, reader_, task_.piece.outputs);
    launch.args = launch_args(f.params);
    launch.kernel = f.name;
    if (width_ == 1)
      place_grid(thread_grid("row", domain_.rows, std::move(body)), f, launch);
    else
      place_rows(std::move(body), f, launch);
    Lowered lowered;
    lowered.functions.push_back(std::move(f));
    lowered.steps.emplace_back(std::move(launch));
    return lowered;
  }

 private:
  bool whole_group() const { return width_ > simd_width; }

  /// Every row has its simdgroup, or its threadgroup.
  void place_rows(Block body, tile::Function& f, Launch& launch) {
    const int64_t each = whole_group() ? 1 : rows_a_group, groups = (domain_.rows + each - 1) / each;
    f.group = whole_group() ? width_ : simd_width * rows_a_group;
    Block lanes{tile::loop(Bind::lane, "lane", 0, simd_width, std::move(body))};
    Block mine;
    const Expr at = tile::index_var("at_group", groups), sg = tile::index_var("sg", f.group / simd_width);
    mine.push_back(tile::Let{"row", whole_group() ? at : at * each + sg});
    if (whole_group() || domain_.rows % each == 0)
      mine.insert(mine.end(), lanes.begin(), lanes.end());
    else
      mine.push_back(tile::branch(tile::index_var("row", groups * each) < domain_.rows, std::move(lanes)));
    Block simds{tile::loop(Bind::simd, "sg", 0, f.group / simd_width, std::move(mine))};
    f.body = std::move(shared_);
    f.body.push_back(tile::loop(Bind::grid, "at_group", 0, groups, std::move(simds)));
    launch.groups = {groups, 1, 1};
    launch.group = {f.group, 1, 1};
  }

  void passes(Block& out) {
    reader_.forget();
    reduced_values(0, out);
    for (int number = 0; number < domain_.passes; ++number) pass(number, out);
    store_reduced(out);
  }

  Coords at(const Coords& symbolic, const Expr& column) const { return domain_.at(symbolic, row_, column); }
  static std::string name(const char* prefix, NodeId id) { return fmt::format("{}{}", prefix, id); }
  ReduceOp op(NodeId id) const { return graph_[id].as<graph::ReduceAttr>().op; }
  static tile::Type f32() { return {DType::f32, 1}; }

  Expr identity(NodeId id) const {
    const double values[] = {0, 1, -INFINITY, INFINITY};
    return tile::imm(values[static_cast<size_t>(op(id))], f32());
  }

  Expr joined(NodeId id, const Expr& a, const Expr& b) const {
    if (op(id) == ReduceOp::sum) return a + b;
    if (op(id) == ReduceOp::prod) return a * b;
    return tile::call(op(id) == ReduceOp::max ? "max" : "min", f32(), {a, b});
  }

  bool two_part(NodeId id) const { return width_ == 1 && (op(id) == ReduceOp::sum || op(id) == ReduceOp::prod); }

  void pass(int number, Block& out) {
    std::vector<NodeId> now;
    for (NodeId id : domain_.reduces)
      if (domain_.stage.at(id) == number + 1) now.push_back(id);
    std::vector<NodeId> stores;
    for (NodeId id : task_.piece.outputs)
      if (domain_.full.contains(id) && domain_.stage.at(id) == number) stores.push_back(id);
    if (now.empty() && stores.empty()) return;
    for (NodeId id : now) begin(id, out);
    walk(now, stores, out);
    reader_.forget();
    for (NodeId id : now) combine(id, out);
    reduced_values(number + 1, out);
  }

  void begin(NodeId id, Block& out) const {
    out.push_back(tile::Alloc{Space::reg, f32(), name("sum", id), {}});
    out.push_back(tile::Assign{name("sum", id), {}, identity(id)});
    if (!two_part(id)) return;
    out.push_back(tile::Alloc{Space::reg, f32(), name("rest", id), {}});
    out.push_back(tile::Assign{name("rest", id), {}, tile::imm(0, f32())});
  }

  /// The columns, shared out so that neighbouring threads take neighbouring ones.
  void walk(const std::vector<NodeId>& now, const std::vector<NodeId>& stores, Block& out) {
    const Expr column = tile::index_var("c", std::max<int64_t>(domain_.columns, 1));
    Block body;
    reader_.forget();
    for (NodeId id : now) {
      const NodeId from = graph_[id].inputs[0];
      const Expr x = tile::cast(reader_.read(from, at(domain_.full.at(from), column), body), DType::f32);
      const Expr sum = tile::var(name("sum", id), f32());
      if (two_part(id))
        body.push_back(tile::CallStmt{op(id) == ReduceOp::sum ? "kw_add" : "kw_times",
                                      {sum, tile::var(name("rest", id), f32()), x}});
      else
        body.push_back(tile::Assign{name("sum", id), {}, joined(id, sum, x)});
    }
    for (NodeId id : stores) store(id, at(domain_.full.at(id), column), body);
    Expr from = 0;
    if (width_ == simd_width) from = tile::index_var("lane", simd_width);
    if (whole_group())
      from = tile::index_var("sg", width_ / simd_width) * simd_width + tile::index_var("lane", simd_width);
    out.push_back(tile::loop(Bind::serial, "c", from, domain_.columns, std::move(body), width_));
  }

  void store(NodeId id, const Coords& place, Block& out) {
    const graph::Node& n = graph_[id];
    const Expr value = tile::cast(reader_.read(id, place, out), compute_dtype(n.dtype));
    out.push_back(tile::Store{buffer_name(id), n.dtype, {linear_index(n.shape, place)}, value});
  }

  /// Every thread of the row learns the whole.
  void combine(NodeId id, Block& out) {
    Expr whole = tile::var(name("sum", id), f32());
    if (two_part(id) && op(id) == ReduceOp::prod) whole = whole + tile::var(name("rest", id), f32());
    if (width_ == 1) {
      out.push_back(tile::Let{name("value", id), whole});
    } else if (!whole_group()) {
      out.push_back(tile::LaneReduce{name("value", id), op(id), whole});
    } else {
      combine_group(id, whole, out);
    }
    values_[id] = tile::var(name("value", id), f32());
    define(id);
  }

  void combine_group(NodeId id, const Expr& whole, Block& out) {
    const int simds = width_ / simd_width;
    const std::string parts = name("parts", id), part = name("part", id), mine = name("mine", id);
    const Expr lane = tile::index_var("lane", simd_width);
    shared_.push_back(tile::Alloc{Space::shared, f32(), parts, {simds}});
    out.push_back(tile::LaneReduce{part, op(id), whole});
    out.push_back(
        tile::branch(tile::binary(tile::Op::eq, lane, 0),
                     {tile::Store{parts, DType::f32, {tile::index_var("sg", simds)}, tile::var(part, f32())}}));
    out.push_back(tile::Barrier{Space::shared});
    const Expr inside = tile::min_of(lane, simds - 1);
    out.push_back(tile::Let{
        mine, simds == simd_width ? tile::load(parts, DType::f32, {lane})
                                  : tile::select(lane < simds, tile::load(parts, DType::f32, {inside}), identity(id))});
    out.push_back(tile::LaneReduce{name("value", id), op(id), tile::var(mine, f32())});
  }

  void define(NodeId id) {
    reader_.define(id, [this, id](const Coords& where) {
      const Coords here = at(domain_.reduced.at(id), Expr(0));
      for (size_t i = 0; i < where.size(); ++i)
        if (!same(where[i], here[i])) fault_ = "a reduced value is read at another row";
      return values_.at(id);
    });
  }

  /// Maps of one value a row, as soon as they are known.
  void reduced_values(int stage, Block& out) {
    for (NodeId id : task_.piece.nodes) {
      const graph::Node& n = graph_[id];
      if (!domain_.reduced.contains(id) || domain_.stage.at(id) != stage) continue;
      if (!n.is<graph::MapAttr>() && !n.is<graph::CastAttr>()) continue;
      values_[id] = reader_.read(id, at(domain_.reduced.at(id), Expr(0)), out);
      define(id);
    }
  }

  void store_reduced(Block& out) {
    Block body;
    reader_.forget();
    for (NodeId id : task_.piece.outputs)
      if (domain_.reduced.contains(id)) store(id, at(domain_.reduced.at(id), Expr(0)), body);
    if (body.empty()) return;
    Expr first = tile::imm(1, tile::bool_type);
    if (width_ > 1) first = tile::binary(tile::Op::eq, tile::index_var("lane", simd_width), 0);
    if (whole_group()) first = first && tile::binary(tile::Op::eq, tile::index_var("sg", width_ / simd_width), 0);
    if (width_ == 1)
      out.insert(out.end(), body.begin(), body.end());
    else
      out.push_back(tile::branch(first, std::move(body)));
  }

  const Task& task_;
  const graph::Graph& graph_;
  const RowDomain& domain_;
  const int width_;
  ValueReader reader_;
  Expr row_;
  Block shared_;
  std::map<NodeId, Expr> values_;
  std::string fault_;
};

class GpuRows : public Family {
 public:
  std::string name() const override { return "gpu_rows"; }
  bool speaks(const Facts& facts) const override { return facts.dialect == "msl"; }

  bool covers(const graph::Graph& graph, const Piece& piece) const override {
    const auto domain = row_domain(graph, piece);
    if (!domain || domain->rows == 0 || domain->columns == 0) return false;
    if (!std::all_of(domain->reduces.begin(), domain->reduces.end(), [&](NodeId id) { return is_simple(graph, id); }))
      return false;
    const Facts facts;
    const Task task{graph, piece, facts, "probe"};
    GpuRowKernel probe(task, *domain, simd_width);
    (void)probe.lower();
    return probe.fault().empty();
  }

  std::vector<Schedule> space(const graph::Graph& graph, const Piece& piece, const Facts&) const override {
    const int64_t columns = row_domain(graph, piece)->columns;
    std::vector<Schedule> list;
    for (int width : {1, 32, 128, 256, 1024})
      if (width <= 32 || columns > width) list.push_back({name(), {{"width", width}}});
    return list;
  }

  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule& schedule,
                     const Facts& facts) const override {
    const RowDomain domain = *row_domain(graph, piece);
    const auto width = static_cast<double>(schedule.get("width", 1));
    const double rows = static_cast<double>(domain.rows), columns = static_cast<double>(domain.columns);
    const NodeId from = graph[domain.reduces.front()].inputs[0];
    const Coords at =
        domain.at(domain.full.at(from), tile::index_var("row", domain.rows), tile::index_var("c", domain.columns));
    const bool along = is_dense(value_stride(graph, piece, from, at, "c"));
    const bool across = is_dense(value_stride(graph, piece, from, at, "row"));
    // Lanes that are not side by side in memory fetch a line each.
    constexpr double scattered = 6, again = 0.3;  // a later pass finds much of the row in caches
    const bool together = width > 1 ? along : across || columns == 1;
    const double bytes = piece_bytes(graph, piece) * (together ? 1 : scattered) * (1 + again * (domain.passes - 1));
    const double steps = std::ceil(columns / width) + (width > 32 ? 24 : width > 1 ? 8 : 0);
    const double flops = rows * width * steps * inlined_cost(graph, piece) * (width > 1 ? 1 : 2);
    return gpu_roofline_s(flops, bytes, rows * width, 1, facts);
  }

  Result<Lowered> lower(const Task& task, const Schedule& schedule) const override {
    const auto domain = row_domain(task.graph, task.piece);
    if (!domain) return Failure{"schedule.lower", "no rows in this piece", ""};
    GpuRowKernel kernel(task, *domain, static_cast<int>(schedule.get("width", 1)));
    Lowered lowered = kernel.lower();
    if (!kernel.fault().empty()) return Failure{"schedule.lower", kernel.fault(), ""};
    return lowered;
  }

 private:
  static bool is_dense(const tile::Stride& stride) { return stride.known && std::abs(stride.step) <= 1; }
};

}  // namespace

std::unique_ptr<Family> make_gpu_rows() { return std::make_unique<GpuRows>(); }

}  // namespace kw::kernel::schedule
