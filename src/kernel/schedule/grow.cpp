#include "kernel/schedule/grow.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "kernel/schedule/access.h"

namespace kw::kernel::schedule {

using graph::NodeId;
using tile::Expr;

namespace {

bool is_in(const std::vector<char>& set, NodeId id) { return set[static_cast<size_t>(id)] != 0; }

/// Members whose value is used outside the set, or leaves the graph.
int open_values(const graph::Graph&, const Usage& usage, const std::vector<NodeId>& members,
                const std::vector<char>& inside) {
  int open = 0;
  for (NodeId id : members) {
    const auto& users = usage.users[static_cast<size_t>(id)];
    const bool leaves = std::any_of(users.begin(), users.end(), [&](NodeId u) { return !is_in(inside, u); });
    open += leaves || is_in(usage.is_output, id) ? 1 : 0;
  }
  return open;
}

bool same_coords(const Coords& a, const Coords& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Expr& x, const Expr& y) { return same(x, y); });
}

/// Growth of a row piece. Coordinates of every member are expressions of the domain's coordinates: a full member's of
/// all of them, a reduced member's of the outer ones.
class RowGrowth {
 public:
  RowGrowth(const graph::Graph& graph, const Usage& usage, NodeId anchor, const std::vector<char>& taken,
            const Facts& facts)
      : graph_(graph),
        usage_(usage),
        anchor_(anchor),
        taken_(taken),
        axes_(graph[anchor].as<graph::ReduceAttr>().axes),
        source_(graph[anchor].inputs[0]),
        after_anchor_(usage.dependents(graph, anchor)),
        reached_(after_anchor_),
        member_(graph.nodes.size(), 0) {
    const Shape& domain = graph[source_].shape;
    int64_t rows = 1;
    for (size_t i = 0; i < domain.size(); ++i) {
      at_.push_back(tile::index_var(fmt::format("d{}", i), domain[i]));
      if (std::find(axes_.begin(), axes_.end(), static_cast<int>(i)) != axes_.end()) continue;
      outer_.push_back(at_.back());
      rows *= domain[i];
    }
    // With few long rows the threads share a row: then a second pass over it is another kernel's work.
    takes_rows_ = rows >= 2 * facts.threads || element_count(domain) < 1 << 15;
    full_[source_] = at_;
    for (NodeId v = source_; graph[v].is<graph::ReshapeAttr>() || graph[v].is<graph::PermuteAttr>();) {
      const Coords above = view_origin(graph, v, full_[v]).at;
      v = graph[v].inputs[0];
      full_[v] = above;
    }
  }

  std::vector<NodeId> members() {
    add(anchor_, outer_, reduced_);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const auto id = static_cast<NodeId>(i);
      if (!usage_.live[i] || member_[i] || is_in(taken_, id)) continue;
      if (usage_.parameter_only[i] != usage_.parameter_only[static_cast<size_t>(anchor_)]) continue;
      consider(id);
    }
    prune();
    return members_;
  }

 private:
  void add(NodeId id, Coords at, std::map<NodeId, Coords>& to) {
    to[id] = std::move(at);
    if (member_[static_cast<size_t>(id)]) return;
    member_[static_cast<size_t>(id)] = 1;
    members_.push_back(id);
    const std::vector<char> after = usage_.dependents(graph_, id);
    for (size_t i = 0; i < after.size(); ++i) reached_[i] = reached_[i] || after[i];
  }

  void consider(NodeId id) {
    const graph::Node& n = graph_[id];
    if (n.is<graph::ReduceAttr>()) return consider_reduce(id, n);
    if (n.is<graph::MapAttr>() || n.is<graph::CastAttr>()) return consider_map(id, n);
    if (is_view(n)) return consider_view(id, n);
  }

  void consider_reduce(NodeId id, const graph::Node& n) {
    const auto& r = n.as<graph::ReduceAttr>();
    const auto found = full_.find(n.inputs[0]);
    if (takes_rows_ && found != full_.end() && r.axes == axes_ && same_coords(found->second, at_))
      add(id, outer_, reduced_);
  }

  void consider_map(NodeId id, const graph::Node& n) {
    std::optional<Coords> at;
    bool full = false;
    for (NodeId in : n.inputs) {
      const auto whole = full_.find(in);
      const auto part = reduced_.find(in);
      if (whole == full_.end() && part == reduced_.end()) {
        if (is_in(reached_, in)) return;  // another kernel must run in between
        continue;
      }
      const bool here_full = whole != full_.end();
      const Coords& here = here_full ? whole->second : part->second;
      if (at && (full != here_full || !same_coords(*at, here))) return;
      at = here;
      full = here_full;
    }
    if (!at || (full && !takes_rows_)) return;
    add(id, *at, full ? full_ : reduced_);
  }

  void consider_view(NodeId id, const graph::Node& n) {
    const NodeId in = n.inputs[0];
    if (const auto whole = full_.find(in); whole != full_.end() && is_in(member_, in) && takes_rows_) {
      if (auto at = view_target(graph_, id, whole->second)) add(id, *at, full_);
      return;
    }
    const auto part = reduced_.find(in);
    if (part == reduced_.end()) return;
    if (const auto at = view_target(graph_, id, part->second); at && !n.is<graph::FlipAttr>())
      return add(id, *at, reduced_);
    if (n.is<graph::ExpandAttr>() && takes_rows_) consider_spread(id, part->second);
  }

  /// An expand from one value a row to full rows: accepted when it lies over a known full shape in the right way.
  void consider_spread(NodeId id, const Coords& reduced_at) {
    for (const auto& [known, at] : full_) {
      if (graph_[known].shape != graph_[id].shape) continue;
      if (!same_coords(view_origin(graph_, id, at).at, reduced_at)) continue;
      const Coords copy = at;
      return add(id, copy, full_);
    }
  }

  /// Takes back what does not depend on the anchor and is used elsewhere too, and trailing views.
  void prune() {
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t i = members_.size(); i-- > 0;) {
        const NodeId id = members_[i];
        if (id == anchor_ || !removable(id)) continue;
        member_[static_cast<size_t>(id)] = 0;
        members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(i));
        changed = true;
      }
    }
  }

  bool removable(NodeId id) const {
    const auto& users = usage_.users[static_cast<size_t>(id)];
    const auto inside = std::count_if(users.begin(), users.end(), [&](NodeId u) { return is_in(member_, u); });
    const bool leaves = is_in(usage_.is_output, id) || inside < static_cast<std::ptrdiff_t>(users.size());
    if (graph_[id].is<graph::ReduceAttr>()) return false;
    if (is_view(graph_[id])) return inside == 0 && !is_in(usage_.is_output, id);
    if (is_in(after_anchor_, id)) return false;
    return inside == 0 || (leaves && !has_member_input(id));
  }

  bool has_member_input(NodeId id) const {
    const auto& in = graph_[id].inputs;
    return std::any_of(in.begin(), in.end(), [&](NodeId x) { return is_in(member_, x); });
  }

  const graph::Graph& graph_;
  const Usage& usage_;
  const NodeId anchor_;
  const std::vector<char>& taken_;
  const std::vector<int>& axes_;
  const NodeId source_;
  const std::vector<char> after_anchor_;
  std::vector<char> reached_;  // depends on some member
  std::vector<char> member_;
  std::vector<NodeId> members_;
  Coords at_, outer_;
  std::map<NodeId, Coords> full_, reduced_;
  bool takes_rows_ = false;
};

}  // namespace

std::vector<NodeId> grow_epilogue(const graph::Graph& graph, const Usage& usage, NodeId anchor,
                                  const std::vector<char>& taken) {
  const std::vector<char> reached = usage.dependents(graph, anchor);
  std::vector<char> inside(graph.nodes.size(), 0);
  inside[static_cast<size_t>(anchor)] = 1;
  std::vector<NodeId> members{anchor}, best;
  for (size_t i = static_cast<size_t>(anchor) + 1; i < graph.nodes.size(); ++i) {
    const graph::Node& n = graph.nodes[i];
    if (!usage.live[i] || !reached[i] || taken[i] || !is_one_to_one(n)) continue;
    if (usage.parameter_only[i] != usage.parameter_only[static_cast<size_t>(anchor)]) continue;
    const bool ready = std::all_of(n.inputs.begin(), n.inputs.end(),
                                   [&](NodeId in) { return is_in(inside, in) || !is_in(reached, in); });
    // A map whose inputs reach it by different views would need two tiles at once.
    const bool grows = std::any_of(n.inputs.begin(), n.inputs.end(), [&](NodeId in) { return is_in(inside, in); });
    if (!ready || !grows) continue;
    members.push_back(static_cast<NodeId>(i));
    inside[i] = 1;
    if (open_values(graph, usage, members, inside) == 1) best.assign(members.begin() + 1, members.end());
  }
  while (!best.empty() && is_view(graph[best.back()]) && !is_in(usage.is_output, best.back())) best.pop_back();
  return best;
}

std::vector<NodeId> grow_row(const graph::Graph& graph, const Usage& usage, NodeId anchor,
                             const std::vector<char>& taken, const Facts& facts) {
  std::vector<NodeId> members = RowGrowth(graph, usage, anchor, taken, facts).members();
  std::sort(members.begin(), members.end());
  return members;
}

}  // namespace kw::kernel::schedule
