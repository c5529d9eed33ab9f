#include <fmt/format.h>

#include "kernel/schedule/elementwise.h"
#include "kernel/schedule/family.h"
#include "kernel/schedule/gpu.h"

namespace kw::kernel::schedule {
namespace {

/// Maps, views, casts, cats and gathers: one elementwise kernel an output.
class Pointwise : public Family {
 public:
  std::string name() const override { return "pointwise"; }
  bool speaks(const Facts&) const override { return true; }

  bool covers(const graph::Graph&, const Piece& piece) const override { return piece.kind == PieceKind::pointwise; }

  std::vector<Schedule> space(const graph::Graph& graph, const Piece& piece, const Facts& facts) const override {
    std::vector<Schedule> list{{name(), {}}};
    int64_t count = 0;
    for (graph::NodeId id : piece.outputs) count = std::max(count, element_count(graph[id].shape));
    if (count < 1 << 16 || facts.dialect == "msl") return list;
    for (int64_t tasks_per_thread : {1, 16}) {
      const int64_t chunk = count / (tasks_per_thread * facts.threads);
      list.push_back({name(), {{"chunk", std::max<int64_t>(chunk, 4096)}}});
    }
    return list;
  }

  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule& schedule,
                     const Facts& facts) const override {
    double elements = 0;
    for (graph::NodeId id : piece.outputs) elements += static_cast<double>(element_count(graph[id].shape));
    const int launches = static_cast<int>(piece.outputs.size());
    if (facts.dialect == "msl")
      return gpu_roofline_s(elements * inlined_cost(graph, piece), piece_bytes(graph, piece), elements, launches,
                            facts);
    const bool vector = vector_lanes(graph, piece, facts) > 1;
    const double flops = elements * inlined_cost(graph, piece) * (vector ? 2 : 16);
    const double uneven = schedule.params.empty() ? 1 : 1.01;
    return uneven * roofline_s(flops, piece_bytes(graph, piece), launches, facts);
  }

  Result<Lowered> lower(const Task& task, const Schedule& schedule) const override {
    Lowered lowered;
    const ElementwiseOptions options{schedule.get("chunk", 0), true};
    int number = 0;
    for (graph::NodeId id : task.piece.outputs) {
      const std::string kernel = number == 0 ? task.name : fmt::format("{}_{}", task.name, number);
      ElementwiseKernel k = lower_elementwise(task.graph, task.piece, id, task.facts, kernel, options);
      lowered.functions.push_back(std::move(k.function));
      lowered.steps.emplace_back(std::move(k.launch));
      ++number;
    }
    return lowered;
  }
};

}  // namespace

std::unique_ptr<Family> make_pointwise() { return std::make_unique<Pointwise>(); }

}  // namespace kw::kernel::schedule
