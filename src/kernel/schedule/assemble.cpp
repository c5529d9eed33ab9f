#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "kernel/emit/msl_prelude.h"
#include "kernel/schedule/access.h"
#include "kernel/schedule/compose.h"
#include "kernel/schedule/composer.h"
#include "kernel/schedule/gpu.h"
#include "kernel/schedule/usage.h"

namespace kw::kernel::schedule {
namespace {

using graph::NodeId;

/// The buffers that the module brings, and how results leave.
class Assembly {
 public:
  Assembly(const graph::Graph& graph, const Partition& parts, const Choice& choice, const Facts& facts)
      : graph_(graph), parts_(parts), choice_(choice), facts_(facts) {}

  Result<Candidate> candidate(std::vector<int>* piece_of_step) {
    const bool msl = facts_.dialect == "msl";
    plan_.target = msl ? "metal" : "cpu";
    if (!msl) plan_.isa = facts_.isa;
    if (const Status status = msl ? check_metal(graph_) : ok_status(); !status) return status.failure();
    add_leaves();
    add_outputs();
    std::vector<NodeId> kept;
    for (const graph::OutputInfo& o : graph_.outputs) kept.push_back(o.node);
    Result<Composition> made = compose({graph_, parts_, choice_, facts_, "", names_}, kept);
    if (!made) return made.failure();
    plan_.prepare = std::move(made->prepare);
    plan_.steps = std::move(made->steps);
    for (Buffer& b : made->buffers) plan_.buffers.push_back(std::move(b));
    add_copies(made->value_names);
    Candidate c;
    for (DType dtype : copied_) c.source += copy_kernel_text(dtype, facts_);
    c.source += made->text;
    if (msl) c.source = emit::msl_source(c.source);
    c.plan_json = to_json(plan_);
    c.author = "search";
    c.notes = std::move(made->notes);
    if (piece_of_step != nullptr) *piece_of_step = std::move(made->piece_of_step);
    return c;
  }

 private:
  void add_leaves() {
    std::set<std::string> states;
    for (const graph::OutputInfo& o : graph_.outputs)
      if (o.is_state) states.insert(o.state_name);
    const Usage usage(graph_);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const graph::Node& n = graph_.nodes[i];
      if (!usage.live[i] || (!n.is<graph::InputAttr>() && !n.is<graph::ParamAttr>())) continue;
      Buffer b;
      b.dtype = n.dtype;
      b.dtype_given = true;
      for (int64_t extent : n.shape) b.shape.emplace_back(extent);
      if (const auto* in = std::get_if<graph::InputAttr>(&n.attr)) {
        b.name = fmt::format("in{}", in->index);
        b.role = Role::input;
        b.index = in->index;
        guard_shape(in->index, n.shape);
      } else {
        b.parameter = n.as<graph::ParamAttr>().name;
        const bool state = states.contains(b.parameter);
        b.name = fmt::format("{}{}", state ? "state" : "w", i);
        b.role = state ? Role::state : Role::parameter;
        if (state) state_buffers_[b.parameter] = b.name;
      }
      names_[static_cast<NodeId>(i)] = b.name;
      plan_.buffers.push_back(std::move(b));
    }
  }

  void guard_shape(int input, const Shape& shape) {
    for (size_t d = 0; d < shape.size(); ++d) {
      const std::string symbol = fmt::format("i{}d{}", input, d);
      plan_.symbols[symbol] = {input, static_cast<int>(d)};
      plan_.guards.push_back(fmt::format("{} == {}", symbol, shape[d]));
    }
  }

  /// A value computed by a run piece is written straight to the output's buffer.
  void add_outputs() {
    std::set<NodeId> prepared;
    for (const Piece& piece : parts_.pieces)
      if (piece.prepare) prepared.insert(piece.outputs.begin(), piece.outputs.end());
    int index = 0;
    for (const graph::OutputInfo& o : graph_.outputs) {
      if (o.is_state) {
        state_target(o);
        continue;
      }
      Buffer b;
      b.name = fmt::format("out{}", index);
      b.role = Role::output;
      b.index = index++;
      b.dtype = graph_[o.node].dtype;
      b.dtype_given = true;
      for (int64_t extent : graph_[o.node].shape) b.shape.emplace_back(extent);
      if (names_.contains(o.node) || prepared.contains(o.node))
        copies_.push_back({o.node, b.name});
      else
        names_[o.node] = b.name;
      plan_.buffers.push_back(std::move(b));
    }
  }

  /// New values of buffers are copied in at the end, when nothing reads the old ones any more.
  void state_target(const graph::OutputInfo& o) {
    std::string& name = state_buffers_[o.state_name];
    if (name.empty()) {
      Buffer b;
      name = fmt::format("state_{}", state_buffers_.size());
      b.name = name;
      b.role = Role::state;
      b.parameter = o.state_name;
      b.dtype = graph_[o.node].dtype;
      b.dtype_given = true;
      for (int64_t extent : graph_[o.node].shape) b.shape.emplace_back(extent);
      plan_.buffers.push_back(std::move(b));
    }
    copies_.push_back({o.node, name});
  }

  void add_copies(const std::map<NodeId, std::string>& values) {
    // Outputs that hand back an old state come before its new value.
    std::stable_partition(copies_.begin(), copies_.end(),
                          [](const auto& copy) { return copy.second.starts_with("out"); });
    const std::map<NodeId, std::string> kept = keep_old_states(values);
    for (const auto& [node, to] : copies_) {
      const std::string& from = kept.contains(node) ? kept.at(node) : values.at(node);
      if (from != to) add_copy(node, from, to);
    }
  }

  void add_copy(NodeId node, const std::string& from, const std::string& to) {
    copied_.insert(graph_[node].dtype);
    plan_.steps.emplace_back(copy_launch(graph_[node].dtype, from, to, element_count(graph_[node].shape), facts_));
  }

  /// A state that becomes another state is set aside first: that other may overwrite it (two that swap do).
  std::map<NodeId, std::string> keep_old_states(const std::map<NodeId, std::string>& values) {
    std::set<std::string> states;
    for (const auto& [name, buffer] : state_buffers_) states.insert(buffer);
    std::map<NodeId, std::string> kept;
    for (const auto& [node, to] : copies_) {
      const std::string& from = values.at(node);
      if (from == to || !states.contains(to) || !states.contains(from) || kept.contains(node)) continue;
      Buffer b;
      b.name = fmt::format("old_{}", from);
      b.role = Role::scratch;
      b.dtype = graph_[node].dtype;
      b.dtype_given = true;
      for (int64_t extent : graph_[node].shape) b.shape.emplace_back(extent);
      add_copy(node, from, b.name);
      kept[node] = b.name;
      plan_.buffers.push_back(std::move(b));
    }
    return kept;
  }

  const graph::Graph& graph_;
  const Partition& parts_;
  const Choice& choice_;
  const Facts& facts_;
  Plan plan_;
  std::map<NodeId, std::string> names_;
  std::map<std::string, std::string> state_buffers_;
  std::vector<std::pair<NodeId, std::string>> copies_;
  std::set<DType> copied_;
};

}  // namespace

std::vector<Option> options(const graph::Graph& graph, const Piece& piece, const Facts& facts) {
  std::vector<Option> list;
  for (const auto& family : families()) {
    if (!family->speaks(facts) || !family->covers(graph, piece)) continue;
    for (Schedule& s : family->space(graph, piece, facts)) {
      const double seconds = family->predicted_s(graph, piece, s, facts);
      list.push_back({std::move(s), seconds});
    }
  }
  std::stable_sort(list.begin(), list.end(),
                   [](const Option& a, const Option& b) { return a.predicted_s < b.predicted_s; });
  check(!list.empty(), "no family covers a piece");
  return list;
}

Choice default_choice(const graph::Graph& graph, const Partition& parts, const Facts& facts) {
  Choice choice;
  for (const Piece& piece : parts.pieces) choice.push_back(options(graph, piece, facts).front().schedule);
  return choice;
}

double predicted_s(const graph::Graph& graph, const Partition& parts, const Choice& choice, const Facts& facts) {
  double seconds = 0;
  for (size_t i = 0; i < parts.pieces.size(); ++i)
    if (!parts.pieces[i].prepare)
      seconds += family_of(choice[i].family).predicted_s(graph, parts.pieces[i], choice[i], facts);
  return seconds;
}

Result<Candidate> assemble(const graph::Graph& graph, const Partition& parts, const Choice& choice, const Facts& facts,
                           std::vector<int>* piece_of_step) {
  check(parts.pieces.size() == choice.size(), "a choice has one schedule for each piece");
  return Assembly(graph, parts, choice, facts).candidate(piece_of_step);
}

Result<Candidate> default_candidate(const graph::Graph& graph, const Facts& facts) {
  const Partition parts = partition(graph, facts);
  return assemble(graph, parts, default_choice(graph, parts, facts), facts);
}

}  // namespace kw::kernel::schedule
