#include "graph/interpret.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "graph/analysis.h"
#include "graph/interpret/evaluators.h"

namespace kw::graph {
namespace interpreter {
namespace {

/// Inputs are placed before a graph runs; no evaluator sees one.
Result<Value> eval_input(Context&, const Node&, std::span<const Value>) {
  throw BugError("an input node has no evaluator");
}

/// In the order of Attr's alternatives.
constexpr std::array<Evaluator, std::variant_size_v<Attr>> evaluators = {
    eval_input,   eval_param,   eval_constant, eval_iota,  eval_cast, eval_map,   eval_reduce, eval_contract,
    eval_permute, eval_reshape, eval_expand,   eval_slice, eval_pad,  eval_flip,  eval_window, eval_dilate,
    eval_cat,     eval_gather,  eval_scatter,  eval_scan,  eval_sort, eval_recur, eval_item};

/// For each node the index of the last node that reads it.
std::vector<NodeId> last_readers(const Graph& graph) {
  std::vector<NodeId> last(graph.nodes.size(), -1);
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    for (NodeId input : graph.nodes[id].inputs) last[static_cast<size_t>(input)] = static_cast<NodeId>(id);
  }
  for (const OutputInfo& out : graph.outputs)
    last[static_cast<size_t>(out.node)] = static_cast<NodeId>(graph.nodes.size());
  return last;
}

Failure out_of_time() {
  return {"interpret.time", "the float64 reference takes longer than the time that is left",
          "give it more --time, or smaller example inputs"};
}

}  // namespace

Result<Value> eval_param(Context& context, const Node& node, std::span<const Value>) {
  const std::string& name = node.as<ParamAttr>().name;
  const auto at = context.params.find(name);
  check(at != context.params.end(), "a parameter is missing");
  check(at->second.shape == node.shape && at->second.dtype == node.dtype, "a parameter has another type");
  return load_value(context, at->second);
}

Result<std::vector<Value>> run_graph(Context& context, const Graph& graph, const std::vector<Value>& inputs) {
  const std::vector<NodeId> last = last_readers(graph);
  std::vector<Value> values(graph.nodes.size());
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    if (node.is<InputAttr>()) {
      values[id] = inputs.at(static_cast<size_t>(node.as<InputAttr>().index));
      continue;
    }
    std::vector<Value> in;
    for (NodeId input : node.inputs) in.push_back(values[static_cast<size_t>(input)]);
    auto made = evaluators[node.attr.index()](context, node, in);
    if (!made) return made.failure();
    if (context.late()) return out_of_time();
    values[id] = std::move(*made);
    for (NodeId input : node.inputs) {
      if (last[static_cast<size_t>(input)] == static_cast<NodeId>(id)) values[static_cast<size_t>(input)] = Value{};
    }
  }
  std::vector<Value> outputs;
  for (const OutputInfo& out : graph.outputs) outputs.push_back(values[static_cast<size_t>(out.node)]);
  return outputs;
}

}  // namespace interpreter

namespace {

using namespace interpreter;

Result<Reference> to_reference(const Context& context, const Value& value) {
  auto flat = dense(context, value);
  if (!flat) return flat.failure();
  Reference reference{value.dtype, value.shape, {}, {}};
  const double* v = flat->buffer->value.get() + flat->offset;
  reference.value.assign(v, v + flat->count());
  if (!context.options.bounds) return reference;
  reference.bound.assign(reference.value.size(), 0.0);
  if (flat->has_bound()) std::copy_n(flat->buffer->bound.get() + flat->offset, flat->count(), reference.bound.data());
  return reference;
}

}  // namespace

Result<Evaluation> interpret(const Graph& graph, const std::vector<Tensor>& inputs,
                             const std::map<std::string, Tensor>& params, const InterpretOptions& options) {
  check(inputs.size() == graph.inputs.size(), "interpret needs every input");
  auto ledger = std::make_shared<Ledger>();
  ledger->limit_bytes = options.memory_limit_bytes;
  Context context{options, params, ledger, {}, {}};
  if (peak_bytes(graph, options.bounds) > options.memory_limit_bytes) return out_of_memory(context);
  std::vector<Value> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(inputs[i].shape == graph.inputs[i].shape && inputs[i].dtype == graph.inputs[i].dtype,
          "input has another type");
    auto value = load_value(context, inputs[i]);
    if (!value) return value.failure();
    values.push_back(std::move(*value));
  }
  auto results = run_graph(context, graph, values);
  if (!results) return results.failure();
  values.clear();
  Evaluation evaluation;
  for (Value& result : *results) {
    auto reference = to_reference(context, result);
    if (!reference) return reference.failure();
    evaluation.outputs.push_back(std::move(*reference));
    result = Value{};
  }
  evaluation.straddled = context.straddled;
  evaluation.overflowing = context.overflowing;
  return evaluation;
}

}  // namespace kw::graph
