#include <algorithm>

#include "kernel/schedule/window_lower.h"

namespace kw::kernel::schedule {
namespace {

/// Elements that a task should stage: below this, waking a thread costs more than the work.
constexpr int64_t task_elements = 16384;
constexpr int64_t most_stack_elements = 98304;
constexpr int64_t most_taps = 128;  // the filter writes them all out

bool fits(const WindowProblem& problem, int64_t band) {
  const WindowShape shape = window_shape(problem, band, 16);
  return shape.elements + shape.places() + problem.axes.back().extent < most_stack_elements;
}

bool few_taps(const WindowProblem& problem) {
  if (problem.weight >= 0) return problem.taps() <= most_taps;
  return std::all_of(problem.axes.begin(), problem.axes.end(),
                     [](const WindowAxis& axis) { return axis.taps <= most_taps; });
}

/// Pooling (max, min, sum of windows) and depthwise convolution, with epilogue.
class Window : public Family {
 public:
  std::string name() const override { return "window"; }

  bool covers(const graph::Graph& graph, const Piece& piece) const override {
    if (piece.kind != PieceKind::row && piece.kind != PieceKind::contract) return false;
    const auto problem = window_problem(graph, piece);
    return problem && few_taps(*problem) && fits(*problem, 1);
  }

  std::vector<Schedule> space(const graph::Graph& graph, const Piece& piece, const Facts& facts) const override {
    const auto problem = window_problem(graph, piece);
    std::vector<Schedule> list{{name(), {}}};
    if (!problem) return list;
    const int64_t out = problem->axes[0].out, best = band_of(*problem, list[0], facts);
    for (int64_t band : {out, (out + 1) / 2, (out + 3) / 4, (out + 7) / 8})
      if (band != best && band >= 1 && fits(*problem, band)) list.push_back({name(), {{"band", band}}});
    return list;
  }

  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule& schedule,
                     const Facts& facts) const override {
    const auto problem = window_problem(graph, piece);
    if (!problem) return 1e9;
    const WindowShape shape = window_shape(*problem, band_of(*problem, schedule, facts), lanes_of(graph, piece, facts));
    int64_t taps = problem->taps();
    if (problem->weight < 0) {
      taps = 0;
      for (const WindowAxis& axis : problem->axes) taps += axis.taps;
    }
    // A tap costs a load beside its operation; staging and the epilogue pass over the data once each.
    const int64_t each = shape.places() * (2 * taps + 4) + 4 * shape.elements;
    const double work = static_cast<double>(problem->planes() * shape.bands) * static_cast<double>(each);
    return roofline_s(2 * work, piece_bytes(graph, piece), 1, facts) * (schedule.params.empty() ? 1.0 : 1.02);
  }

  Result<Lowered> lower(const Task& task, const Schedule& schedule) const override {
    const auto problem = window_problem(task.graph, task.piece);
    if (!problem) return Failure{"schedule.lower", "window: the piece combines no windows", ""};
    const int64_t band = band_of(*problem, schedule, task.facts);
    if (!fits(*problem, band)) return Failure{"schedule.lower", "window: the band exceeds the stack", ""};
    const WindowShape shape = window_shape(*problem, band, lanes_of(task.graph, task.piece, task.facts));
    return WindowLowering(task, *problem, shape, planes_each(*problem, shape, task.facts)).lower();
  }

 private:
  static int lanes_of(const graph::Graph& graph, const Piece& piece, const Facts& facts) {
    return facts.vector_bytes / (compute_dtype(graph[piece.anchor].dtype) == DType::f64 ? 8 : 4);
  }

  static int64_t band_of(const WindowProblem& problem, const Schedule& schedule, const Facts& facts) {
    const int64_t out = problem.axes[0].out;
    if (const int64_t band = schedule.get("band", 0); band > 0) return std::min(band, out);
    int64_t band = default_band(problem, facts);
    while (band > 1 && !fits(problem, band)) band = (band + 1) / 2;
    return band;
  }

  static int64_t planes_each(const WindowProblem& problem, const WindowShape& shape, const Facts& facts) {
    const int64_t even = std::max<int64_t>(1, problem.planes() * shape.bands / (4 * facts.threads));
    return std::min(even, std::max<int64_t>(1, task_elements / (shape.elements + shape.places())));
  }
};

}  // namespace

std::unique_ptr<Family> make_window() { return std::make_unique<Window>(); }

}  // namespace kw::kernel::schedule
