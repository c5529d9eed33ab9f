#include "kernel/schedule/direct_lower.h"
#include "kernel/schedule/direct_shape.h"

namespace kw::kernel::schedule {
namespace {

/// Convolution, depthwise convolution and pooling into blocks of channels, read where the image lies.
class Direct : public Family {
 public:
  std::string name() const override { return "direct"; }
  bool covers(const graph::Graph& graph, const Piece& piece) const override {
    if (piece.kind != PieceKind::contract && piece.kind != PieceKind::row) return false;
    return direct_problem(graph, piece).has_value();
  }
  std::vector<Schedule> space(const graph::Graph& graph, const Piece& piece, const Facts& facts) const override {
    const auto problem = direct_problem(graph, piece);
    return problem ? direct_space(graph, piece, *problem, facts) : std::vector<Schedule>{};
  }
  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule& schedule,
                     const Facts& facts) const override {
    const auto problem = direct_problem(graph, piece);
    if (!problem) return 1e9;
    return direct_seconds(*problem, direct_shape(*problem, schedule), piece_bytes(graph, piece),
                          direct_scalar_stores(graph, piece, *problem), facts);
  }
  Result<Lowered> lower(const Task& task, const Schedule& schedule) const override {
    const auto problem = direct_problem(task.graph, task.piece);
    if (!problem) return Failure{"schedule.lower", "direct: the piece is no convolution into blocks", ""};
    const DirectShape shape = direct_shape(*problem, schedule);
    return DirectLowering(task, *problem, shape).lower();
  }
};

}  // namespace

std::unique_ptr<Family> make_direct() { return std::make_unique<Direct>(); }

}  // namespace kw::kernel::schedule
