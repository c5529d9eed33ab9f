#include "kernel/schedule/row_domain.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"

namespace kw::kernel::schedule {
namespace {

using graph::Node;
using graph::NodeId;
using tile::Expr;

std::string axis_name(size_t axis) { return fmt::format("d{}", axis); }

bool same_coords(const Coords& a, const Coords& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Expr& x, const Expr& y) { return same(x, y); });
}

bool is_map(const Node& n) { return n.is<graph::MapAttr>() || n.is<graph::CastAttr>(); }

/// Gives every node of the piece its coordinates, upwards from the domain and then downwards to the outputs.
class Finder {
 public:
  Finder(const graph::Graph& graph, const Piece& piece)
      : graph_(graph), piece_(piece), members_(piece.nodes.begin(), piece.nodes.end()) {}

  std::optional<RowDomain> find() {
    const NodeId source = graph_[piece_.anchor].inputs[0];
    set_domain(source);
    d_.full[source] = all_;
    climb(source);
    for (NodeId id : piece_.nodes) descend(id);
    for (NodeId id : piece_.nodes) set_stage(id);
    for (NodeId id : piece_.outputs) {
      if (!d_.full.contains(id) && !d_.reduced.contains(id)) return std::nullopt;
      if (d_.full.contains(id)) d_.passes = std::max(d_.passes, d_.stage[id] + 1);
    }
    for (NodeId id : piece_.nodes) {
      const bool reduce = graph_[id].is<graph::ReduceAttr>();
      if (reduce && !d_.reduced.contains(id)) return std::nullopt;
      if (reduce) d_.passes = std::max(d_.passes, d_.stage[id]);
    }
    return std::move(d_);
  }

 private:
  void set_domain(NodeId source) {
    d_.shape = graph_[source].shape;
    d_.axes = graph_[piece_.anchor].as<graph::ReduceAttr>().axes;
    for (size_t i = 0; i < d_.shape.size(); ++i) {
      all_.push_back(tile::index_var(axis_name(i), d_.shape[i]));
      const bool reduced = std::find(d_.axes.begin(), d_.axes.end(), static_cast<int>(i)) != d_.axes.end();
      (reduced ? d_.inner_shape : d_.row_shape).push_back(d_.shape[i]);
      if (!reduced) kept_.push_back(all_.back());
    }
    d_.rows = element_count(d_.row_shape);
    d_.columns = element_count(d_.inner_shape);
  }

  /// Inputs of a full Map or one-to-one view are full too.
  void climb(NodeId from) {
    const Node& n = graph_[from];
    const Coords at = d_.full[from];
    if (!members_.contains(from)) return;
    if (is_map(n)) {
      for (NodeId in : n.inputs)
        if (d_.full.emplace(in, at).second) climb(in);
    } else if (n.is<graph::ReshapeAttr>() || n.is<graph::PermuteAttr>()) {
      if (d_.full.emplace(n.inputs[0], view_origin(graph_, from, at).at).second) climb(n.inputs[0]);
    }
  }

  void descend(NodeId id) {
    const Node& n = graph_[id];
    if (d_.full.contains(id) || d_.reduced.contains(id)) return;
    if (const auto* reduce = std::get_if<graph::ReduceAttr>(&n.attr)) {
      const auto in = d_.full.find(n.inputs[0]);
      if (in == d_.full.end() || reduce->axes != d_.axes || !same_coords(in->second, all_)) return;
      d_.reduced[id] = kept_;
      d_.reduces.push_back(id);
    } else if (is_map(n)) {
      descend_map(id, n);
    } else if (is_view(n)) {
      descend_view(id, n);
    }
  }

  void descend_map(NodeId id, const Node& n) {
    for (auto* known : {&d_.full, &d_.reduced})
      for (NodeId in : n.inputs) {
        const auto found = known->find(in);
        if (found == known->end()) continue;
        const Coords at = found->second;
        (*known)[id] = at;
        return;
      }
  }

  void descend_view(NodeId id, const Node& n) {
    for (auto* known : {&d_.full, &d_.reduced}) {
      const auto found = known->find(n.inputs[0]);
      if (found == known->end()) continue;
      if (auto at = view_target(graph_, id, found->second)) {
        (*known)[id] = std::move(*at);
        return;
      }
    }
    const auto part = d_.reduced.find(n.inputs[0]);
    if (part == d_.reduced.end() || !n.is<graph::ExpandAttr>()) return;
    for (const auto& [other, at] : d_.full) {
      if (graph_[other].shape != n.shape || !same_coords(view_origin(graph_, id, at).at, part->second)) continue;
      const Coords copy = at;
      d_.full[id] = copy;
      return;
    }
  }

  void set_stage(NodeId id) {
    int stage = 0;
    for (NodeId in : graph_[id].inputs)
      if (const auto found = d_.stage.find(in); found != d_.stage.end()) stage = std::max(stage, found->second);
    d_.stage[id] = stage + (graph_[id].is<graph::ReduceAttr>() ? 1 : 0);
  }

  const graph::Graph& graph_;
  const Piece& piece_;
  const std::set<NodeId> members_;
  RowDomain d_;
  Coords all_, kept_;
};

/// What one pass evaluates, and what computing a node's full part costs.
class Work {
 public:
  Work(const graph::Graph& graph, const Piece& piece, const RowDomain& domain)
      : graph_(graph), domain_(domain), members_(piece.nodes.begin(), piece.nodes.end()) {
    for (NodeId id : domain.reduces) roots_[domain.stage.at(id) - 1].insert(graph[id].inputs[0]);
    for (NodeId id : piece.outputs)
      if (domain.full.contains(id)) roots_[domain.stage.at(id)].insert(id);
  }

  std::set<NodeId> evaluated(int pass, const std::map<NodeId, int>& kept) const {
    std::set<NodeId> seen;
    const auto roots = roots_.find(pass);
    if (roots == roots_.end()) return seen;
    for (NodeId id : roots->second) visit(id, pass, kept, seen);
    return seen;
  }

  double cost(NodeId id, const std::map<NodeId, int>& kept) const {
    std::set<NodeId> seen;
    visit(id, domain_.stage.at(id), kept, seen);
    double flops = 0;
    for (NodeId part : seen)
      if (const auto* map = std::get_if<graph::MapAttr>(&graph_[part].attr)) flops += expr_cost(map->expr);
    return flops;
  }

 private:
  void visit(NodeId id, int pass, const std::map<NodeId, int>& kept, std::set<NodeId>& seen) const {
    if (!members_.contains(id) || domain_.reduced.contains(id) || !seen.insert(id).second) return;
    const auto held = kept.find(id);
    if (held != kept.end() && held->second < pass) return;
    for (NodeId in : graph_[id].inputs) visit(in, pass, kept, seen);
  }

  const graph::Graph& graph_;
  const RowDomain& domain_;
  const std::set<NodeId> members_;
  std::map<int, std::set<NodeId>> roots_;
};

}  // namespace

Coords RowDomain::at(const Coords& symbolic, const Expr& row, const Expr& column) const {
  const Coords outer = coords_of(row_shape, row), inner = coords_of(inner_shape, column);
  Coords result = symbolic;
  size_t next_outer = 0, next_inner = 0;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const bool is_reduced = std::find(axes.begin(), axes.end(), static_cast<int>(axis)) != axes.end();
    const Expr value = is_reduced ? inner[next_inner++] : outer[next_outer++];
    for (Expr& e : result) e = substitute(e, axis_name(axis), value);
  }
  return result;
}

std::optional<RowDomain> row_domain(const graph::Graph& graph, const Piece& piece) {
  if (piece.kind != PieceKind::row || piece.anchor < 0) return std::nullopt;
  return Finder(graph, piece).find();
}

std::map<NodeId, int> nodes_to_keep(const graph::Graph& graph, const Piece& piece, const RowDomain& domain) {
  // Below this, loading the inputs again and computing is as fast as a store and a load.
  constexpr double least_flops = 8;
  constexpr size_t most_nodes = 2;
  const Work work(graph, piece, domain);
  std::map<NodeId, int> kept;
  for (auto id = piece.nodes.rbegin(); id != piece.nodes.rend() && kept.size() < most_nodes; ++id) {
    if (!is_map(graph[*id]) || !domain.full.contains(*id) || compute_dtype(graph[*id].dtype) != DType::f32) continue;
    int first = -1, uses = 0;
    for (int pass = 0; pass < domain.passes; ++pass) {
      if (!work.evaluated(pass, kept).contains(*id)) continue;
      if (uses++ == 0) first = pass;
    }
    if (uses > 1 && work.cost(*id, kept) >= least_flops) kept[*id] = first;
  }
  return kept;
}

}  // namespace kw::kernel::schedule
