#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/result.h"
#include "kernel/schedule/gemm_problem.h"
#include "kernel/schedule/gpu.h"

/// Products, and convolutions as products over their windows, on the 8x8 matrices that simdgroups hold.
namespace kw::kernel::schedule {
namespace {

using tile::Bind;
using tile::Block;
using tile::Expr;
using tile::Space;

/// A threadgroup computes bm x bn outputs, bk terms at a time; its sm x sn simdgroups share them out.
struct TileShape {
  int64_t bm = 32, bn = 32, bk = 16;
  int sm = 2, sn = 2;
  int threads() const { return 32 * sm * sn; }
  int64_t rows() const { return bm / (8 * sm); }     // fragments of a simdgroup
  int64_t columns() const { return bn / (8 * sn); }  // side by side
};
constexpr std::array<TileShape, 4> tile_shapes = {
    {{64, 64, 16, 2, 2}, {32, 64, 16, 2, 2}, {32, 32, 16, 2, 2}, {16, 32, 16, 1, 2}}};
/// So many terms are summed one after the other; their sums are summed apart, which keeps rounding errors small.
constexpr int64_t run_terms = 128;
constexpr int64_t pad = 4;  // elements between rows of a tile, so that columns fall into other banks

TileShape shape_of(const Schedule& s) {
  return {s.get("bm", 32), s.get("bn", 32), s.get("bk", 16), static_cast<int>(s.get("sm", 2)),
          static_cast<int>(s.get("sn", 2))};
}

Expr at_most(const std::string& name, int64_t extent) { return tile::index_var(name, std::max<int64_t>(extent, 1)); }

class GpuGemmLowering {
 public:
  GpuGemmLowering(const Task& task, const GemmProblem& problem, const TileShape& shape)
      : task_(task), problem_(problem), shape_(shape), reader_(task.graph, task.piece) {}

  Lowered lower() {
    Lowered lowered;
    tile::Function f;
    f.name = task_.name;
    f.group = shape_.threads();
    Block inside = simdgroup_body();
    Block shell{tile::loop(Bind::simd, "sg", 0, shape_.sm * shape_.sn, std::move(inside))};
    const int64_t groups = tiles_m() * tiles_n() * problem_.outer.size();
    f.body = shared_arrays();
    f.body.push_back(tile::loop(Bind::grid, "tile", 0, groups, std::move(shell)));
    f.params = kernel_params(task_.graph, reader_, task_.piece.outputs);
    Launch launch;
    launch.kernel = f.name;
    launch.args = launch_args(f.params);
    launch.groups = {groups, 1, 1};
    launch.group = {shape_.threads(), 1, 1};
    lowered.functions.push_back(std::move(f));
    lowered.steps.emplace_back(std::move(launch));
    return lowered;
  }

 private:
  int64_t m() const { return problem_.m.size(); }
  int64_t n() const { return problem_.n.size(); }
  int64_t k() const { return problem_.k.size(); }
  int64_t tiles_m() const { return (m() + shape_.bm - 1) / shape_.bm; }
  int64_t tiles_n() const { return (n() + shape_.bn - 1) / shape_.bn; }
  DType stored(const GemmSide& side) const { return task_.graph[side.operand].dtype; }
  int64_t step_a() const { return shape_.bk + pad; }
  int64_t step_b() const { return shape_.bn + pad; }
  int64_t patch_width() const { return shape_.columns() * 8; }

  Block shared_arrays() const {
    auto array = [](const char* name, DType dtype, int64_t count) {
      return tile::Alloc{Space::shared, {dtype, 1}, name, {count}};
    };
    return {array("ta", stored(problem_.rows), shape_.bm * step_a()),
            array("tb", stored(problem_.columns), shape_.bk * step_b()),
            array("patch", DType::f32, int64_t{shape_.sm} * shape_.sn * 8 * patch_width())};
  }

  static Expr let(Block& out, const std::string& name, const Expr& value, int64_t extent) {
    out.push_back(tile::Let{name, value});
    return at_most(name, extent);
  }

  Block simdgroup_body() {
    Block out;
    const Expr tile = at_most("tile", tiles_m() * tiles_n() * problem_.outer.size());
    m0_ = let(out, "m0", tile / tiles_n() % tiles_m() * shape_.bm, tiles_m() * shape_.bm);
    n0_ = let(out, "n0", tile % tiles_n() * shape_.bn, tiles_n() * shape_.bn);
    outer_ = let(out, "batch", tile / (tiles_m() * tiles_n()), problem_.outer.size());
    const Expr sg = at_most("sg", shape_.sm * shape_.sn);
    row_ = let(out, "row", sg / shape_.sn * (shape_.rows() * 8), shape_.bm);
    column_ = let(out, "column", sg % shape_.sn * (shape_.columns() * 8), shape_.bn);
    out.push_back(tile::Alloc{Space::fragment, {DType::f32, 1}, "acc", {shape_.rows(), shape_.columns()}});
    if (k() <= 2 * run_terms) {
      fill("acc", out);
      out.push_back(tile::loop(Bind::serial, "k0", 0, k(), turn(), shape_.bk));
      epilogue("acc", out);
      return out;
    }
    out.push_back(tile::Alloc{Space::fragment, {DType::f32, 1}, "total", {shape_.rows(), shape_.columns()}});
    fill("total", out);
    Block run;
    fill("acc", run);
    const Expr first = at_most("k1", k());
    run.push_back(tile::loop(Bind::serial, "k0", first, tile::min_of(first + run_terms, k()), turn(), shape_.bk));
    each_fragment(run, [](const Expr& r, const Expr& c) { return tile::FragmentAdd{"total", "acc", {r, c}}; });
    out.push_back(tile::loop(Bind::serial, "k1", 0, k(), std::move(run), run_terms));
    epilogue("total", out);
    return out;
  }

  void fill(const std::string& name, Block& out) const {
    each_fragment(out, [&](const Expr& r, const Expr& c) { return tile::FragmentFill{name, {r, c}, 0}; });
  }

  template <class Make>
  void each_fragment(Block& out, const Make& make) const {
    for (int64_t r = 0; r < shape_.rows(); ++r)
      for (int64_t c = 0; c < shape_.columns(); ++c) out.push_back(make(Expr(r), Expr(c)));
  }

  /// One step of bk terms: both tiles arrive, every simdgroup multiplies its part.
  Block turn() {
    Block out;
    load_tile(true, out);
    load_tile(false, out);
    out.push_back(tile::Barrier{Space::shared});
    Block multiply;
    multiply.push_back(tile::Alloc{Space::fragment, {stored(problem_.rows), 1}, "fa", {shape_.rows()}});
    multiply.push_back(tile::Alloc{Space::fragment, {stored(problem_.columns), 1}, "fb", {shape_.columns()}});
    const Expr kk = at_most("kk", shape_.bk);
    for (int64_t r = 0; r < shape_.rows(); ++r)
      multiply.push_back(tile::FragmentLoad{"fa", {Expr(r)}, "ta", (row_ + 8 * r) * step_a() + kk, step_a()});
    for (int64_t c = 0; c < shape_.columns(); ++c)
      multiply.push_back(tile::FragmentLoad{"fb", {Expr(c)}, "tb", kk * step_b() + column_ + 8 * c, step_b()});
    each_fragment(multiply, [](const Expr& r, const Expr& c) {
      return tile::Mma{"acc", "fa", "fb", {r, c}, {r}, {c}};
    });
    out.push_back(tile::loop(Bind::serial, "kk", 0, shape_.bk, std::move(multiply), 8));
    out.push_back(tile::Barrier{Space::shared});
    return out;
  }

  /// Neighbouring threads take neighbouring elements of the operand's memory: along k, or along the other axis.
  bool runs_along_k(const GemmSide& side, const LabelGroup& group) const {
    LabelValues values = bound(group, at_most("place", group.size()), at_most("depth", k()));
    const Coords at = operand_coords(side, values);
    const tile::Stride along_k = value_stride(task_.graph, task_.piece, side.operand, at, "depth");
    const tile::Stride along = value_stride(task_.graph, task_.piece, side.operand, at, "place");
    if (along.known && along.step == 1) return false;
    return (along_k.known && along_k.step == 1) || k() > group.size();
  }

  LabelValues bound(const LabelGroup& group, const Expr& place, const Expr& depth) const {
    LabelValues values;
    bind_labels(problem_.outer, outer_ ? outer_ : Expr(0), values);
    bind_labels(group, place, values);
    bind_labels(problem_.k, depth, values);
    return values;
  }

  void load_tile(bool rows, Block& out) {
    const GemmSide& side = rows ? problem_.rows : problem_.columns;
    const LabelGroup& group = rows ? problem_.m : problem_.n;
    const int64_t span = rows ? shape_.bm : shape_.bn, bk = shape_.bk;
    const bool along_k = runs_along_k(side, group);
    const Expr e = at_most("e", span * bk);
    Block body;
    const Expr i = let(body, "i", along_k ? e / bk : e % span, span);
    const Expr kk = let(body, "kk", along_k ? e % bk : e / span, bk);
    const Expr place = let(body, "place", (rows ? m0_ : n0_) + i, (group.size() + span - 1) / span * span);
    const Expr depth = let(body, "depth", at_most("k0", k()) + kk, (k() + bk - 1) / bk * bk);
    const tile::Type f32{DType::f32, 1};
    body.push_back(tile::Alloc{Space::reg, f32, "x", {}});
    body.push_back(tile::Assign{"x", {}, tile::imm(0, f32)});
    Block read;
    reader_.forget();
    const LabelValues values = bound(group, at_most("place", group.size()), at_most("depth", k()));
    const Expr value = reader_.read(side.operand, operand_coords(side, values), read);
    read.push_back(tile::Assign{"x", {}, tile::cast(value, DType::f32)});
    guard(body, (place < group.size()) && (depth < k()), std::move(read));
    const Expr to = rows ? i * step_a() + kk : kk * step_b() + i;
    body.push_back(tile::Store{rows ? "ta" : "tb", stored(side), {to}, tile::var("x", f32)});
    out.push_back(tile::loop(Bind::block, "e", 0, span * bk, std::move(body)));
    reader_.forget();
  }

  static void guard(Block& out, const Expr& condition, Block body) {
    if (condition->op == tile::Op::imm && condition->integer)
      out.insert(out.end(), body.begin(), body.end());
    else
      out.push_back(tile::branch(condition, std::move(body)));
  }

  /// A row of fragments at a time goes through the simdgroup's own patch of shared memory, where lanes find elements.
  void epilogue(const std::string& sums, Block& out) {
    const int64_t width = patch_width();
    const Expr base = at_most("sg", shape_.sm * shape_.sn) * (8 * width);
    for (int64_t r = 0; r < shape_.rows(); ++r) {
      for (int64_t c = 0; c < shape_.columns(); ++c)
        out.push_back(tile::FragmentStore{sums, {Expr(r), Expr(c)}, "patch", base + 8 * c, width});
      out.push_back(tile::Barrier{Space::local});
      Block body;
      const Expr e = at_most("e", 8 * width);
      const Expr row = let(body, "y", m0_ + row_ + 8 * r + e / width, tiles_m() * shape_.bm);
      const Expr column = let(body, "x", n0_ + column_ + e % width, tiles_n() * shape_.bn);
      guard(body, (row < m()) && (column < n()), element(base + e));
      Block lanes{tile::loop(Bind::serial, "e", at_most("lane", 32), 8 * width, std::move(body), 32)};
      out.push_back(tile::loop(Bind::lane, "lane", 0, 32, std::move(lanes)));
      if (r + 1 < shape_.rows()) out.push_back(tile::Barrier{Space::local});
    }
  }

  Block element(const Expr& place) {
    Block block;
    reader_.forget();
    reader_.define(problem_.contract, [&](const Coords&) { return tile::load("patch", DType::f32, {place}); });
    LabelValues values = bound(problem_.m, at_most("y", m()), Expr(0));
    bind_labels(problem_.n, at_most("x", n()), values);
    const Coords at = contract_coords(task_.graph, problem_, values);
    const auto reached = epilogue_coords(task_.graph, task_.piece, problem_.contract, at);
    for (graph::NodeId id : task_.piece.outputs) {
      const graph::Node& node = task_.graph[id];
      const Expr value = tile::cast(reader_.read(id, reached.at(id), block), compute_dtype(node.dtype));
      block.push_back(tile::Store{buffer_name(id), node.dtype, {linear_index(node.shape, reached.at(id))}, value});
    }
    reader_.forget();
    return block;
  }

  const Task& task_;
  const GemmProblem& problem_;
  const TileShape shape_;
  ValueReader reader_;
  Expr m0_, n0_, outer_, row_, column_;
};

class GpuGemm : public Family {
 public:
  std::string name() const override { return "gpu_gemm"; }
  bool speaks(const Facts& facts) const override { return facts.dialect == "msl"; }

  bool covers(const graph::Graph& graph, const Piece& piece) const override {
    const auto problem = gemm_problem(graph, piece, false);
    return problem && problem->dtype == DType::f32;
  }

  std::vector<Schedule> space(const graph::Graph&, const Piece&, const Facts&) const override {
    std::vector<Schedule> list;
    for (const TileShape& s : tile_shapes)
      list.push_back({name(), {{"bm", s.bm}, {"bn", s.bn}, {"bk", s.bk}, {"sm", s.sm}, {"sn", s.sn}}});
    return list;
  }

  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule& schedule,
                     const Facts& facts) const override {
    const GemmProblem problem = *gemm_problem(graph, piece, false);
    const TileShape s = shape_of(schedule);
    const auto tiles = [](int64_t size, int64_t tile) {
      const int64_t count = (size + tile - 1) / tile;
      return static_cast<double>(count);
    };
    const double groups =
        tiles(problem.m.size(), s.bm) * tiles(problem.n.size(), s.bn) * static_cast<double>(problem.outer.size());
    const double terms = tiles(problem.k.size(), s.bk) * static_cast<double>(s.bk);
    const double flops = 2 * groups * static_cast<double>(s.bm * s.bn) * terms;
    // A fragment product per pair of loads at the smallest tile; larger ones load less for each.
    const double loads = 0.5 / static_cast<double>(s.rows()) + 0.5 / static_cast<double>(s.columns());
    const double traffic = groups * static_cast<double>(s.bm + s.bn) * terms * 4;
    constexpr double cache_share = 0.25;  // of a tile's bytes that come from memory
    return gpu_roofline_s(flops * (1.25 + loads), piece_bytes(graph, piece) + cache_share * traffic,
                          groups * s.threads() * 4, 1, facts);
  }

  Result<Lowered> lower(const Task& task, const Schedule& schedule) const override {
    const auto problem = gemm_problem(task.graph, task.piece, false);
    if (!problem) return Failure{"schedule.lower", "no product in this piece", ""};
    return GpuGemmLowering(task, *problem, shape_of(schedule)).lower();
  }
};

}  // namespace

std::unique_ptr<Family> make_gpu_gemm() { return std::make_unique<GpuGemm>(); }

}  // namespace kw::kernel::schedule
