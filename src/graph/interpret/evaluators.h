#pragma once
#include "graph/interpret/value.h"

namespace kw::graph::interpreter {

/// One node's value from its inputs' values.
using Evaluator = Result<Value> (*)(Context& context, const Node& node, std::span<const Value> in);

Result<Value> eval_param(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_constant(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_iota(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_cast(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_map(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_reduce(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_contract(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_permute(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_reshape(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_expand(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_slice(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_pad(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_flip(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_window(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_dilate(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_cat(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_gather(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_scatter(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_scan(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_sort(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_recur(Context& context, const Node& node, std::span<const Value> in);
Result<Value> eval_item(Context& context, const Node& node, std::span<const Value> in);

/// All outputs of a graph whose inputs are values.
Result<std::vector<Value>> run_graph(Context& context, const Graph& graph, const std::vector<Value>& inputs);

/// The storage rounding of a value that a module holds as f16 or bf16, and the dtype's range.
void store(double& value, double& bound, const Limits& limits);

}  // namespace kw::graph::interpreter
