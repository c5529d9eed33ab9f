#include "graph/aten/call.h"

/// LSTM, GRU and plain RNNs. The input projection of all steps is one product before the loop; the loop holds only
/// the product with the hidden state and the gates.
namespace kw::graph::aten {

namespace {

enum class Cell { lstm, gru, rnn_tanh, rnn_relu };

/// Weights of one layer in one direction; biases and the projection may be absent.
struct Weights {
  NodeId input, hidden;
  std::optional<NodeId> input_bias, hidden_bias, projection;
};

struct State {
  NodeId h = -1, c = -1;
};

NodeId gate(Algebra& a, NodeId gates, int index, int count) {
  const int axis = a.rank(gates) - 1;
  const int64_t width = a.size(gates, axis) / count;
  return a.slice(gates, axis, index * width, (index + 1) * width);
}

State lstm_step(Algebra& a, NodeId from_input, NodeId from_hidden, NodeId cell) {
  const NodeId gates = a.add(from_input, from_hidden);
  const auto part = [&](int i) { return gate(a, gates, i, 4); };
  const NodeId kept = a.map(part(1), cell, [](E f, E c) { return sigmoid(f) * c; });
  const NodeId next = a.map(kept, part(0), part(2), [](E c, E i, E g) { return c + sigmoid(i) * tanh(g); });
  return {a.map(part(3), next, [](E o, E c) { return sigmoid(o) * tanh(c); }), next};
}

NodeId gru_step(Algebra& a, NodeId x, NodeId hx, NodeId h) {
  const auto sum_of = [](E i, E j) { return sigmoid(i + j); };
  const NodeId reset = a.map(gate(a, x, 0, 3), gate(a, hx, 0, 3), sum_of);
  const NodeId update = a.map(gate(a, x, 1, 3), gate(a, hx, 1, 3), sum_of);
  const NodeId fresh = a.map(gate(a, x, 2, 3), gate(a, hx, 2, 3), reset, [](E i, E j, E r) { return tanh(i + r * j); });
  return a.map(update, fresh, h, [](E z, E n, E old) { return n + z * (old - n); });
}

/// One step: x's projection with its bias (and the hidden bias where that commutes) is given.
State step(Algebra& a, Cell cell, NodeId x, State s, const Weights& w) {
  const NodeId hx = a.linear(s.h, w.hidden, w.hidden_bias);
  if (cell == Cell::lstm) {
    State next = lstm_step(a, x, hx, s.c);
    if (w.projection) next.h = a.linear(next.h, *w.projection, std::nullopt);
    return next;
  }
  if (cell == Cell::gru) return {gru_step(a, x, hx, s.h), -1};
  const bool relu = cell == Cell::rnn_relu;
  return {a.map(x, hx, [&](E i, E j) { return relu ? maximum(i + j, 0.0) : tanh(i + j); }), -1};
}

/// Only the GRU multiplies its hidden bias inside the gate; elsewhere it joins the hoisted projection.
Weights with_joined_bias(Algebra& a, Cell cell, Weights w) {
  if (cell == Cell::gru || !w.hidden_bias) return w;
  w.input_bias = w.input_bias ? a.add(*w.input_bias, *w.hidden_bias) : *w.hidden_bias;
  w.hidden_bias = std::nullopt;
  return w;
}

/// The loop body over one turn: carries h (and c), a slice of the projection, then the weights.
struct Loop {
  GraphBuilder body;
  Nodes outer;  // the recur node's inputs
  Algebra& a;
  NodeId bring(NodeId from, bool per_turn = false) {
    outer.push_back(from);
    Shape shape = a.shape(from);
    if (per_turn) shape.erase(shape.begin());
    return body.input(a.dtype(from), shape, "in" + std::to_string(outer.size()));
  }
};

struct Run {
  NodeId sequence;  // [T, B, H]
  State last;
};

/// One layer in one direction over x [T, B, I].
Run run_direction(Algebra& a, Cell cell, NodeId x, const State& start, const Weights& given, bool reverse) {
  const Weights w = with_joined_bias(a, cell, given);
  const NodeId projected = a.linear(x, w.input, w.input_bias);
  Loop loop{{}, {}, a};
  Algebra inside(loop.body);
  State s{loop.bring(start.h), start.c < 0 ? -1 : loop.bring(start.c)};
  const NodeId turn = loop.bring(projected, true);
  Weights within{-1, loop.bring(w.hidden), std::nullopt, std::nullopt, std::nullopt};
  if (w.hidden_bias) within.hidden_bias = loop.bring(*w.hidden_bias);
  if (w.projection) within.projection = loop.bring(*w.projection);
  s = step(inside, cell, turn, s, within);
  loop.body.output(s.h);
  if (s.c >= 0) loop.body.output(s.c);
  loop.body.output(s.h);
  RecurAttr attr;
  attr.body = std::make_shared<const Graph>(loop.body.take());
  attr.steps = a.size(x, 0);
  attr.n_carry = s.c >= 0 ? 2 : 1;
  attr.n_seq = 1;
  attr.reverse = reverse;
  const int carries = attr.n_carry;
  const NodeId recur = a.g.recur(std::move(attr), loop.outer);
  return {a.g.item(recur, carries), {a.g.item(recur, 0), carries == 2 ? a.g.item(recur, 1) : -1}};
}

Weights read_weights(const Nodes& params, size_t& at, bool biases, bool projected) {
  const auto next = [&] {
    check(at < params.size(), "recurrent module: too few weights");
    return params[at++];
  };
  Weights w{next(), next(), std::nullopt, std::nullopt, std::nullopt};
  if (biases) w.input_bias = next(), w.hidden_bias = next();
  if (projected) w.projection = next();
  return w;
}

Nodes computed(Call& c, Nodes nodes) {
  for (NodeId& n : nodes) n = c.cast(n, c.compute());
  return nodes;
}

Values recurrent(Call& c, Cell cell) {
  if (c.flag("train", false) && c.number("dropout", 0) > 0 && c.integer("num_layers") > 1) {
    c.refuse_random("dropout between recurrent layers in train mode");
  }
  NodeId x = c.x("input");
  const Nodes hx = computed(c, cell == Cell::lstm ? c.tensors("hx") : Nodes{c.tensor("hx")});
  const Nodes params = computed(c, c.tensors("params"));
  const bool biases = c.flag("has_biases", true), both = c.flag("bidirectional", false);
  const bool batch_first = c.flag("batch_first", false), batched = c.rank(x) == 3;
  const int directions = both ? 2 : 1;
  const int64_t layers = c.integer("num_layers");
  check(hx.size() == (cell == Cell::lstm ? 2u : 1u), "recurrent module: wrong number of states");
  const bool projected = cell == Cell::lstm && c.size(hx[0], c.rank(hx[0]) - 1) != c.size(hx[1], c.rank(hx[1]) - 1);
  if (!batched) x = c.unsqueeze(x, 1);
  if (batched && batch_first) x = c.transpose(x, 0, 1);
  const auto start = [&](NodeId all, int64_t i) {
    const NodeId one = c.select(all, 0, i);
    return c.rank(one) == 1 ? c.unsqueeze(one, 0) : one;
  };
  Nodes last_h, last_c;
  size_t at = 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    Nodes outputs;
    for (int d = 0; d < directions; ++d) {
      const int64_t i = layer * directions + d;
      const State s{start(hx[0], i), cell == Cell::lstm ? start(hx[1], i) : -1};
      const Run run = run_direction(c, cell, x, s, read_weights(params, at, biases, projected), d == 1);
      outputs.push_back(run.sequence);
      last_h.push_back(c.unsqueeze(run.last.h, 0));
      if (cell == Cell::lstm) last_c.push_back(c.unsqueeze(run.last.c, 0));
    }
    x = c.cat(outputs, 2);
  }
  if (batched && batch_first) x = c.transpose(x, 0, 1);
  Nodes all{x, c.cat(last_h, 0)};
  if (cell == Cell::lstm) all.push_back(c.cat(last_c, 0));
  for (NodeId& n : all) n = batched ? n : c.squeeze(n, 1);
  return all;
}

Values single_cell(Call& c, Cell cell) {
  Weights w{c.x("w_ih"), c.x("w_hh"), c.maybe_x("b_ih"), c.maybe_x("b_hh"), std::nullopt};
  const Nodes hx = computed(c, cell == Cell::lstm ? c.tensors("hx") : Nodes{c.tensor("hx")});
  check(hx.size() == (cell == Cell::lstm ? 2u : 1u), "recurrent cell: wrong number of states");
  w = with_joined_bias(c, cell, w);
  const State s =
      step(c, cell, c.linear(c.x("input"), w.input, w.input_bias), {hx[0], cell == Cell::lstm ? hx[1] : -1}, w);
  return cell == Cell::lstm ? Values{s.h, s.c} : Values{s.h};
}

}  // namespace

Rows recurrent_rows() {
  return {
      {"lstm.input", [](Call& c) { return recurrent(c, Cell::lstm); }},
      {"gru.input", [](Call& c) { return recurrent(c, Cell::gru); }},
      {"rnn_tanh.input", [](Call& c) { return recurrent(c, Cell::rnn_tanh); }},
      {"rnn_relu.input", [](Call& c) { return recurrent(c, Cell::rnn_relu); }},
      {"lstm_cell", [](Call& c) { return single_cell(c, Cell::lstm); }},
      {"gru_cell", [](Call& c) { return single_cell(c, Cell::gru); }},
      {"rnn_tanh_cell", [](Call& c) { return single_cell(c, Cell::rnn_tanh); }},
      {"rnn_relu_cell", [](Call& c) { return single_cell(c, Cell::rnn_relu); }},
  };
}

}  // namespace kw::graph::aten
