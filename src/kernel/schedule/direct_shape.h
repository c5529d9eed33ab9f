#pragma once
#include <utility>
#include <vector>

#include "kernel/schedule/direct_micro.h"

namespace kw::kernel::schedule {

/// A schedule of a direct kernel with every size decided. A line is a row of the result, or one tile where rows are
/// joined; a group is a tile's blocks of filters.
struct DirectShape {
  DirectTile tile;
  int64_t lines = 1, tiles = 1;  // tiles of a line
  int64_t groups = 1;
  int64_t task_lines = 1, task_groups = 1;
  int64_t pass = 1;  // blocks of summed channels taken at once
  bool one_pass = true;
  std::vector<std::pair<int64_t, TapMask>> variants;  // by the first tile of a line that has the mask
  int64_t line_tasks() const { return (lines + task_lines - 1) / task_lines; }
  int64_t group_tasks() const { return (groups + task_groups - 1) / task_groups; }
  int64_t tile_elements(const DirectProblem& problem) const { return problem.lanes * tile.places * tile.filters; }
  /// Tiles that a task holds at once.
  int64_t stored_tiles() const { return one_pass ? 1 : task_lines * tiles; }
};

DirectShape direct_shape(const DirectProblem& problem, const Schedule& schedule);
/// Legal schedules, the best predicted first; none where the lanes are not this machine's.
std::vector<Schedule> direct_space(const graph::Graph& graph, const Piece& piece, const DirectProblem& problem,
                                   const Facts& facts);
/// `scalar_stores`: results leave element by element.
double direct_seconds(const DirectProblem& problem, const DirectShape& shape, double bytes, bool scalar_stores,
                      const Facts& facts);
/// The results do not lie along the vectors in some output.
bool direct_scalar_stores(const graph::Graph& graph, const Piece& piece, const DirectProblem& problem);

}  // namespace kw::kernel::schedule
