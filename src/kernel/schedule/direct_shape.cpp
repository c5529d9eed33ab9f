#include "kernel/schedule/direct_shape.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace kw::kernel::schedule {
namespace {

constexpr int64_t most_tile_bytes = 128 << 10;  // of a task's tiles between passes
constexpr size_t most_variants = 6;
constexpr size_t most_schedules = 60;
constexpr int most_window_places = 14;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Parts of `count` by halves.
std::vector<int64_t> parts(int64_t count) {
  std::set<int64_t> result;
  for (int64_t n : {1, 2, 4, 8, 16, 32})
    if (n <= count) result.insert(ceil_div(count, n));
  return {result.begin(), result.end()};
}

/// Blocks of summed channels of one pass: all, or what keeps a group's weights in the second cache.
std::vector<int64_t> passes(const DirectProblem& problem, int filters, const Facts& facts) {
  std::set<int64_t> result{problem.sum_outer};
  const int64_t block = problem.products() / problem.sum_outer * filters * problem.lanes * 4;
  for (int64_t limit : {facts.l2_bytes / 2, facts.l2_bytes / 4})
    if (const int64_t blocks = limit / block; blocks >= 1 && blocks < problem.sum_outer)
      result.insert(ceil_div(problem.sum_outer, ceil_div(problem.sum_outer, blocks)));
  return {result.rbegin(), result.rend()};
}

std::vector<DirectTile> tiles(const DirectProblem& problem, const Facts& facts) {
  std::vector<DirectTile> result;
  const bool product = problem.kind == DirectKind::convolution;
  for (int f = 1; f <= 8; ++f) {
    if (problem.filters.size() % f != 0 || (!product && f > 1)) continue;
    const int most = product ? (facts.vector_registers - 1) / f - 1 : most_window_places;
    // Heights that leave few places computed twice at the end of a line.
    std::set<int64_t> heights;
    for (int64_t count = ceil_div(problem.x.out, std::max(most, 1)); count <= problem.x.out && heights.size() < 3;
         ++count)
      heights.insert(ceil_div(problem.x.out, count));
    for (int64_t places : heights)
      if (places >= 1 && places <= most) result.push_back({static_cast<int>(places), f});
    if (problem.flat && most >= 4)
      for (int places : {most, most - 1, most - 2})
        if (places <= problem.x.out) result.push_back({places, f});
  }
  return result;
}

void find_variants(const DirectProblem& problem, DirectShape& shape) {
  for (int64_t t = 0; t < shape.tiles; ++t) {
    const int64_t x0 = std::min(t * shape.tile.places, problem.x.out - shape.tile.places);
    TapMask mask = tap_mask(problem, shape.tile.places, problem.flat ? 0 : x0);
    if (shape.variants.empty() || shape.variants.back().second != mask) shape.variants.emplace_back(t, std::move(mask));
  }
}

/// Cycles of one register tile, all its products.
double tile_cycles(const DirectProblem& problem, const DirectShape& shape, const Facts& facts) {
  const double p = shape.tile.places, f = shape.tile.filters, lanes = static_cast<double>(problem.lanes);
  const double products = static_cast<double>(problem.products());
  if (problem.kind != DirectKind::convolution) return products * p * 1.2 + 30;
  const double loads = (p + f) / (p * f), latency = 10 / (p * f);
  const double panel =
      products / static_cast<double>(problem.sum_outer) * static_cast<double>(shape.pass) * f * lanes * 4;
  double rate = 0;  // bytes of weights a cycle that the cache they lie in delivers
  if (panel > 0.6 * static_cast<double>(facts.l2_bytes))
    rate = 10;
  else if (panel > 0.6 * static_cast<double>(facts.l1_bytes))
    rate = 28;
  const double weights = rate > 0 ? lanes * 8 / p / rate : 0;
  const double runs = std::max(1.0, products / 256);
  const double pass_count = std::ceil(static_cast<double>(problem.sum_outer) / static_cast<double>(shape.pass));
  return products * p * f / 2 * std::max({1.0, loads, latency, weights}) + p * f * (4 + 1.5 * runs + 2 * pass_count) +
         40 * pass_count;
}

}  // namespace

DirectShape direct_shape(const DirectProblem& problem, const Schedule& schedule) {
  DirectShape shape;
  shape.tile = {static_cast<int>(std::clamp<int64_t>(schedule.get("places", 1), 1, problem.x.out)),
                static_cast<int>(schedule.get("filters", 1))};
  const int64_t across = ceil_div(problem.x.out, shape.tile.places);
  shape.lines = problem.flat ? across : problem.y.out;
  shape.tiles = problem.flat ? 1 : across;
  shape.groups = problem.filters.size() / shape.tile.filters;
  shape.task_lines = std::clamp<int64_t>(schedule.get("lines", shape.lines), 1, shape.lines);
  shape.task_groups = std::clamp<int64_t>(schedule.get("groups", shape.groups), 1, shape.groups);
  shape.pass = std::clamp<int64_t>(schedule.get("pass", problem.sum_outer), 1, problem.sum_outer);
  shape.one_pass = shape.pass == problem.sum_outer;
  find_variants(problem, shape);
  return shape;
}

bool direct_scalar_stores(const graph::Graph& graph, const Piece& piece, const DirectProblem& problem) {
  const DirectPlace place{tile::index_var("outer", problem.outer.size()),
                          tile::index_var("filter", problem.filters.size()), tile::index_var("line", problem.y.out),
                          tile::index_var("place", problem.x.out), tile::index_var("lane", problem.lanes)};
  const auto reached = epilogue_coords(graph, piece, problem.anchor, direct_coords(graph, problem, place));
  return std::any_of(piece.outputs.begin(), piece.outputs.end(), [&](graph::NodeId id) {
    const tile::Stride stride = tile::stride_of(linear_index(graph[id].shape, reached.at(id)), "lane");
    return !stride.known || stride.step != 1;
  });
}

double direct_seconds(const DirectProblem& problem, const DirectShape& shape, double bytes, bool scalar_stores,
                      const Facts& facts) {
  const double threads = facts.threads, outer = static_cast<double>(problem.outer.size());
  const double core_flops = facts.flops_per_s / threads, cycle_s = 4.0 * facts.f32_lanes() / core_flops;
  const double count = outer * static_cast<double>(shape.groups * shape.lines * shape.tiles);
  double core_s = count * tile_cycles(problem, shape, facts) * cycle_s;
  const double results = outer * static_cast<double>(problem.filters.size() * problem.lanes * problem.places());
  if (scalar_stores) core_s += results * 0.6e-9;
  const double tasks = outer * static_cast<double>(shape.line_tasks() * shape.group_tasks());
  const double balance = std::ceil(tasks / threads) * threads / tasks;
  // Every task of lines reads all its weights anew, every task of groups the image: half of that hides behind products.
  const double weights = 4 * static_cast<double>(problem.filters.size() * problem.lanes * problem.products());
  const double image = std::max(bytes - weights - 4 * results, 0.0);
  const double again = weights * (outer * static_cast<double>(shape.line_tasks()) - 1) +
                       image * static_cast<double>(shape.group_tasks() - 1);
  core_s += 0.5 * again / facts.bytes_per_s;
  return std::max(core_s * balance / threads, bytes / facts.bytes_per_s) + facts.launch_s + tasks * 0.2e-6 / threads;
}

std::vector<Schedule> direct_space(const graph::Graph& graph, const Piece& piece, const DirectProblem& problem,
                                   const Facts& facts) {
  std::vector<std::pair<double, Schedule>> found;
  if (problem.lanes != facts.f32_lanes()) return {};
  const double bytes = piece_bytes(graph, piece);
  const bool scalar_stores = direct_scalar_stores(graph, piece, problem);
  for (const DirectTile& tile : tiles(problem, facts)) {
    const Schedule whole{"direct", {{"places", tile.places}, {"filters", tile.filters}}};
    const DirectShape all = direct_shape(problem, whole);
    if (all.variants.size() > most_variants) continue;
    for (int64_t pass : passes(problem, tile.filters, facts))
      for (int64_t lines : parts(all.lines))
        for (int64_t groups : parts(all.groups)) {
          Schedule s = whole;
          s.params["lines"] = lines, s.params["groups"] = groups, s.params["pass"] = pass;
          const DirectShape shape = direct_shape(problem, s);
          if (shape.stored_tiles() * shape.tile_elements(problem) * 4 > most_tile_bytes) continue;
          found.emplace_back(direct_seconds(problem, shape, bytes, scalar_stores, facts), std::move(s));
        }
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (found.size() > most_schedules) found.resize(most_schedules);
  std::vector<Schedule> result;
  for (auto& [seconds, s] : found) result.push_back(std::move(s));
  return result;
}

}  // namespace kw::kernel::schedule
