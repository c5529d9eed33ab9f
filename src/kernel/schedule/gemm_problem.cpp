#include "kernel/schedule/gemm_problem.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace kw::kernel::schedule {
namespace {

using graph::Graph;
using graph::Node;
using graph::NodeId;
using tile::Expr;

bool holds(const std::vector<int>& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

bool is_member(const Piece& piece, NodeId id) {
  return std::find(piece.nodes.begin(), piece.nodes.end(), id) != piece.nodes.end();
}

bool from_parameters(const Graph& graph, NodeId id, std::map<NodeId, bool>& known) {
  if (auto it = known.find(id); it != known.end()) return it->second;
  const Node& node = graph[id];
  bool result = !node.is<graph::InputAttr>();
  for (NodeId input : node.inputs) result = result && from_parameters(graph, input, known);
  return known[id] = result;
}

std::map<int, int64_t> label_sizes(const Graph& graph, const Node& node) {
  const auto& attr = node.as<graph::ContractAttr>();
  std::map<int, int64_t> sizes;
  auto note = [&](const std::vector<int>& labels, const Shape& shape) {
    for (size_t i = 0; i < labels.size(); ++i) sizes[labels[i]] = shape[i];
  };
  note(attr.a, graph[node.inputs[0]].shape);
  note(attr.b, graph[node.inputs[1]].shape);
  return sizes;
}

LabelGroup group_of(const std::vector<int>& labels, const std::map<int, int64_t>& sizes) {
  LabelGroup group{labels, {}};
  for (int label : labels) group.shape.push_back(sizes.at(label));
  return group;
}

/// The last neighbouring labels of the output that only `side` has, ignoring axes of size 1 in between.
std::vector<int> last_run(const std::vector<int>& out, const std::vector<int>& side, const std::vector<int>& other,
                          const std::map<int, int64_t>& sizes) {
  std::vector<int> run;
  for (auto it = out.rbegin(); it != out.rend(); ++it) {
    const bool own = holds(side, *it) && !holds(other, *it);
    if (own) run.insert(run.begin(), *it);
    if (!own && sizes.at(*it) != 1 && !run.empty()) break;
  }
  return run;
}

bool computable(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::f16 || dtype == DType::bf16;
}

/// The operand that owns the last output axis (beyond size 1) supplies the columns.
bool second_owns_last(const graph::ContractAttr& attr, const std::map<int, int64_t>& sizes) {
  for (auto it = attr.out.rbegin(); it != attr.out.rend(); ++it) {
    if (sizes.at(*it) == 1 || (holds(attr.a, *it) && holds(attr.b, *it))) continue;
    return holds(attr.b, *it);
  }
  return true;
}

bool changes_with(const GemmSide& side, const LabelGroup& group) {
  for (size_t i = 0; i < group.labels.size(); ++i)
    if (group.shape[i] > 1 && holds(side.labels, group.labels[i])) return true;
  return false;
}

void split_labels(GemmProblem& problem, const graph::ContractAttr& attr, const std::map<int, int64_t>& sizes) {
  const auto n = last_run(attr.out, problem.columns.labels, problem.rows.labels, sizes);
  std::vector<int> m, outer, k;
  for (int label : attr.out) {
    if (holds(n, label)) continue;
    const bool row_only = holds(problem.rows.labels, label) && !holds(problem.columns.labels, label);
    (row_only ? m : outer).push_back(label);
  }
  for (const auto* labels : {&problem.rows.labels, &problem.columns.labels})
    for (int label : *labels)
      if (!holds(attr.out, label) && !holds(k, label)) k.push_back(label);
  problem.m = group_of(m, sizes);
  problem.n = group_of(n, sizes);
  problem.k = group_of(k, sizes);
  problem.outer = group_of(outer, sizes);
}

}  // namespace

int64_t LabelGroup::size() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

double GemmProblem::flops() const {
  return 2.0 * static_cast<double>(outer.size()) * static_cast<double>(m.size()) * static_cast<double>(n.size()) *
         static_cast<double>(k.size());
}

std::optional<GemmProblem> gemm_problem(const Graph& graph, const Piece& piece, bool swapped) {
  if (piece.anchor < 0 || !graph[piece.anchor].is<graph::ContractAttr>()) return std::nullopt;
  const Node& node = graph[piece.anchor];
  const auto& attr = node.as<graph::ContractAttr>();
  if (!computable(node.dtype)) return std::nullopt;
  for (NodeId input : node.inputs)
    if (graph[input].dtype != node.dtype) return std::nullopt;
  for (int64_t extent : node.shape)
    if (extent == 0) return std::nullopt;
  const auto sizes = label_sizes(graph, node);
  std::map<NodeId, bool> known;
  GemmSide a{node.inputs[0], attr.a, false, from_parameters(graph, node.inputs[0], known)};
  GemmSide b{node.inputs[1], attr.b, false, from_parameters(graph, node.inputs[1], known)};
  GemmProblem problem;
  problem.contract = piece.anchor;
  problem.dtype = compute_dtype(node.dtype);
  const bool second = second_owns_last(attr, sizes) != swapped;
  problem.columns = second ? b : a;
  problem.rows = second ? a : b;
  split_labels(problem, attr, sizes);
  if (problem.k.size() == 0) return std::nullopt;
  problem.rows.per_outer = changes_with(problem.rows, problem.outer);
  problem.columns.per_outer = changes_with(problem.columns, problem.outer);
  Coords at;
  for (size_t i = 0; i < node.shape.size(); ++i) at.push_back(tile::index_var("q" + std::to_string(i), node.shape[i]));
  const auto reached = epilogue_coords(graph, piece, piece.anchor, at);
  for (NodeId output : piece.outputs)
    if (!reached.count(output)) return std::nullopt;
  return problem;
}

void bind_labels(const LabelGroup& group, const Expr& flat, LabelValues& values) {
  const Coords at = coords_of(group.shape, flat);
  for (size_t i = 0; i < at.size(); ++i) values[group.labels[i]] = at[i];
}

Coords operand_coords(const GemmSide& side, const LabelValues& values) {
  Coords at;
  for (int label : side.labels) at.push_back(values.at(label));
  return at;
}

Coords contract_coords(const Graph& graph, const GemmProblem& problem, const LabelValues& values) {
  Coords at;
  for (int label : graph[problem.contract].as<graph::ContractAttr>().out) at.push_back(values.at(label));
  return at;
}

std::map<NodeId, Coords> epilogue_coords(const Graph& graph, const Piece& piece, NodeId contract, const Coords& at) {
  std::map<NodeId, Coords> reached{{contract, at}};
  for (NodeId id : piece.nodes) {
    const Node& node = graph[id];
    std::optional<Coords> here;
    for (NodeId input : node.inputs) {
      auto from = reached.find(input);
      if (from == reached.end() || id == contract) continue;
      std::optional<Coords> next;
      if (node.is<graph::MapAttr>() || node.is<graph::CastAttr>()) next = from->second;
      if (is_view(node)) next = view_target(graph, id, from->second);
      if (!next) return {};
      for (size_t i = 0; here && i < next->size(); ++i)
        if (!tile::same((*here)[i], (*next)[i])) return {};
      here = next;
    }
    if (here) reached[id] = *here;
  }
  return reached;
}

tile::Stride value_stride(const Graph& graph, const Piece& piece, NodeId id, const Coords& at,
                          const std::string& name) {
  const Node& node = graph[id];
  if (!is_member(piece, id)) {
    if (node.is<graph::ConstantAttr>() || node.is<graph::IotaAttr>()) return {true, 0};
    return tile::stride_of(linear_index(node.shape, at), name);
  }
  if (is_view(node)) {
    const Origin origin = view_origin(graph, id, at);
    return value_stride(graph, piece, node.inputs[0], origin.at, name);
  }
  if (!node.is<graph::MapAttr>() && !node.is<graph::CastAttr>()) return {};
  tile::Stride best{true, 0};
  for (NodeId input : node.inputs) {
    const tile::Stride next = value_stride(graph, piece, input, at, name);
    if (!next.known) return {};
    if (best.step == 0 || (next.step != 0 && next.step < best.step)) best = next;
  }
  return best;
}

}  // namespace kw::kernel::schedule
