#pragma once
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"

/// The graphs that docs/performance.md speaks of.
namespace kw::perf {

struct Work {
  std::string name;
  std::function<graph::Graph()> graph;
  double flops = 0;  // of one call; 0: judged by its bytes
  double bytes = 0;  // read once plus written once
};

std::vector<Work> all_work(int64_t lanes);

}  // namespace kw::perf
