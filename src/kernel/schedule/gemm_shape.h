#pragma once
#include <optional>
#include <vector>

#include "kernel/schedule/gemm_micro.h"
#include "kernel/schedule/gemm_pack.h"
#include "kernel/schedule/gemm_problem.h"

/// The matrix family's schedule space and its analytic draft of time.
namespace kw::kernel::schedule {

/// Where an operand is copied into panels.
enum class PackAt : uint8_t { task, launch, prepared };

/// A schedule with every size decided.
struct GemmShape {
  MicroShape micro;
  bool swapped = false;
  int64_t row_panels = 1, column_panels = 1;            // of the whole product
  int64_t task_row_panels = 1, task_column_panels = 1;  // of one task
  int64_t kc = 1;                                       // k of one pass
  bool one_pass = true;
  PackAt rows = PackAt::task, columns = PackAt::task;
  int64_t row_tasks() const { return (row_panels + task_row_panels - 1) / task_row_panels; }
  int64_t column_tasks() const { return (column_panels + task_column_panels - 1) / task_column_panels; }
  /// Bytes of panels and tiles that one task keeps on its stack.
  int64_t stack_bytes() const;
};

/// What an operand's panels cost to fill.
struct Feed {
  PackWay way = PackWay::scalar;
  bool image = false;         // in the task from a copied image (WindowSide)
  int64_t run = 1;            // elements moved at once from it
  double image_elements = 0;  // copied before
};
struct Feeds {
  Feed rows, columns;
  double single_store_s = 0;  // of one element's epilogue where it has no vector form
};
Feeds find_feeds(const graph::Graph& graph, const Piece& piece, const GemmProblem& problem, const Facts& facts);

GemmShape gemm_shape(const GemmProblem& problem, const Schedule& schedule, const Facts& facts);
/// Legal schedules, the best predicted first; fewer than 100.
std::vector<Schedule> gemm_space(const graph::Graph& graph, const Piece& piece, const Facts& facts);
double gemm_seconds(const GemmProblem& problem, const GemmShape& shape, const Feeds& feeds, double bytes,
                    const Facts& facts);

}  // namespace kw::kernel::schedule
