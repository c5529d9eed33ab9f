#include "kernel/schedule/gemm_lower.h"
#include "kernel/schedule/gemm_shape.h"

namespace kw::kernel::schedule {
namespace {

/// Contract as packed panels and a register tile, with prologue and epilogue.
class Gemm : public Family {
 public:
  std::string name() const override { return "gemm"; }
  bool covers(const graph::Graph& graph, const Piece& piece) const override {
    return piece.kind == PieceKind::contract && gemm_problem(graph, piece, false).has_value();
  }
  std::vector<Schedule> space(const graph::Graph& graph, const Piece& piece, const Facts& facts) const override {
    return gemm_space(graph, piece, facts);
  }
  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule& schedule,
                     const Facts& facts) const override {
    const auto problem = gemm_problem(graph, piece, schedule.get("swapped", 0) != 0);
    if (!problem) return 1e9;
    return gemm_seconds(*problem, gemm_shape(*problem, schedule, facts), find_feeds(graph, piece, *problem, facts),
                        piece_bytes(graph, piece), facts);
  }
  Result<Lowered> lower(const Task& task, const Schedule& schedule) const override {
    const auto problem = gemm_problem(task.graph, task.piece, schedule.get("swapped", 0) != 0);
    if (!problem) return Failure{"schedule.lower", "this piece is no matrix product", ""};
    return GemmLowering(task, *problem, gemm_shape(*problem, schedule, task.facts)).lower();
  }
};

}  // namespace

std::unique_ptr<Family> make_gemm() { return std::make_unique<Gemm>(); }

}  // namespace kw::kernel::schedule
