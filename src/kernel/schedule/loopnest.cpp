#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "kernel/schedule/anchors.h"
#include "kernel/schedule/elementwise.h"
#include "kernel/schedule/family.h"
#include "kernel/schedule/gpu.h"
#include "kernel/schedule/usage.h"

namespace kw::kernel::schedule {
namespace {

using graph::NodeId;

/// The floor: every anchor of a piece as a loop nest of its own, its result in a buffer; then the outputs.
class LoopNest : public Family {
 public:
  std::string name() const override { return "loopnest"; }
  bool speaks(const Facts&) const override { return true; }

  bool covers(const graph::Graph&, const Piece& piece) const override { return piece.kind != PieceKind::recur; }

  std::vector<Schedule> space(const graph::Graph&, const Piece&, const Facts&) const override { return {{name(), {}}}; }

  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule&,
                     const Facts& facts) const override {
    double work = 0;
    int launches = 1;
    for (NodeId id : piece.nodes) {
      if (!is_anchor(graph[id])) continue;
      work += anchor_work(graph, id);
      ++launches;
    }
    for (NodeId id : piece.outputs) work += static_cast<double>(element_count(graph[id].shape));
    if (facts.dialect == "msl") {
      double threads = 0;
      for (NodeId id : piece.outputs) threads = std::max(threads, static_cast<double>(element_count(graph[id].shape)));
      constexpr double compensation = 8;  // of sums, and one load for each term
      return gpu_roofline_s(work * compensation, 2 * piece_bytes(graph, piece), threads, launches, facts);
    }
    constexpr double scalar_slowdown = 60;  // no vectors, one accumulator
    return roofline_s(work * scalar_slowdown, 2 * piece_bytes(graph, piece), launches, facts);
  }

  Result<Lowered> lower(const Task& task, const Schedule&) const override {
    Lowered lowered;
    Piece known = task.piece;  // what is in buffers grows as anchors are done
    std::map<std::string, std::string> renamed;
    for (NodeId id : task.piece.nodes) {
      if (!is_anchor(task.graph[id])) continue;
      const std::string kernel = fmt::format("{}_n{}", task.name, id);
      AnchorKernels made = lower_anchor(task.graph, known, id, task.facts, kernel);
      append(lowered, std::move(made));
      known.inputs.push_back(id);
      if (contains(task.piece.outputs, id)) continue;
      Buffer buffer;
      buffer.name = kernel + "_value";
      buffer.dtype = task.graph[id].dtype;
      for (int64_t extent : task.graph[id].shape) buffer.shape.emplace_back(extent);
      renamed[buffer_name(id)] = buffer.name;
      lowered.buffers.push_back(std::move(buffer));
    }
    for (NodeId id : task.piece.outputs)
      if (!is_anchor(task.graph[id])) {
        ElementwiseKernel k =
            lower_elementwise(task.graph, known, id, task.facts, fmt::format("{}_n{}", task.name, id), {});
        lowered.functions.push_back(std::move(k.function));
        lowered.steps.emplace_back(std::move(k.launch));
      }
    rename(lowered, renamed);
    return lowered;
  }

 private:
  static bool contains(const std::vector<NodeId>& ids, NodeId id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  }

  static void append(Lowered& lowered, AnchorKernels made) {
    for (tile::Function& f : made.functions) lowered.functions.push_back(std::move(f));
    for (Launch& l : made.launches) lowered.steps.emplace_back(std::move(l));
    for (Buffer& b : made.scratch) lowered.buffers.push_back(std::move(b));
    if (lowered.text.find(made.text) == std::string::npos) lowered.text += made.text;
  }

  /// A kernel's parameter keeps the node's name; what is launched with it is the piece's own buffer.
  static void rename(Lowered& lowered, const std::map<std::string, std::string>& renamed) {
    for (Step& step : lowered.steps)
      for (Arg& arg : std::get<Launch>(step).args)
        if (auto* name = std::get_if<std::string>(&arg))
          if (const auto found = renamed.find(*name); found != renamed.end()) *name = found->second;
  }
};

}  // namespace

std::unique_ptr<Family> make_loopnest() { return std::make_unique<LoopNest>(); }

}  // namespace kw::kernel::schedule
