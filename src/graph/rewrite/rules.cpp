#include <algorithm>
#include <cmath>

#include "graph/rewrite/rewrite.h"

/// The rules, one function and one row each. docs/adding-a-rule.md shows how to add one.
namespace kw::graph {
namespace {

size_t at(int i) { return static_cast<size_t>(i); }
bool has(const std::vector<int>& xs, int x) { return std::find(xs.begin(), xs.end(), x) != xs.end(); }

/// A map that is one operation on two whole inputs.
struct Binary {
  ScalarOp op;
  NodeId x, y;
};

std::optional<Binary> as_binary(const GraphBuilder& g, NodeId id) {
  const Node& node = g[id];
  if (!node.is<MapAttr>() || !is_float(node.dtype)) return std::nullopt;
  const ScalarExpr& e = node.as<MapAttr>().expr;
  if (e.size() != 3 || e[0].op != ScalarOp::arg || e[1].op != ScalarOp::arg || e[2].b < 0) return std::nullopt;
  const auto input = [&](int32_t step) { return node.inputs[at(e[at(step)].a)]; };
  return Binary{e[2].op, input(e[2].a), input(e[2].b)};
}

/// A map that scales its only input: x * imm or x / imm.
bool is_scaling(const Node& node) {
  if (!node.is<MapAttr>() || node.inputs.size() != 1 || !is_float(node.dtype)) return false;
  const ScalarExpr& e = node.as<MapAttr>().expr;
  if (e.size() != 3 || (e[2].op != ScalarOp::mul && e[2].op != ScalarOp::div)) return false;
  const bool imm_second = e[at(e[2].b)].op == ScalarOp::imm && e[at(e[2].a)].op == ScalarOp::arg;
  const bool imm_first = e[at(e[2].a)].op == ScalarOp::imm && e[at(e[2].b)].op == ScalarOp::arg;
  return imm_second || (imm_first && e[2].op == ScalarOp::mul);
}

bool is_sum(const Node& node) {
  return node.is<ReduceAttr>() && node.as<ReduceAttr>().op == ReduceOp::sum && is_float(node.dtype);
}

/// Sums the axes of one operand whose labels are in `gone` and not in the other operand.
NodeId sum_private(GraphBuilder& g, NodeId x, std::vector<int>& labels, const std::vector<int>& other,
                   const std::vector<int>& gone) {
  std::vector<int> axes, kept;
  for (size_t i = 0; i < labels.size(); ++i) {
    const bool summed = has(gone, labels[i]) && !has(other, labels[i]);
    if (summed) {
      axes.push_back(static_cast<int>(i));
    } else {
      kept.push_back(labels[i]);
    }
  }
  labels = kept;
  return g.reduce(ReduceOp::sum, x, axes);
}

/// sum_j sum_k a[i,k] b[j,k] = sum_k a[i,k] (sum_j b[j,k]).
std::optional<NodeId> sum_of_contract(Site& site, NodeId id) {
  const Node node = site.g[id];
  if (!is_sum(node) || !site.g[node.inputs[0]].is<ContractAttr>() || site.uses(node.inputs[0]) > 1) return std::nullopt;
  const Node product = site.g[node.inputs[0]];
  ContractAttr attr = product.as<ContractAttr>();
  std::vector<int> gone, out;
  for (size_t i = 0; i < attr.out.size(); ++i)
    (has(node.as<ReduceAttr>().axes, static_cast<int>(i)) ? gone : out).push_back(attr.out[i]);
  const std::vector<int> a_labels = attr.a;
  const NodeId a = sum_private(site.g, product.inputs[0], attr.a, attr.b, gone);
  const NodeId b = sum_private(site.g, product.inputs[1], attr.b, a_labels, gone);
  return site.g.contract(a, attr.a, b, attr.b, out);
}

bool leads_to_contract(const Site& site, NodeId id, int depth = 3) {
  const Node& node = site.g[id];
  if (node.is<ContractAttr>()) return true;
  if (!node.is<MapAttr>() || depth == 0 || site.uses(id) > 1) return false;
  if (is_scaling(node)) return leads_to_contract(site, node.inputs[0], depth - 1);
  const auto binary = as_binary(site.g, id);
  if (!binary || (binary->op != ScalarOp::add && binary->op != ScalarOp::sub)) return false;
  return leads_to_contract(site, binary->x, depth - 1) || leads_to_contract(site, binary->y, depth - 1);
}

/// sum(c + d) = sum(c) + sum(d) and sum(s c) = s sum(c), where a product lies behind.
std::optional<NodeId> sum_of_linear(Site& site, NodeId id) {
  const Node node = site.g[id];
  if (!is_sum(node) || site.g[node.inputs[0]].is<ContractAttr>() || !leads_to_contract(site, node.inputs[0]))
    return std::nullopt;
  const Node inner = site.g[node.inputs[0]];
  if (site.uses(node.inputs[0]) > 1) return std::nullopt;
  std::vector<NodeId> sums;
  for (NodeId input : inner.inputs) sums.push_back(site.g.reduce(ReduceOp::sum, input, node.as<ReduceAttr>().axes));
  return site.g.map(inner.as<MapAttr>().expr, sums);
}

/// The sum over a repeated axis is a multiple.
std::optional<NodeId> sum_of_expand(Site& site, NodeId id) {
  const Node node = site.g[id];
  if (!is_sum(node) || !site.g[node.inputs[0]].is<ExpandAttr>()) return std::nullopt;
  const Node expand = site.g[node.inputs[0]];
  const Shape narrow = site.g.shape(expand.inputs[0]);
  Shape kept;
  std::vector<int> axes;
  double times = 1;
  for (size_t i = 0; i < narrow.size(); ++i) {
    const bool reduced = has(node.as<ReduceAttr>().axes, static_cast<int>(i));
    if (!reduced) kept.push_back(narrow[i]);
    if (reduced && narrow[i] != expand.shape[i]) times *= static_cast<double>(expand.shape[i]);
    if (reduced) axes.push_back(static_cast<int>(i));
  }
  if (times == 1) return std::nullopt;
  const NodeId sum = site.g.reduce(ReduceOp::sum, expand.inputs[0], axes);
  return site.g.expand(site.g.map2(ScalarOp::mul, sum, times), node.shape);
}

/// A reduction over axes of size 1 only picks the element.
std::optional<NodeId> reduce_of_one(Site& site, NodeId id) {
  const Node node = site.g[id];
  if (!node.is<ReduceAttr>()) return std::nullopt;
  const Shape& from = site.g.shape(node.inputs[0]);
  for (int axis : node.as<ReduceAttr>().axes) {
    if (from[at(axis)] != 1) return std::nullopt;
  }
  const bool index = node.as<ReduceAttr>().op == ReduceOp::argmax || node.as<ReduceAttr>().op == ReduceOp::argmin;
  return index ? site.g.full(0, DType::i64, node.shape) : site.g.reshape(node.inputs[0], node.shape);
}

/// map(expand(x), expand(y)) = expand(map(x, y)) where no input is wider.
std::optional<NodeId> expand_after_map(Site& site, NodeId id) {
  const Node node = site.g[id];
  if (!node.is<MapAttr>()) return std::nullopt;
  Shape wide(node.shape.size(), 1);
  std::vector<NodeId> inputs;
  for (NodeId input : node.inputs) {
    const NodeId narrow = site.g[input].is<ExpandAttr>() ? site.g[input].inputs[0] : input;
    inputs.push_back(narrow);
    for (size_t i = 0; i < wide.size(); ++i) wide[i] = std::max(wide[i], site.g.shape(narrow)[i]);
  }
  if (wide == node.shape) return std::nullopt;
  return site.g.expand(site.g.map(node.as<MapAttr>().expr, inputs), node.shape);
}

/// The axis along which a parameter-only operand varies: -1 for none, nothing for several.
std::optional<int> varying_axis(const Site& site, NodeId id, NodeId& narrow) {
  if (!site.parameter_only(id)) return std::nullopt;
  narrow = site.g[id].is<ExpandAttr>() ? site.g[id].inputs[0] : id;
  int axis = -1;
  for (size_t i = 0; i < site.g.shape(narrow).size(); ++i) {
    if (site.g.shape(narrow)[i] == 1) continue;
    if (axis >= 0) return std::nullopt;
    axis = static_cast<int>(i);
  }
  return axis;
}

/// contract(x, w) * scale[channel] = contract(x, w * scale[channel]): the scale goes into the weights.
std::optional<NodeId> scale_into_weights(Site& site, NodeId id) {
  const auto binary = as_binary(site.g, id);
  if (!binary || binary->op != ScalarOp::mul) return std::nullopt;
  for (const auto& [product_id, scale_id] : {std::pair(binary->x, binary->y), std::pair(binary->y, binary->x)}) {
    if (!site.g[product_id].is<ContractAttr>() || site.uses(product_id) > 1) continue;
    const Node product = site.g[product_id];
    const ContractAttr& attr = product.as<ContractAttr>();
    NodeId scale = -1;
    const auto axis = varying_axis(site, scale_id, scale);
    if (!axis || *axis < 0) continue;
    const int label = attr.out[at(*axis)];
    for (int side = 0; side < 2; ++side) {
      const std::vector<int>& labels = side == 0 ? attr.a : attr.b;
      if (!has(labels, label) || !site.parameter_only(product.inputs[at(side)])) continue;
      Shape shape(labels.size(), 1);
      shape[at(static_cast<int>(std::find(labels.begin(), labels.end(), label) - labels.begin()))] =
          product.shape[at(*axis)];
      NodeId operands[] = {product.inputs[0], product.inputs[1]};
      operands[side] = site.g.map2(ScalarOp::mul, operands[side], site.g.reshape(scale, shape));
      return site.g.contract(operands[0], attr.a, operands[1], attr.b, attr.out);
    }
  }
  return std::nullopt;
}

/// (c + p) * q = c * q + p * q for parameter-only p, q behind a product, so that the scale can reach its weights.
std::optional<NodeId> distribute_scale(Site& site, NodeId id) {
  const auto outer = as_binary(site.g, id);
  if (!outer || outer->op != ScalarOp::mul) return std::nullopt;
  for (const auto& [sum_id, scale] : {std::pair(outer->x, outer->y), std::pair(outer->y, outer->x)}) {
    const auto sum = as_binary(site.g, sum_id);
    if (!sum || (sum->op != ScalarOp::add && sum->op != ScalarOp::sub) || site.uses(sum_id) > 1) continue;
    if (!site.parameter_only(scale) || !site.parameter_only(sum->y)) continue;
    NodeId narrow = -1;
    const bool reaches = site.g[sum->x].is<ContractAttr>() && site.uses(sum->x) == 1;
    if (!reaches || varying_axis(site, scale, narrow).value_or(-1) < 0) continue;
    const NodeId x = site.g.map2(ScalarOp::mul, sum->x, scale);
    const NodeId y = site.g.map2(ScalarOp::mul, sum->y, scale);
    return site.g.map2(sum->op, x, y);
  }
  return std::nullopt;
}

/// (c + p) + q = c + (p + q) for parameter-only p, q behind a product: one bias.
std::optional<NodeId> join_biases(Site& site, NodeId id) {
  const auto outer = as_binary(site.g, id);
  const auto additive = [](ScalarOp op) { return op == ScalarOp::add || op == ScalarOp::sub; };
  if (!outer || !additive(outer->op) || !site.parameter_only(outer->y)) return std::nullopt;
  const auto inner = as_binary(site.g, outer->x);
  if (!inner || !additive(inner->op) || site.uses(outer->x) > 1) return std::nullopt;
  if (!site.parameter_only(inner->y) || !site.g[inner->x].is<ContractAttr>()) return std::nullopt;
  const NodeId p = inner->op == ScalarOp::sub ? site.g.map1(ScalarOp::neg, inner->y) : inner->y;
  return site.g.map2(ScalarOp::add, inner->x, site.g.map2(outer->op, p, outer->y));
}

/// `narrow` broadcasts to `wide`; the same for `other`, which differs from `wide` only by axes of size 1.
std::optional<Shape> carried_over(const Shape& narrow, const Shape& wide, const Shape& other) {
  Shape result;
  size_t w = 0;
  for (int64_t size : other) {
    while (w < wide.size() && size != 1 && wide[w] == 1) ++w;
    if (size != 1 && (w == wide.size() || wide[w] != size)) return std::nullopt;
    result.push_back(size == 1 ? 1 : narrow[w++]);
  }
  while (w < wide.size() && wide[w] == 1) ++w;
  if (w != wide.size()) return std::nullopt;
  return result;
}

/// reshape(c) * p = reshape(c * p') where the reshape only drops axes of size 1, as behind a depthwise convolution.
std::optional<NodeId> map_before_reshape(Site& site, NodeId id) {
  const auto binary = as_binary(site.g, id);
  if (!binary || !site.g[binary->x].is<ReshapeAttr>() || site.uses(binary->x) > 1) return std::nullopt;
  const NodeId inner = site.g[binary->x].inputs[0];
  if (!leads_to_contract(site, inner) || !site.parameter_only(binary->y)) return std::nullopt;
  const NodeId p = site.g[binary->y].is<ExpandAttr>() ? site.g[binary->y].inputs[0] : binary->y;
  const Shape wide = site.g.shape(id);
  const auto shape = carried_over(site.g.shape(p), wide, site.g.shape(inner));
  if (!shape) return std::nullopt;
  return site.g.reshape(site.g.map2(binary->op, inner, site.g.reshape(p, *shape)), wide);
}

/// Slices one operand along the labels of the result.
NodeId slice_operand(GraphBuilder& g, NodeId x, const std::vector<int>& labels, const std::vector<int>& out,
                     const SliceAttr& slice, const Shape& to) {
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto place = std::find(out.begin(), out.end(), labels[i]) - out.begin();
    if (static_cast<size_t>(place) == out.size()) continue;
    const auto o = static_cast<size_t>(place);
    const int64_t stop = to[o] == 0 ? slice.start[o] : slice.start[o] + (to[o] - 1) * slice.step[o] + 1;
    x = g.slice(x, static_cast<int>(i), slice.start[o], stop, slice.step[o]);
  }
  return x;
}

/// slice(contract(a, b)) = contract(slice(a), slice(b)), slice(map(x)) = map(slice(x)): what is cut off is not
/// computed.
std::optional<NodeId> slice_before_work(Site& site, NodeId id) {
  const Node node = site.g[id];
  if (!node.is<SliceAttr>() || site.uses(node.inputs[0]) > 1) return std::nullopt;
  const Node inner = site.g[node.inputs[0]];
  const SliceAttr& slice = node.as<SliceAttr>();
  if (inner.is<ContractAttr>()) {
    const ContractAttr& attr = inner.as<ContractAttr>();
    const NodeId a = slice_operand(site.g, inner.inputs[0], attr.a, attr.out, slice, node.shape);
    const NodeId b = slice_operand(site.g, inner.inputs[1], attr.b, attr.out, slice, node.shape);
    return site.g.contract(a, attr.a, b, attr.b, attr.out);
  }
  if (!inner.is<MapAttr>()) return std::nullopt;
  std::vector<int> axes(node.shape.size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int>(i);
  std::vector<NodeId> inputs;
  for (NodeId input : inner.inputs) inputs.push_back(slice_operand(site.g, input, axes, axes, slice, node.shape));
  return site.g.map(inner.as<MapAttr>().expr, inputs);
}

/// slice(expand(x)) = expand(slice(x)): repeated axes are cut by not repeating.
std::optional<NodeId> slice_of_expand(Site& site, NodeId id) {
  const Node node = site.g[id];
  if (!node.is<SliceAttr>() || !site.g[node.inputs[0]].is<ExpandAttr>()) return std::nullopt;
  const NodeId x = site.g[node.inputs[0]].inputs[0];
  const SliceAttr& slice = node.as<SliceAttr>();
  const Shape narrow = site.g.shape(x);
  NodeId y = x;
  for (size_t i = 0; i < narrow.size(); ++i) {
    if (narrow[i] == 1 || node.shape[i] == 0) continue;
    const int64_t stop = slice.start[i] + (node.shape[i] - 1) * slice.step[i] + 1;
    y = site.g.slice(y, static_cast<int>(i), slice.start[i], stop, slice.step[i]);
  }
  if (element_count(node.shape) == 0) return std::nullopt;
  return site.g.expand(y, node.shape);
}

/// A loop's stacked value at its last turn is the carry, where the body stacks what it carries on.
std::optional<NodeId> last_turn(Site& site, NodeId id) {
  const Node node = site.g[id];
  if (!node.is<SliceAttr>() || !site.g[node.inputs[0]].is<ItemAttr>() || node.shape.empty() || node.shape[0] != 1)
    return std::nullopt;
  const Node item = site.g[node.inputs[0]];
  const RecurAttr recur = site.g[item.inputs[0]].as<RecurAttr>();
  const int index = item.as<ItemAttr>().index;
  const SliceAttr& slice = node.as<SliceAttr>();
  const int64_t last = recur.reverse ? 0 : recur.steps - 1;
  if (index < recur.n_carry || slice.start[0] != last) return std::nullopt;
  for (size_t i = 1; i < node.shape.size(); ++i) {
    if (node.shape[i] != item.shape[i]) return std::nullopt;
  }
  for (int carry = 0; carry < recur.n_carry; ++carry) {
    if (recur.body->outputs[at(carry)].node != recur.body->outputs[at(index)].node) continue;
    return site.g.reshape(site.g.item(item.inputs[0], carry), node.shape);
  }
  return std::nullopt;
}

constexpr Rule rules[] = {
    {"reduce-of-one", Exactness::exact, reduce_of_one},
    {"last-turn", Exactness::exact, last_turn},
    {"slice-before-work", Exactness::exact, slice_before_work},
    {"slice-of-expand", Exactness::exact, slice_of_expand},
    {"expand-after-map", Exactness::exact, expand_after_map},
    {"map-before-reshape", Exactness::exact, map_before_reshape},
    {"sum-of-linear", Exactness::reassociates, sum_of_linear},
    {"sum-of-expand", Exactness::reassociates, sum_of_expand},
    {"sum-of-contract", Exactness::needs_finite, sum_of_contract},
    {"distribute-scale", Exactness::depends_on_parameters, distribute_scale},
    {"scale-into-weights", Exactness::depends_on_parameters, scale_into_weights},
    {"join-biases", Exactness::depends_on_parameters, join_biases},
};

}  // namespace

std::span<const Rule> rewrite_rules() { return rules; }

}  // namespace kw::graph
