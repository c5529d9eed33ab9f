#include "kernel/schedule/usage.h"

#include <algorithm>
#include <set>

namespace kw::kernel::schedule {

using graph::NodeId;

namespace {

std::vector<char> live_nodes(const graph::Graph& graph) {
  std::vector<char> live(graph.nodes.size(), 0);
  for (const graph::OutputInfo& o : graph.outputs) live[static_cast<size_t>(o.node)] = 1;
  for (size_t i = graph.nodes.size(); i-- > 0;)
    if (live[i])
      for (NodeId in : graph.nodes[i].inputs) live[static_cast<size_t>(in)] = 1;
  return live;
}

std::set<std::string> state_names(const graph::Graph& graph) {
  std::set<std::string> names;
  for (const graph::OutputInfo& o : graph.outputs)
    if (o.is_state) names.insert(o.state_name);
  return names;
}

}  // namespace

Usage::Usage(const graph::Graph& graph)
    : users(graph.nodes.size()),
      live(live_nodes(graph)),
      is_output(graph.nodes.size(), 0),
      parameter_only(graph.nodes.size(), 0) {
  const std::set<std::string> states = state_names(graph);
  std::vector<char> varies(graph.nodes.size(), 0);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const graph::Node& n = graph.nodes[i];
    if (!live[i]) continue;
    const auto* param = std::get_if<graph::ParamAttr>(&n.attr);
    varies[i] = n.is<graph::InputAttr>() || (param && states.contains(param->name));
    parameter_only[i] = param != nullptr;
    for (NodeId in : n.inputs) {
      const auto at = static_cast<size_t>(in);
      if (users[at].empty() || users[at].back() != static_cast<NodeId>(i)) users[at].push_back(static_cast<NodeId>(i));
      varies[i] = varies[i] || varies[at];
      parameter_only[i] = parameter_only[i] || parameter_only[at];
    }
    parameter_only[i] = parameter_only[i] && !varies[i];
  }
  for (const graph::OutputInfo& o : graph.outputs) is_output[static_cast<size_t>(o.node)] = 1;
}

std::vector<char> Usage::dependents(const graph::Graph& graph, NodeId from) const {
  std::vector<char> reached(graph.nodes.size(), 0);
  reached[static_cast<size_t>(from)] = 1;
  for (size_t i = static_cast<size_t>(from) + 1; i < graph.nodes.size(); ++i)
    for (NodeId in : graph.nodes[i].inputs)
      if (reached[static_cast<size_t>(in)]) reached[i] = 1;
  return reached;
}

bool is_leaf(const graph::Node& n) {
  return n.is<graph::InputAttr>() || n.is<graph::ParamAttr>() || n.is<graph::ConstantAttr>() || n.is<graph::IotaAttr>();
}

bool is_anchor(const graph::Node& n) {
  return n.is<graph::ReduceAttr>() || n.is<graph::ContractAttr>() || n.is<graph::ScanAttr>() ||
         n.is<graph::SortAttr>() || n.is<graph::ScatterAttr>() || n.is<graph::RecurAttr>() || n.is<graph::ItemAttr>();
}

bool is_one_to_one(const graph::Node& n) {
  return n.is<graph::MapAttr>() || n.is<graph::CastAttr>() || n.is<graph::PermuteAttr>() ||
         n.is<graph::ReshapeAttr>() || n.is<graph::FlipAttr>();
}

}  // namespace kw::kernel::schedule
