#pragma once
#include <string>
#include <vector>

#include "kernel/schedule/access.h"
#include "kernel/schedule/elementwise.h"
#include "kernel/schedule/family.h"

/// What the families share when they write for a GPU: threads in place of tasks.
namespace kw::kernel::schedule {

/// The body of a kernel in which each thread runs `body` for one value of `var` in [0, count), and its launch.
struct ThreadGrid {
  tile::Block body;
  std::array<SizeExpr, 3> groups{1, 1, 1}, group{1, 1, 1};
  int threads = 1;  // a group
};
ThreadGrid thread_grid(const std::string& var, int64_t count, tile::Block body);

/// Makes `function` and `launch` run `grid`; the function's parameters must be set.
void place_grid(ThreadGrid grid, tile::Function& function, Launch& launch);

/// One thread an element of `output`.
ElementwiseKernel thread_elementwise(const graph::Graph& graph, const Piece& piece, graph::NodeId output,
                                     const std::string& name);

/// fails: schedule.dtype (float64, integer powers: Metal has no float64)
Status check_metal(const graph::Graph& graph);

/// What fp32 work on so many threads takes: a GPU needs many of them to be busy.
double gpu_roofline_s(double flops, double bytes, double threads, int launches, const Facts& facts);

}  // namespace kw::kernel::schedule
