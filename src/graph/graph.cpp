#include "graph/graph.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/infer.h"

namespace kw::graph {
namespace {

std::string node_fault(const Graph& graph, size_t id) {
  const Node& node = graph.nodes[id];
  for (NodeId input : node.inputs) {
    if (input < 0 || static_cast<size_t>(input) >= id) return "reads a node that does not precede it";
  }
  const Inferred inferred = infer(graph, node);
  if (!inferred.fault.empty()) return inferred.fault;
  const bool negative = std::any_of(node.shape.begin(), node.shape.end(), [](int64_t n) { return n < 0; });
  if (negative) return "has a negative size";
  if (node.is<RecurAttr>()) return "";
  if (inferred.shape != node.shape) return "has another shape than its inputs give";
  return inferred.dtype == node.dtype ? "" : "has another dtype than its inputs give";
}

std::vector<char> mark_needed(const Graph& graph) {
  std::vector<char> needed(graph.nodes.size(), 0);
  for (const OutputInfo& out : graph.outputs) needed[static_cast<size_t>(out.node)] = 1;
  for (size_t id = graph.nodes.size(); id-- > 0;) {
    if (!needed[id]) continue;
    for (NodeId input : graph.nodes[id].inputs) needed[static_cast<size_t>(input)] = 1;
  }
  return needed;
}

}  // namespace

std::string find_fault(const Graph& graph) {
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    if (std::string text = node_fault(graph, id); !text.empty())
      return fmt::format("%{} ({}) {}", id, kind_name(graph.nodes[id]), text);
  }
  for (const OutputInfo& out : graph.outputs) {
    if (out.node < 0 || static_cast<size_t>(out.node) >= graph.nodes.size()) return "an output names no node";
    if (graph[out.node].is<RecurAttr>()) return "an output names a recur instead of an item of it";
  }
  return "";
}

Graph without_dead_nodes(const Graph& graph) {
  const std::vector<char> needed = mark_needed(graph);
  Graph kept;
  kept.inputs = graph.inputs;
  kept.params = graph.params;
  kept.outputs = graph.outputs;
  std::vector<NodeId> renamed(graph.nodes.size(), -1);
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    if (!needed[id]) continue;
    renamed[id] = static_cast<NodeId>(kept.nodes.size());
    Node node = graph.nodes[id];
    for (NodeId& input : node.inputs) input = renamed[static_cast<size_t>(input)];
    kept.nodes.push_back(std::move(node));
  }
  for (OutputInfo& out : kept.outputs) out.node = renamed[static_cast<size_t>(out.node)];
  return kept;
}

}  // namespace kw::graph
