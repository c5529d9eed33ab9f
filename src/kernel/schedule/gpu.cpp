#include "kernel/schedule/gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kw::kernel::schedule {

using graph::NodeId;
using tile::Bind;
using tile::Block;
using tile::Expr;

namespace {

constexpr int64_t group_threads = 256;

/// A node that Metal cannot compute, in words; empty when there is none.
std::string beyond_metal(const graph::Graph& graph) {
  for (const graph::Node& n : graph.nodes) {
    if (n.dtype == DType::f64) return "float64 values";
    if (const auto* recur = std::get_if<graph::RecurAttr>(&n.attr))
      if (std::string inside = beyond_metal(*recur->body); !inside.empty()) return inside;
    const auto* map = std::get_if<graph::MapAttr>(&n.attr);
    if (map == nullptr) continue;
    for (const graph::ScalarStep& s : map->expr) {
      if (s.dtype == DType::f64) return "float64 steps";
      if (s.op == graph::ScalarOp::pow && !is_float(s.dtype)) return "powers of integers, which need float64";
    }
  }
  return "";
}

}  // namespace

ThreadGrid thread_grid(const std::string& var, int64_t count, Block body) {
  ThreadGrid grid;
  const int64_t threads = count >= group_threads ? group_threads : std::max<int64_t>(32, (count + 31) / 32 * 32);
  const int64_t groups = std::max<int64_t>(1, (count + threads - 1) / threads);
  const Expr place = tile::index_var("at_group", groups) * threads + tile::index_var("at_thread", threads);
  Block mine{tile::Let{var, place}};
  if (count == groups * threads)
    mine.insert(mine.end(), body.begin(), body.end());
  else
    mine.push_back(tile::branch(tile::index_var(var, groups * threads) < count, std::move(body)));
  Block shell{tile::loop(Bind::block, "at_thread", 0, threads, std::move(mine))};
  if (count > 0) grid.body.push_back(tile::loop(Bind::grid, "at_group", 0, groups, std::move(shell)));
  grid.groups = {groups, 1, 1};
  grid.group = {threads, 1, 1};
  grid.threads = static_cast<int>(threads);
  return grid;
}

void place_grid(ThreadGrid grid, tile::Function& function, Launch& launch) {
  function.body = std::move(grid.body);
  function.group = grid.threads;
  launch.kernel = function.name;
  launch.groups = grid.groups;
  launch.group = grid.group;
}

ElementwiseKernel thread_elementwise(const graph::Graph& graph, const Piece& piece, NodeId output,
                                     const std::string& name) {
  const graph::Node& n = graph[output];
  const int64_t count = element_count(n.shape);
  ValueReader reader(graph, piece);
  const Coords at = coords_of(n.shape, tile::index_var("o", std::max<int64_t>(count, 1)));
  Block body;
  const Expr value = tile::cast(reader.read(output, at, body), compute_dtype(n.dtype));
  body.push_back(tile::Store{buffer_name(output), n.dtype, {linear_index(n.shape, at)}, value});
  ElementwiseKernel k;
  k.function.name = name;
  k.function.params = kernel_params(graph, reader, {output});
  k.launch.args = launch_args(k.function.params);
  place_grid(thread_grid("o", count, std::move(body)), k.function, k.launch);
  return k;
}

Status check_metal(const graph::Graph& graph) {
  const std::string what = beyond_metal(graph);
  if (what.empty()) return ok_status();
  return Failure{"schedule.dtype", "the module computes with " + what + ", and Metal has no float64",
                 "use float32 or a lower precision"};
}

double gpu_roofline_s(double flops, double bytes, double threads, int launches, const Facts& facts) {
  constexpr double full_threads = 16384;  // fewer leave cores idle or latencies open
  const double share = std::clamp(threads / full_threads, 1e-3, 1.0);
  return std::max(flops / (facts.flops_per_s * share), bytes / (facts.bytes_per_s * std::sqrt(share))) +
         launches * facts.launch_s;
}

}  // namespace kw::kernel::schedule
