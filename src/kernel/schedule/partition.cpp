#include <algorithm>
#include <map>
#include <set>

#include "base/result.h"
#include "kernel/schedule/access.h"
#include "kernel/schedule/compose.h"
#include "kernel/schedule/grow.h"
#include "kernel/schedule/scalar_code.h"
#include "kernel/schedule/usage.h"

namespace kw::kernel::schedule {
namespace {

using graph::NodeId;

/// Recomputing this many flops an element is cheaper than a trip to memory.
constexpr double cheap_flops = 4;

class Partitioner {
 public:
  Partitioner(const graph::Graph& graph, const Facts& facts, bool fuse)
      : graph_(graph),
        facts_(facts),
        fuse_(fuse),
        usage_(graph),
        group_(graph.nodes.size(), -1),
        stored_(graph.nodes.size(), 0),
        cost_(graph.nodes.size(), 0),
        reads_(graph.nodes.size(), 0) {}

  /// Pieces in an order in which they can run; empty when fused pieces wait for each other.
  std::vector<Piece> pieces() {
    make_groups();
    count_costs();
    decide_stored();
    std::vector<Piece> list;
    for (size_t g = 0; g < groups_.size(); ++g) list.push_back(group_piece(g));
    for (size_t i = 0; i < graph_.nodes.size(); ++i)
      if (usage_.live[i] && group_[i] < 0 && (stored_[i] || is_constant_output(i)))
        list.push_back(piece_of({static_cast<NodeId>(i)}, PieceKind::pointwise, -1));
    return ordered(std::move(list));
  }

 private:
  bool is_constant_output(size_t i) const {
    const graph::Node& n = graph_.nodes[i];
    return usage_.is_output[i] && (n.is<graph::ConstantAttr>() || n.is<graph::IotaAttr>());
  }

  struct Group {
    PieceKind kind;
    NodeId anchor;
    std::vector<NodeId> members;
  };

  void make_groups() {
    std::vector<char> taken(graph_.nodes.size(), 0);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const graph::Node& n = graph_.nodes[i];
      if (!usage_.live[i] || taken[i] || !is_anchor(n) || n.is<graph::ItemAttr>()) continue;
      Group group = group_at(static_cast<NodeId>(i), taken);
      for (NodeId id : group.members) {
        taken[static_cast<size_t>(id)] = 1;
        group_[static_cast<size_t>(id)] = static_cast<int>(groups_.size());
      }
      groups_.push_back(std::move(group));
    }
  }

  Group group_at(NodeId anchor, const std::vector<char>& taken) const {
    const graph::Node& n = graph_[anchor];
    if (n.is<graph::ContractAttr>()) {
      Group g{PieceKind::contract, anchor, {anchor}};
      if (!fuse_) return g;
      const std::vector<NodeId> more = grow_epilogue(graph_, usage_, anchor, taken);
      g.members.insert(g.members.end(), more.begin(), more.end());
      return g;
    }
    if (n.is<graph::ReduceAttr>())
      return {PieceKind::row, anchor,
              fuse_ ? grow_row(graph_, usage_, anchor, taken, facts_) : std::vector<NodeId>{anchor}};
    if (!n.is<graph::RecurAttr>()) return {PieceKind::single, anchor, {anchor}};
    Group g{PieceKind::recur, anchor, {anchor}};
    for (NodeId user : usage_.users[static_cast<size_t>(anchor)]) g.members.push_back(user);
    return g;
  }

  /// Flops and stored values that computing one element inline takes.
  void count_costs() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const graph::Node& n = graph_.nodes[i];
      if (group_[i] >= 0 || is_leaf(n)) {
        reads_[i] = 1;
        continue;
      }
      if (const auto* map = std::get_if<graph::MapAttr>(&n.attr)) cost_[i] = expr_cost(map->expr);
      for (NodeId in : n.inputs) {
        cost_[i] += cost_[static_cast<size_t>(in)];
        reads_[i] += graph_[in].is<graph::ConstantAttr>() ? 0 : reads_[static_cast<size_t>(in)];
      }
    }
  }

  /// How an ungrouped value is used, seen through the views and inlined values above it.
  struct Demand {
    std::set<int64_t> pieces;  // group number, or -1 - node for a stored node
    bool by_contract = false, by_parameter_only = true, repeated = false, as_index = false;
  };

  void decide_stored() {
    std::vector<Demand> demand(graph_.nodes.size());
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      if (!usage_.live[i]) continue;
      const graph::Node& n = graph_.nodes[i];
      if (group_[i] < 0 && !is_leaf(n)) stored_[i] = must_store(i, demand[i]);
      if (is_leaf(n)) continue;
      for (size_t k = 0; k < n.inputs.size(); ++k) pass_demand(i, k, demand);
    }
    // A group's value is stored when anything outside the group reads it.
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (group_[i] < 0 || graph_.nodes[i].is<graph::RecurAttr>()) continue;
      const auto& users = usage_.users[i];
      stored_[i] = usage_.is_output[i] || graph_.nodes[i].is<graph::ItemAttr>() ||
                   std::any_of(users.begin(), users.end(),
                               [&](NodeId u) { return group_[static_cast<size_t>(u)] != group_[i]; });
    }
  }

  void pass_demand(size_t user, size_t k, std::vector<Demand>& demand) const {
    const graph::Node& n = graph_.nodes[user];
    const auto in = static_cast<size_t>(n.inputs[k]);
    Demand& d = demand[in];
    const bool root = group_[user] >= 0 || stored_[user];
    if (root) {
      d.pieces.insert(group_[user] >= 0 ? group_[user] : -1 - static_cast<int64_t>(user));
      d.by_parameter_only = d.by_parameter_only && usage_.parameter_only[user];
    } else {
      d.pieces.insert(demand[user].pieces.begin(), demand[user].pieces.end());
      d.by_parameter_only = d.by_parameter_only && demand[user].by_parameter_only;
      d.by_contract = d.by_contract || demand[user].by_contract;
      d.repeated = d.repeated || demand[user].repeated;
      d.as_index = d.as_index || demand[user].as_index;
    }
    d.by_contract = d.by_contract || n.is<graph::ContractAttr>() || n.is<graph::RecurAttr>() || n.is<graph::SortAttr>();
    d.repeated = d.repeated || (n.is<graph::ExpandAttr>() && n.shape != graph_.nodes[in].shape) ||
                 n.is<graph::WindowAttr>() || n.is<graph::ScatterAttr>();
    const bool indexed = n.is<graph::GatherAttr>() || n.is<graph::ScatterAttr>();
    d.as_index = d.as_index || (indexed && k > 0);
    d.repeated = d.repeated || (n.is<graph::GatherAttr>() && k == 0);
  }

  bool must_store(size_t i, const Demand& d) const {
    const graph::Node& n = graph_.nodes[i];
    if (usage_.is_output[i]) return true;
    if (!fuse_ && !is_view(n)) return true;
    const bool from_constants = reads_[i] == 0;
    if (usage_.parameter_only[i] && !d.by_parameter_only && !is_view(n)) return true;
    if (is_view(n)) return feeds_recur(i);
    if (n.is<graph::CatAttr>()) return true;
    if (d.by_contract) return !from_constants || cost_[i] > cheap_flops;
    if (n.is<graph::GatherAttr>()) return d.pieces.size() > 1 || d.repeated;
    if (from_constants && cost_[i] <= cheap_flops) return false;
    if (d.repeated) return cost_[i] > cheap_flops || reads_[i] > 2;
    if (d.pieces.size() <= 1) return false;
    return cost_[i] > cheap_flops || reads_[i] > 2;
  }

  /// A loop's initial values and sequences are read in every turn: they are buffers.
  bool feeds_recur(size_t i) const {
    const auto& users = usage_.users[i];
    return std::any_of(users.begin(), users.end(), [&](NodeId u) { return graph_[u].is<graph::RecurAttr>(); });
  }

  Piece group_piece(size_t g) const {
    const Group& group = groups_[g];
    std::vector<NodeId> outputs;
    for (NodeId id : group.members)
      if (stored_[static_cast<size_t>(id)]) outputs.push_back(id);
    Piece piece = piece_of(std::move(outputs), group.kind, group.anchor);
    return piece;
  }

  Piece piece_of(std::vector<NodeId> outputs, PieceKind kind, NodeId anchor) const {
    Piece piece;
    piece.kind = kind;
    piece.anchor = anchor;
    piece.outputs = std::move(outputs);
    std::set<NodeId> inputs, members;
    std::vector<NodeId> open = piece.outputs;
    while (!open.empty()) {
      const NodeId id = open.back();
      open.pop_back();
      if (!members.insert(id).second) continue;
      for (NodeId in : graph_[id].inputs) visit(in, id, piece, inputs, open);
    }
    piece.nodes.assign(members.begin(), members.end());
    piece.inputs.assign(inputs.begin(), inputs.end());
    piece.prepare = std::all_of(piece.outputs.begin(), piece.outputs.end(),
                                [&](NodeId id) { return usage_.parameter_only[static_cast<size_t>(id)]; });
    return piece;
  }

  void visit(NodeId in, NodeId from, const Piece& piece, std::set<NodeId>& inputs, std::vector<NodeId>& open) const {
    const auto at = static_cast<size_t>(in);
    const graph::Node& n = graph_[in];
    // A loop's inputs are buffers, constants too.
    if (graph_[from].is<graph::RecurAttr>()) {
      inputs.insert(in);
      return;
    }
    if (n.is<graph::ConstantAttr>() || n.is<graph::IotaAttr>()) return;
    const int own = piece.anchor >= 0 ? group_[static_cast<size_t>(piece.anchor)] : -2;
    const bool member = group_[at] == own || (group_[at] < 0 && !stored_[at]);
    if (!is_leaf(n) && member)
      open.push_back(in);
    else
      inputs.insert(in);
  }

  /// Kahn's order by first output; prepare pieces first.
  std::vector<Piece> ordered(std::vector<Piece> list) const {
    std::sort(list.begin(), list.end(), [](const Piece& a, const Piece& b) {
      return std::pair(!a.prepare, a.outputs.front()) < std::pair(!b.prepare, b.outputs.front());
    });
    std::set<NodeId> ready;
    std::vector<Piece> done;
    std::vector<char> used(list.size(), 0);
    while (done.size() < list.size()) {
      const size_t before = done.size();
      for (size_t i = 0; i < list.size(); ++i) {
        if (used[i] || !is_ready(list[i], ready)) continue;
        used[i] = 1;
        ready.insert(list[i].outputs.begin(), list[i].outputs.end());
        done.push_back(list[i]);
      }
      if (done.size() == before) return {};
    }
    return done;
  }

  bool is_ready(const Piece& piece, const std::set<NodeId>& ready) const {
    return std::all_of(piece.inputs.begin(), piece.inputs.end(),
                       [&](NodeId id) { return is_leaf(graph_[id]) || ready.contains(id); });
  }

  const graph::Graph& graph_;
  const Facts& facts_;
  const bool fuse_;
  const Usage usage_;
  std::vector<int> group_;
  std::vector<Group> groups_;
  std::vector<char> stored_;
  std::vector<double> cost_, reads_;
};

}  // namespace

Partition partition(const graph::Graph& graph, const Facts& facts) {
  for (const bool fuse : {true, false}) {
    std::vector<Piece> pieces = Partitioner(graph, facts, fuse).pieces();
    const bool empty_graph = std::all_of(graph.outputs.begin(), graph.outputs.end(), [&](const graph::OutputInfo& o) {
      return graph[o.node].is<graph::InputAttr>() || graph[o.node].is<graph::ParamAttr>();
    });
    if (!pieces.empty() || empty_graph) return {std::move(pieces)};
  }
  throw BugError("the partition of a graph has no order");
}

}  // namespace kw::kernel::schedule
