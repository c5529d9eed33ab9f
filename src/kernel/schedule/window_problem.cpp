#include "kernel/schedule/window_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kernel/schedule/gemm_problem.h"
#include "kernel/schedule/usage.h"

namespace kw::kernel::schedule {
namespace {

using graph::Graph;
using graph::Node;
using graph::NodeId;
using tile::Expr;

bool contains(const std::vector<NodeId>& ids, NodeId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

Expr sized_symbol(const std::string& name, int64_t size) { return size == 1 ? Expr(0) : tile::index_var(name, size); }

/// Where a walk from the anchor's operand down to the Window arrived.
struct Arrival {
  NodeId window = -1;
  Coords at;
};

std::optional<Arrival> walk_to_window(const Graph& graph, const Piece* piece, NodeId id, Coords at) {
  while (!graph[id].is<graph::WindowAttr>()) {
    if ((piece && !contains(piece->nodes, id)) || !is_view(graph[id])) return std::nullopt;
    const Origin origin = view_origin(graph, id, at);
    if (!origin.valid.is_constant(1)) return std::nullopt;
    at = origin.at;
    id = graph[id].inputs[0];
  }
  if (piece && !contains(piece->nodes, id)) return std::nullopt;
  return Arrival{id, std::move(at)};
}

/// Coordinates of the anchor's operand where output places and reduced labels (or axes) are given by number.
Coords operand_at(const Graph& graph, NodeId anchor, NodeId operand, const Coords& out,
                  const std::map<int, Expr>& reduced) {
  const Node& node = graph[anchor];
  Coords at;
  if (const auto* contract = std::get_if<graph::ContractAttr>(&node.attr)) {
    for (int label : operand == node.inputs[0] ? contract->a : contract->b) {
      const auto found = std::find(contract->out.begin(), contract->out.end(), label);
      const auto place = static_cast<size_t>(found - contract->out.begin());
      at.push_back(found != contract->out.end() ? out[place] : reduced.count(label) ? reduced.at(label) : Expr(0));
    }
    return at;
  }
  const auto& axes = node.as<graph::ReduceAttr>().axes;
  size_t next = 0;
  for (size_t i = 0; i < graph[operand].shape.size(); ++i) {
    const bool gone = std::find(axes.begin(), axes.end(), static_cast<int>(i)) != axes.end();
    at.push_back(!gone ? out[next++] : reduced.count(static_cast<int>(i)) ? reduced.at(static_cast<int>(i)) : Expr(0));
  }
  return at;
}

/// Sizes of what the anchor sums over, by label (Contract) or axis (Reduce).
std::map<int, int64_t> reduced_sizes(const Graph& graph, NodeId anchor) {
  const Node& node = graph[anchor];
  std::map<int, int64_t> sizes;
  if (const auto* reduce = std::get_if<graph::ReduceAttr>(&node.attr)) {
    for (int axis : reduce->axes) sizes[axis] = graph[node.inputs[0]].shape[static_cast<size_t>(axis)];
    return sizes;
  }
  const auto& contract = node.as<graph::ContractAttr>();
  for (size_t side = 0; side < 2; ++side) {
    const auto& labels = side == 0 ? contract.a : contract.b;
    for (size_t i = 0; i < labels.size(); ++i)
      if (std::find(contract.out.begin(), contract.out.end(), labels[i]) == contract.out.end())
        sizes[labels[i]] = graph[node.inputs[side]].shape[i];
  }
  return sizes;
}

class Recogniser {
 public:
  Recogniser(const Graph& graph, const Piece& piece, NodeId operand) : graph_(graph), piece_(piece) {
    problem_.anchor = piece.anchor;
    problem_.operand = operand;
  }

  std::optional<WindowProblem> find() {
    const Shape& out = graph_[problem_.anchor].shape;
    for (size_t i = 0; i < out.size(); ++i) out_.push_back(sized_symbol(fmt::format("o{}", i), out[i]));
    std::map<int, Expr> reduced;
    sizes_ = reduced_sizes(graph_, problem_.anchor);
    for (const auto& [label, size] : sizes_) reduced[label] = sized_symbol(fmt::format("r{}", label), size);
    const Coords at = operand_at(graph_, problem_.anchor, problem_.operand, out_, reduced);
    const auto arrival = walk_to_window(graph_, &piece_, problem_.operand, at);
    if (!arrival || !read_axes(*arrival, reduced)) return std::nullopt;
    under_padding(graph_[arrival->window].inputs[0]);
    return problem_;
  }

 private:
  bool read_axes(const Arrival& arrival, const std::map<int, Expr>& reduced) {
    const auto& window = graph_[arrival.window].as<graph::WindowAttr>();
    const size_t n = window.axes.size(), rank = arrival.at.size() - n;
    if (out_.size() < n) return false;
    const size_t lead = out_.size() - n;
    for (size_t i = 0; i < n; ++i) {
      if (window.axes[i] != static_cast<int>(rank - n + i)) return false;
      WindowAxis axis{graph_[problem_.anchor].shape[lead + i], window.size[i], window.stride[i], window.dilation[i]};
      if (!tile::same(arrival.at[rank - n + i], out_[lead + i])) return false;
      if (axis.taps > 1 && !find_tap(arrival.at[rank + i], reduced, axis)) return false;
      problem_.axes.push_back(axis);
    }
    for (size_t i = 0; i + n < rank; ++i)
      if (mentions_plane(arrival.at[i], lead)) return false;
    const Shape& shape = graph_[problem_.anchor].shape;
    problem_.lead.assign(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(lead));
    return all_taps_used();
  }

  bool find_tap(const Expr& at, const std::map<int, Expr>& reduced, WindowAxis& axis) const {
    for (const auto& [label, value] : reduced)
      if (sizes_.at(label) == axis.taps && tile::same(at, value)) axis.tap_label = label;
    return axis.tap_label >= 0;
  }

  bool mentions_plane(const Expr& at, size_t lead) const {
    for (size_t i = lead; i < out_.size(); ++i)
      if (tile::mentions(at, fmt::format("o{}", i))) return true;
    return std::any_of(sizes_.begin(), sizes_.end(),
                       [&](const auto& size) { return tile::mentions(at, fmt::format("r{}", size.first)); });
  }

  bool all_taps_used() const {
    int64_t reduced = 1;
    for (const auto& [label, size] : sizes_) reduced *= size;
    return reduced == problem_.taps();
  }

  /// Takes the padding of the window axes into the problem, as far as one value fills it.
  void under_padding(NodeId id) {
    const size_t n = problem_.axes.size();
    for (bool first = true; contains(piece_.nodes, id) && graph_[id].is<graph::PadAttr>(); first = false) {
      const auto& pad = graph_[id].as<graph::PadAttr>();
      const size_t rank = pad.lo.size();
      bool plain = first || pad.value == problem_.fill;
      for (size_t i = 0; i + n < rank; ++i) plain = plain && pad.lo[i] == 0 && pad.hi[i] == 0;
      if (!plain) break;
      problem_.fill = pad.value;
      for (size_t i = 0; i < n; ++i) problem_.axes[i].lo += pad.lo[rank - n + i];
      id = graph_[id].inputs[0];
    }
    problem_.source = id;
    const Shape& shape = graph_[id].shape;
    for (size_t i = 0; i < n; ++i) problem_.axes[i].extent = shape[shape.size() - n + i];
  }

  const Graph& graph_;
  const Piece& piece_;
  WindowProblem problem_;
  Coords out_;
  std::map<int, int64_t> sizes_;
};

bool reduces_floats(const Graph& graph, const Piece& piece) {
  const auto* reduce = std::get_if<graph::ReduceAttr>(&graph[piece.anchor].attr);
  using graph::ReduceOp;
  return reduce && (reduce->op == ReduceOp::sum || reduce->op == ReduceOp::max || reduce->op == ReduceOp::min);
}

bool lone_anchor(const Graph& graph, const Piece& piece) {
  return std::all_of(piece.nodes.begin(), piece.nodes.end(),
                     [&](NodeId id) { return id == piece.anchor || !is_anchor(graph[id]); });
}

bool outputs_follow(const Graph& graph, const Piece& piece) {
  Coords at;
  for (size_t i = 0; i < graph[piece.anchor].shape.size(); ++i)
    at.push_back(tile::index_var(fmt::format("q{}", i), graph[piece.anchor].shape[i]));
  const auto reached = epilogue_coords(graph, piece, piece.anchor, at);
  return std::all_of(piece.outputs.begin(), piece.outputs.end(), [&](NodeId id) { return reached.count(id) > 0; });
}

/// The weight changes with the plane and the taps only.
bool weight_is_per_plane(const Graph& graph, const WindowProblem& problem) {
  const auto& contract = graph[problem.anchor].as<graph::ContractAttr>();
  const auto& labels = problem.weight == graph[problem.anchor].inputs[0] ? contract.a : contract.b;
  for (size_t i = problem.lead.size(); i < contract.out.size(); ++i)
    if (std::find(labels.begin(), labels.end(), contract.out[i]) != labels.end()) return false;
  return true;
}

}  // namespace

int64_t WindowProblem::plane_size() const {
  int64_t size = 1;
  for (const WindowAxis& axis : axes) size *= axis.out;
  return size;
}

int64_t WindowProblem::taps() const {
  int64_t count = 1;
  for (const WindowAxis& axis : axes) count *= axis.taps;
  return count;
}

std::optional<WindowProblem> window_problem(const Graph& graph, const Piece& piece) {
  if (piece.anchor < 0) return std::nullopt;
  const Node& node = graph[piece.anchor];
  if (!is_float(node.dtype) || element_count(node.shape) == 0 || !lone_anchor(graph, piece)) return std::nullopt;
  if (!outputs_follow(graph, piece)) return std::nullopt;
  if (reduces_floats(graph, piece)) {
    auto problem = Recogniser(graph, piece, node.inputs[0]).find();
    if (problem) problem->op = node.as<graph::ReduceAttr>().op;
    return problem;
  }
  if (!node.is<graph::ContractAttr>() || node.inputs[0] == node.inputs[1]) return std::nullopt;
  for (size_t side = 0; side < 2; ++side) {
    if (graph[node.inputs[side]].dtype != node.dtype) return std::nullopt;
    auto problem = Recogniser(graph, piece, node.inputs[side]).find();
    if (!problem) continue;
    problem->weight = node.inputs[1 - side];
    if (weight_is_per_plane(graph, *problem)) return problem;
  }
  return std::nullopt;
}

Coords window_source_at(const Graph& graph, const WindowProblem& problem, const Coords& lead, const Coords& inner) {
  Coords out = lead;
  for (size_t i = 0; i < inner.size(); ++i) out.emplace_back(0);
  const auto arrival =
      walk_to_window(graph, nullptr, problem.operand, operand_at(graph, problem.anchor, problem.operand, out, {}));
  const size_t n = inner.size(), rank = arrival->at.size() - n;
  Coords at(arrival->at.begin(), arrival->at.begin() + static_cast<std::ptrdiff_t>(rank - n));
  at.insert(at.end(), inner.begin(), inner.end());
  return at;
}

Coords window_weight_at(const Graph& graph, const WindowProblem& problem, const Coords& lead,
                        const std::vector<int64_t>& taps) {
  Coords out = lead;
  std::map<int, Expr> reduced;
  for (size_t i = 0; i < taps.size(); ++i) {
    out.emplace_back(0);
    if (problem.axes[i].tap_label >= 0) reduced[static_cast<int>(problem.axes[i].tap_label)] = Expr(taps[i]);
  }
  return operand_at(graph, problem.anchor, problem.weight, out, reduced);
}

}  // namespace kw::kernel::schedule
