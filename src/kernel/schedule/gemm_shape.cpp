#include "kernel/schedule/gemm_shape.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "kernel/schedule/scalar_code.h"
#include "kernel/schedule/window_side.h"

namespace kw::kernel::schedule {
namespace {

constexpr int64_t stack_limit_bytes = 768 << 10;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int lanes_of(const GemmProblem& problem, const Facts& facts) {
  return std::max(1, facts.vector_bytes / (problem.dtype == DType::f64 ? 8 : 4));
}

/// Register tiles worth trying: few rows get a tile of their own height.
std::vector<std::pair<int, int>> tiles(const GemmProblem& problem, const Facts& facts) {
  const int64_t m = problem.m.size();
  const bool wide = facts.vector_registers >= 32;
  std::vector<std::pair<int, int>> result;
  const int tallest = wide ? 14 : 6;
  if (m <= tallest) result.emplace_back(static_cast<int>(m), widest_nv(static_cast<int>(m), facts.vector_registers));
  const std::vector<std::pair<int, int>> usual =
      wide ? std::vector<std::pair<int, int>>{{8, 3}, {14, 2}, {12, 2}, {6, 4}, {9, 3}, {4, 6}}
           : std::vector<std::pair<int, int>>{{6, 2}, {4, 3}, {12, 1}, {2, 5}};
  for (auto tile : usual)
    if (tile.first <= 2 * m) result.push_back(tile);
  // Heights that leave few rows empty: 7 for 49 places, 14 for 196.
  for (int mr = tallest / 2; mr <= tallest; ++mr)
    if (m % mr == 0) result.emplace_back(mr, std::min(4, widest_nv(mr, facts.vector_registers)));
  const int lanes = lanes_of(problem, facts);
  const int64_t vectors = ceil_div(problem.n.size(), lanes);
  for (auto& [mr, nv] : result) nv = static_cast<int>(std::min<int64_t>(nv, vectors));
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

/// Passes over k: all of it where panels stay in the second cache, else parts of equal size.
std::vector<int64_t> passes(const GemmProblem& problem, int width, const Facts& facts) {
  const int64_t k = problem.k.size(), size = problem.dtype == DType::f64 ? 8 : 4;
  std::set<int64_t> result;
  for (int64_t limit : {facts.l2_bytes / 4, facts.l2_bytes / 10, facts.l1_bytes * 3 / 4}) {
    const int64_t longest = std::max<int64_t>(64, limit / (size * width));
    const int64_t count = ceil_div(k, longest);
    result.insert(std::min(k, ceil_div(ceil_div(k, count), 16) * 16));
  }
  return {result.rbegin(), result.rend()};
}

Schedule point(int mr, int nv, int64_t kc, int64_t row_panels, int64_t column_panels, bool swapped, PackAt rows,
               PackAt columns) {
  Schedule s{"gemm", {}};
  s.params = {{"mr", mr},
              {"nv", nv},
              {"kc", kc},
              {"rows", row_panels},
              {"columns", column_panels},
              {"swapped", swapped},
              {"pack_rows", static_cast<int64_t>(rows)},
              {"pack_columns", static_cast<int64_t>(columns)}};
  return s;
}

/// Sizes of a task's part: all, halves, ... for at least one task a thread, and what fits the stack.
std::vector<int64_t> parts(int64_t panels) {
  std::set<int64_t> result;
  for (int64_t count : {1, 2, 4, 8, 16, 32, 64})
    if (count <= panels) result.insert(ceil_div(panels, count));
  return {result.begin(), result.end()};
}

}  // namespace

int64_t GemmShape::stack_bytes() const {
  const int64_t size = micro.dtype == DType::f64 ? 8 : 4;
  int64_t elements = (one_pass ? 1 : task_row_panels * task_column_panels) * micro.mr * micro.width();
  if (rows == PackAt::task) elements += task_row_panels * micro.mr * kc;
  if (columns == PackAt::task) elements += kc * micro.width();
  return elements * size;
}

GemmShape gemm_shape(const GemmProblem& problem, const Schedule& schedule, const Facts& facts) {
  GemmShape shape;
  shape.micro = {static_cast<int>(schedule.get("mr", 8)), static_cast<int>(schedule.get("nv", 2)),
                 lanes_of(problem, facts), problem.dtype};
  shape.swapped = schedule.get("swapped", 0) != 0;
  shape.row_panels = ceil_div(problem.m.size(), shape.micro.mr);
  shape.column_panels = ceil_div(problem.n.size(), shape.micro.width());
  shape.task_row_panels = std::clamp<int64_t>(schedule.get("rows", 1), 1, shape.row_panels);
  shape.task_column_panels = std::clamp<int64_t>(schedule.get("columns", 1), 1, shape.column_panels);
  shape.kc = std::clamp<int64_t>(schedule.get("kc", problem.k.size()), 1, problem.k.size());
  shape.one_pass = shape.kc == problem.k.size();
  shape.rows = static_cast<PackAt>(schedule.get("pack_rows", 0));
  shape.columns = static_cast<PackAt>(schedule.get("pack_columns", 0));
  return shape;
}

Feeds find_feeds(const graph::Graph& graph, const Piece& piece, const GemmProblem& problem, const Facts& facts) {
  Feeds feeds;
  const int lanes = lanes_of(problem, facts);
  feeds.single_store_s = 1e-9;
  for (graph::NodeId id : piece.nodes)
    if (const auto* map = std::get_if<graph::MapAttr>(&graph[id].attr); map && id > problem.contract)
      feeds.single_store_s += 0.6e-9 * expr_cost(map->expr);
  for (bool rows : {true, false}) {
    Feed& feed = rows ? feeds.rows : feeds.columns;
    feed.way = Packer(graph, piece, problem, rows, lanes, lanes, "", "").way();
    if (feed.way == PackWay::along) continue;
    const auto windows = WindowSide::find(graph, piece, problem, rows);
    if (!windows) continue;
    feed.image = true;
    feed.run = std::min<int64_t>(lanes, windows->run_length());
    feed.image_elements = static_cast<double>(windows->elements());
  }
  return feeds;
}

namespace {

/// Seconds on one core to put `panels` of k x width elements into place.
double fill_seconds(const Feed& feed, PackAt at, double panels, double k, double width, double repeats) {
  if (at == PackAt::prepared) return 0;
  const double elements = panels * k * width;
  if (at == PackAt::task && feed.image) {
    const double moves = elements / static_cast<double>(feed.run);
    return repeats * (moves * 1.2e-9 + panels * (200e-9 + k * 4e-9));
  }
  const double each = feed.way == PackWay::along ? 0.15e-9 : feed.way == PackWay::across ? 0.35e-9 : 4e-9;
  return elements * (at == PackAt::task ? each * repeats : each + 0.2e-9);  // a buffer is written and read again
}

/// The multiply-adds of a register tile against the core's bound: few of them wait for loads and for each other.
double tile_slowness(const GemmShape& shape, const Facts& facts) {
  const double mr = shape.micro.mr, nv = shape.micro.nv;
  const double loads = (mr + nv) / (mr * nv);
  const double latency = 10 / (mr * nv);
  // A line of columns serves mr rows: with a panel beyond the first cache it comes at 16 bytes a cycle.
  const bool beyond = shape.kc * shape.micro.width() * 4 > facts.l1_bytes * 3 / 4;
  const double second_cache = beyond ? 8 / mr : 0;
  return std::max({1.0, loads, latency, second_cache}) *
         (1 + 0.01 * nv);  // a wide line of columns leaves the first cache sooner
}

}  // namespace

double gemm_seconds(const GemmProblem& problem, const GemmShape& shape, const Feeds& feeds, double bytes,
                    const Facts& facts) {
  const double mr = shape.micro.mr, nv = shape.micro.nv;
  const double m = static_cast<double>(shape.row_panels) * mr;
  const double n = static_cast<double>(shape.column_panels * shape.micro.width());
  const double k = static_cast<double>(problem.k.size()), outer = static_cast<double>(problem.outer.size());
  const double row_tasks = static_cast<double>(shape.row_tasks()),
               column_tasks = static_cast<double>(shape.column_tasks());
  const double tasks = row_tasks * column_tasks * outer, threads = facts.threads;
  const double balance = std::ceil(tasks / threads) * threads / tasks;
  const double core_flops = facts.flops_per_s / threads * (problem.dtype == DType::f64 ? 0.5 : 1.0);
  const double passes = std::ceil(k / static_cast<double>(shape.kc));
  // Cycles beside the k loop: the call, the epilogue, and where there are passes the tile's way from the second cache.
  const double edges = passes * (10 + mr * nv * (passes > 1 ? 6 : 2)) + mr * nv * 3;
  double core_s = 2 * m * n * k * outer / core_flops * tile_slowness(shape, facts) * (1 + edges / (k * mr * nv / 2));
  core_s += outer * fill_seconds(feeds.rows, shape.rows, static_cast<double>(shape.row_panels), k, mr, column_tasks);
  core_s += outer * fill_seconds(feeds.columns, shape.columns, static_cast<double>(shape.column_panels), k,
                                 shape.micro.width(), row_tasks);
  if (shape.swapped) core_s += m * n * outer * feeds.single_store_s;
  // Columns stream from the last cache once for each block of rows; half of that hides behind the products.
  const double panel_bytes = static_cast<double>(shape.kc) * mr * 4;
  if (shape.columns != PackAt::task) core_s += 0.5 * n * k * outer * 4 * row_tasks / 12e9;
  // Rows stay in the second cache only while a task's block of them fits.
  const double block = panel_bytes * static_cast<double>(shape.task_row_panels);
  if (block > 0.6 * static_cast<double>(facts.l2_bytes)) core_s *= 1.08;
  int launches = 1;
  for (const auto& [feed, at] : {std::pair(feeds.rows, shape.rows), std::pair(feeds.columns, shape.columns)}) {
    const bool image = at == PackAt::task && feed.image;
    launches += at == PackAt::launch || image;
    if (image) core_s += feed.image_elements * 0.3e-9;
  }
  return std::max(core_s * balance / threads, bytes / facts.bytes_per_s) + launches * facts.launch_s +
         tasks * 0.2e-6 / threads;
}

std::vector<Schedule> gemm_space(const graph::Graph& graph, const Piece& piece, const Facts& facts) {
  std::vector<std::pair<double, Schedule>> found;
  const double bytes = piece_bytes(graph, piece);
  for (bool swapped : {false, true}) {
    const auto problem = gemm_problem(graph, piece, swapped);
    if (!problem || (swapped && problem->n.size() < lanes_of(*problem, facts))) continue;
    const Feeds feeds = find_feeds(graph, piece, *problem, facts);
    for (auto [mr, nv] : tiles(*problem, facts)) {
      const int width = nv * lanes_of(*problem, facts);
      const int64_t row_panels = ceil_div(problem->m.size(), mr), column_panels = ceil_div(problem->n.size(), width);
      for (int64_t kc : passes(*problem, width, facts))
        for (int64_t rows : parts(row_panels))
          for (int64_t columns : parts(column_panels))
            for (PackAt pack_rows : {PackAt::task, PackAt::launch})
              for (PackAt pack_columns : {PackAt::task, PackAt::launch}) {
                if (problem->rows.prepared && pack_rows == PackAt::launch) continue;
                if (problem->columns.prepared && pack_columns == PackAt::launch) continue;
                const PackAt at_rows = problem->rows.prepared ? PackAt::prepared : pack_rows;
                const PackAt at_columns = problem->columns.prepared ? PackAt::prepared : pack_columns;
                Schedule s = point(mr, nv, kc, rows, columns, swapped, at_rows, at_columns);
                const GemmShape shape = gemm_shape(*problem, s, facts);
                if (shape.stack_bytes() > stack_limit_bytes) continue;
                found.emplace_back(gemm_seconds(*problem, shape, feeds, bytes, facts), std::move(s));
              }
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (found.size() > 90) found.resize(90);
  std::vector<Schedule> result;
  for (auto& [seconds, s] : found) result.push_back(std::move(s));
  return result;
}

}  // namespace kw::kernel::schedule
