#include <fmt/format.h>

#include <optional>
#include <set>

#include "graph/infer.h"
#include "kernel/schedule/compose.h"
#include "operators.h"

// Faults of meaning: one node of the graph is changed, and kernels are written for what it then says.
namespace kw::redteam {
namespace {

using namespace graph;

/// Changes one node in place; false where the operator does not apply or the node's shape would change.
using NodeChange = bool (*)(Graph& graph, NodeId id);

Node& node_of(Graph& graph, NodeId id) { return graph.nodes[static_cast<size_t>(id)]; }

bool swap_op(Graph& graph, NodeId id, ScalarOp from, ScalarOp to) {
  Node& node = node_of(graph, id);
  if (!node.is<MapAttr>()) return false;
  for (ScalarStep& step : std::get<MapAttr>(node.attr).expr)
    if (step.op == from) {
      step.op = to;
      return true;
    }
  return false;
}

bool swap_operands(Graph& graph, NodeId id) {
  Node& node = node_of(graph, id);
  if (!node.is<MapAttr>()) return false;
  for (ScalarStep& step : std::get<MapAttr>(node.attr).expr)
    if ((step.op == ScalarOp::sub || step.op == ScalarOp::div) && step.a != step.b) {
      std::swap(step.a, step.b);
      return true;
    }
  return false;
}

bool scale_number(Graph& graph, NodeId id, double by) {
  Node& node = node_of(graph, id);
  if (node.is<ConstantAttr>() && node.as<ConstantAttr>().value != 0 && is_float(node.dtype)) {
    std::get<ConstantAttr>(node.attr).value *= by;
    return true;
  }
  if (!node.is<MapAttr>()) return false;
  for (ScalarStep& step : std::get<MapAttr>(node.attr).expr)
    if (step.op == ScalarOp::imm && step.imm != 0 && is_float(step.dtype)) {
      step.imm *= by;
      return true;
    }
  return false;
}

bool change_reduce(Graph& graph, NodeId id, ReduceOp from, ReduceOp to) {
  Node& node = node_of(graph, id);
  if (!node.is<ReduceAttr>() || node.as<ReduceAttr>().op != from) return false;
  std::get<ReduceAttr>(node.attr).op = to;
  return true;
}

bool swap_labels(Graph& graph, NodeId id) {
  Node& node = node_of(graph, id);
  if (!node.is<ContractAttr>()) return false;
  auto& attr = std::get<ContractAttr>(node.attr);
  const Shape& shape = graph[node.inputs[1]].shape;
  for (size_t i = 0; i < attr.b.size(); ++i)
    for (size_t j = i + 1; j < attr.b.size(); ++j)
      if (shape[i] == shape[j]) {
        std::swap(attr.b[i], attr.b[j]);
        return true;
      }
  return false;
}

bool shift_padding(Graph& graph, NodeId id) {
  Node& node = node_of(graph, id);
  if (!node.is<PadAttr>()) return false;
  auto& attr = std::get<PadAttr>(node.attr);
  for (size_t i = 0; i < attr.lo.size(); ++i)
    if (attr.hi[i] > 0) {
      attr.lo[i] += attr.hi[i];
      attr.hi[i] = 0;
      return true;
    }
  return false;
}

bool pad_value(Graph& graph, NodeId id) {
  Node& node = node_of(graph, id);
  if (!node.is<PadAttr>()) return false;
  auto& attr = std::get<PadAttr>(node.attr);
  attr.value = attr.value == 0 ? 1 : 0;
  return true;
}

bool reverse_loop(Graph& graph, NodeId id) {
  Node& node = node_of(graph, id);
  if (!node.is<RecurAttr>()) return false;
  std::get<RecurAttr>(node.attr).reverse = true;
  return true;
}

bool drop_carry(Graph& graph, NodeId id) {
  Node& node = node_of(graph, id);
  if (!node.is<RecurAttr>()) return false;
  auto& attr = std::get<RecurAttr>(node.attr);
  Graph body = *attr.body;
  for (Node& inner : body.nodes)
    if (inner.is<MapAttr>())
      for (ScalarStep& step : std::get<MapAttr>(inner.attr).expr)
        if (step.op == ScalarOp::add) {
          step.op = ScalarOp::sub;
          attr.body = std::make_shared<const Graph>(body);
          return true;
        }
  return false;
}

struct NodeRow {
  const char* name;
  NodeChange change;
};
constexpr NodeRow node_rows[] = {
    {"meaning: - for +", [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::add, ScalarOp::sub); }},
    {"meaning: + for -", [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::sub, ScalarOp::add); }},
    {"meaning: / for *", [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::mul, ScalarOp::div); }},
    {"meaning: * for /", [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::div, ScalarOp::mul); }},
    {"meaning: min for max", [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::max, ScalarOp::min); }},
    {"meaning: expm1 for exp", [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::exp, ScalarOp::expm1); }},
    {"meaning: reciprocal root for root",
     [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::sqrt, ScalarOp::rsqrt); }},
    {"meaning: tanh for erf", [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::erf, ScalarOp::tanh); }},
    {"meaning: log1p for log", [](Graph& g, NodeId i) { return swap_op(g, i, ScalarOp::log, ScalarOp::log1p); }},
    {"meaning: operands turned round", swap_operands},
    {"meaning: number off by 1/1024", [](Graph& g, NodeId i) { return scale_number(g, i, 1 + 0x1p-10); }},
    {"meaning: number ten times larger", [](Graph& g, NodeId i) { return scale_number(g, i, 10); }},
    {"meaning: number negated", [](Graph& g, NodeId i) { return scale_number(g, i, -1); }},
    {"meaning: maximum for sum", [](Graph& g, NodeId i) { return change_reduce(g, i, ReduceOp::sum, ReduceOp::max); }},
    {"meaning: minimum for maximum",
     [](Graph& g, NodeId i) { return change_reduce(g, i, ReduceOp::max, ReduceOp::min); }},
    {"meaning: sum for maximum", [](Graph& g, NodeId i) { return change_reduce(g, i, ReduceOp::max, ReduceOp::sum); }},
    {"meaning: argmin for argmax",
     [](Graph& g, NodeId i) { return change_reduce(g, i, ReduceOp::argmax, ReduceOp::argmin); }},
    {"meaning: operand transposed", swap_labels},
    {"meaning: padding on one side", shift_padding},
    {"meaning: padding of another value", pad_value},
    {"meaning: loop runs backwards", reverse_loop},
    {"meaning: loop subtracts its input", drop_carry},
};

struct Rounding {
  const char* name;
  DType dtype;
};
constexpr Rounding roundings[] = {{"meaning: value in bf16", DType::bf16}, {"meaning: value in fp16", DType::f16}};

/// The graph rebuilt; `change` may put another node in place of the one that was just made.
template <class F>
Graph rebuilt(const Graph& graph, F change) {
  GraphBuilder builder;
  std::vector<NodeId> names;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node node = graph.nodes[i];
    for (NodeId& input : node.inputs) input = names[static_cast<size_t>(input)];
    NodeId made = -1;
    if (node.is<InputAttr>()) {
      const InputInfo& info = graph.inputs[static_cast<size_t>(node.as<InputAttr>().index)];
      made = builder.input(info.dtype, info.shape, info.name);
    } else if (node.is<ParamAttr>()) {
      for (const ParamInfo& info : graph.params)
        if (info.name == node.as<ParamAttr>().name) made = builder.param(info.name, info.kind, info.dtype, info.shape);
    } else {
      made = builder.add(node);
    }
    names.push_back(change(builder, static_cast<NodeId>(i), made));
  }
  for (const OutputInfo& output : graph.outputs) builder.output(names[static_cast<size_t>(output.node)]);
  return builder.take();
}

std::optional<Graph> with_rounding(const Graph& graph, NodeId id, DType dtype) {
  const Node& node = graph[id];
  if (node.dtype != DType::f32 || node.is<RecurAttr>() || node.is<ConstantAttr>()) return std::nullopt;
  return rebuilt(graph, [&](GraphBuilder& builder, NodeId old, NodeId made) {
    return old == id ? builder.cast(builder.cast(made, dtype), DType::f32) : made;
  });
}

/// A Map of several inputs hands the first one on: a bias, a scale, a residual is forgotten.
std::optional<Graph> without_map(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  if (!node.is<MapAttr>() || node.inputs.empty() || graph[node.inputs[0]].dtype != node.dtype) return std::nullopt;
  if (id == node.inputs[0]) return std::nullopt;
  std::vector<NodeId> made_of(graph.nodes.size(), -1);
  return rebuilt(graph, [&](GraphBuilder&, NodeId old, NodeId made) {
    made_of[static_cast<size_t>(old)] = made;
    const NodeId name = old == id ? made_of[static_cast<size_t>(node.inputs[0])] : made;
    made_of[static_cast<size_t>(old)] = name;
    return name;
  });
}

std::optional<Graph> with_change(const Graph& graph, NodeId id, NodeChange change) {
  Graph changed = graph;
  if (!change(changed, id)) return std::nullopt;
  const Inferred inferred = infer(changed, changed[id]);
  if (!inferred.fault.empty() || inferred.shape != graph[id].shape || inferred.dtype != graph[id].dtype)
    return std::nullopt;
  return changed;
}

}  // namespace

std::vector<std::string> graph_operator_names() {
  std::vector<std::string> names;
  for (const NodeRow& row : node_rows) names.emplace_back(row.name);
  for (const Rounding& row : roundings) names.emplace_back(row.name);
  names.emplace_back("meaning: step forgotten");
  return names;
}

std::vector<Work> graph_mutants(const Problem& problem, const kernel::Facts& facts) {
  std::vector<Work> mutants;
  std::set<std::string> seen = {to_text(problem.graph)};
  const auto keep = [&](const std::optional<Graph>& graph, const char* name, NodeId id) {
    if (!graph || !seen.insert(to_text(*graph)).second || !find_fault(*graph).empty()) return;
    const auto made = kernel::schedule::default_candidate(*graph, facts);
    if (!made) return;
    const auto parts = kernel::schedule::partition(*graph, facts);
    const auto choice = kernel::schedule::default_choice(*graph, parts, facts);
    const std::string family = choice.empty() ? "pointwise" : choice[0].family;
    mutants.push_back({&problem, *made, problem.name + "/" + family, name, to_text(problem.graph[id]), family});
  };
  for (size_t i = 0; i < problem.graph.nodes.size(); ++i) {
    const auto id = static_cast<NodeId>(i);
    for (const NodeRow& row : node_rows) keep(with_change(problem.graph, id, row.change), row.name, id);
    for (const Rounding& row : roundings) keep(with_rounding(problem.graph, id, row.dtype), row.name, id);
    keep(without_map(problem.graph, id), "meaning: step forgotten", id);
  }
  return mutants;
}

}  // namespace kw::redteam
