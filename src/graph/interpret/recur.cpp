#include <algorithm>

#include "graph/interpret/evaluators.h"

/// Loops: the body graph runs once a turn; carries are handed on, per-turn values are stacked.
namespace kw::graph::interpreter {
namespace {

/// The view of turn t of a sequence [steps, ...].
Value turn_of(const Value& sequence, int64_t t) {
  Value view = sequence;
  view.offset += t * view.strides[0];
  view.shape.erase(view.shape.begin());
  view.strides.erase(view.strides.begin());
  return view;
}

/// Stacks one value a turn; `turns` are in the order of t.
Result<Value> stack(Context& context, const Node& type, const std::vector<Value>& turns, int64_t steps) {
  Node node;
  node.attr = CatAttr{0};
  node.dtype = type.dtype;
  node.shape = type.shape;
  node.shape.insert(node.shape.begin(), steps);
  if (turns.empty()) return make_value(context, node.dtype, node.shape, false);
  std::vector<Value> rows = turns;
  for (Value& row : rows) {
    row.shape.insert(row.shape.begin(), 1);
    row.strides.insert(row.strides.begin(), 0);
  }
  return eval_cat(context, node, rows);
}

}  // namespace

Result<Value> eval_recur(Context& context, const Node& node, std::span<const Value> in) {
  const RecurAttr& attr = node.as<RecurAttr>();
  const auto carries = static_cast<size_t>(attr.n_carry);
  const auto sequences = static_cast<size_t>(attr.n_seq);
  std::vector<Value> state(in.begin(), in.begin() + attr.n_carry);
  std::vector<std::vector<Value>> per_turn(attr.body->outputs.size() - carries);
  for (auto& turns : per_turn) turns.resize(static_cast<size_t>(attr.steps));
  for (int64_t turn = 0; turn < attr.steps; ++turn) {
    const int64_t t = attr.reverse ? attr.steps - 1 - turn : turn;
    std::vector<Value> inputs = state;
    for (size_t i = 0; i < sequences; ++i) inputs.push_back(turn_of(in[carries + i], t));
    inputs.insert(inputs.end(), in.begin() + attr.n_carry + attr.n_seq, in.end());
    auto outputs = run_graph(context, *attr.body, inputs);
    if (!outputs) return outputs.failure();
    std::copy_n(outputs->begin(), carries, state.begin());
    for (size_t i = 0; i < per_turn.size(); ++i) per_turn[i][static_cast<size_t>(t)] = (*outputs)[carries + i];
  }
  Value result{node.dtype, {}, {}, 0, nullptr, std::move(state)};
  for (size_t i = 0; i < per_turn.size(); ++i) {
    auto stacked = stack(context, (*attr.body)[attr.body->outputs[carries + i].node], per_turn[i], attr.steps);
    if (!stacked) return stacked;
    result.items.push_back(std::move(*stacked));
    per_turn[i].clear();
  }
  return result;
}

Result<Value> eval_item(Context&, const Node& node, std::span<const Value> in) {
  return in[0].items.at(static_cast<size_t>(node.as<ItemAttr>().index));
}

}  // namespace kw::graph::interpreter
