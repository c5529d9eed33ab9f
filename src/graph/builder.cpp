#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/result.h"
#include "graph/graph.h"
#include "graph/infer.h"

namespace kw::graph {
namespace {

size_t index(NodeId id) { return static_cast<size_t>(id); }

std::vector<int> first_labels(size_t count) {
  std::vector<int> labels(count);
  std::iota(labels.begin(), labels.end(), 0);
  return labels;
}

bool all_zero(const std::vector<int64_t>& values) {
  return std::all_of(values.begin(), values.end(), [](int64_t v) { return v == 0; });
}

bool all_one(const std::vector<int64_t>& values) {
  return std::all_of(values.begin(), values.end(), [](int64_t v) { return v == 1; });
}

}  // namespace

NodeId GraphBuilder::push(Attr attr, std::vector<NodeId> inputs, Shape shape, DType dtype) {
  for (NodeId input : inputs) check(input >= 0 && index(input) < graph_.nodes.size(), "graph node reads no node");
  Node node{std::move(attr), dtype, std::move(shape), std::move(inputs), origin_};
  Inferred inferred = infer(graph_, node);
  if (!inferred.fault.empty()) throw BugError(fmt::format("{}: {}", kind_name(node), inferred.fault));
  node.shape = std::move(inferred.shape);
  node.dtype = inferred.dtype;
  std::string key = to_text(node);
  if (node.is<RecurAttr>()) key += fmt::format("{}", static_cast<const void*>(node.as<RecurAttr>().body.get()));
  const auto [at, added] = index_.emplace(std::move(key), static_cast<NodeId>(graph_.nodes.size()));
  if (added) graph_.nodes.push_back(std::move(node));
  return at->second;
}

NodeId GraphBuilder::add(Node node) {
  const int32_t origin = std::exchange(origin_, node.origin);
  const NodeId id = push(std::move(node.attr), std::move(node.inputs), std::move(node.shape), node.dtype);
  origin_ = origin;
  return id;
}

std::optional<double> GraphBuilder::uniform_value(NodeId x) const {
  const Node* node = &graph_[x];
  while (node->is<ReshapeAttr>() || node->is<ExpandAttr>()) node = &graph_[node->inputs[0]];
  if (!node->is<ConstantAttr>()) return std::nullopt;
  return node->as<ConstantAttr>().value;
}

NodeId GraphBuilder::input(DType dtype, Shape shape, std::string name) {
  graph_.inputs.push_back({dtype, std::move(shape), std::move(name)});
  return push(InputAttr{static_cast<int>(graph_.inputs.size()) - 1}, {});
}

NodeId GraphBuilder::param(std::string name, ParamKind kind, DType dtype, Shape shape) {
  const auto known = std::find_if(graph_.params.begin(), graph_.params.end(),
                                  [&](const ParamInfo& info) { return info.name == name; });
  if (known == graph_.params.end()) {
    graph_.params.push_back({name, kind, dtype, std::move(shape)});
  } else {
    check(known->dtype == dtype && known->shape == shape, "one param with two types");
  }
  return push(ParamAttr{std::move(name)}, {});
}

NodeId GraphBuilder::constant(double value, DType dtype) {
  return push(ConstantAttr{to_dtype_domain(dtype, value)}, {}, {}, dtype);
}

NodeId GraphBuilder::full(double value, DType dtype, Shape shape) {
  return expand(constant(value, dtype), std::move(shape));
}

NodeId GraphBuilder::iota(int64_t size) { return push(IotaAttr{}, {}, {size}); }

NodeId GraphBuilder::cast(NodeId x, DType dtype) {
  if (this->dtype(x) == dtype) return x;
  if (const auto value = uniform_value(x)) return full(*value, dtype, shape(x));
  return push(CastAttr{}, {x}, {}, dtype);
}

NodeId GraphBuilder::map(const ScalarExpr& expr, const std::vector<NodeId>& inputs) {
  Shape wide;
  for (NodeId x : inputs) check(broadcast_shapes(Shape(wide), shape(x), wide), "map inputs do not broadcast");
  ScalarBuilder scalar;
  std::vector<ScalarBuilder::Value> args;
  std::vector<NodeId> kept;
  for (NodeId x : inputs) {
    if (const auto value = uniform_value(x)) {
      args.push_back(scalar.imm(*value, dtype(x)));
      continue;
    }
    const auto at = std::find(kept.begin(), kept.end(), x) - kept.begin();
    if (static_cast<size_t>(at) == kept.size()) kept.push_back(x);
    args.push_back(scalar.arg(static_cast<int>(at), dtype(x)));
  }
  const auto root = scalar.inline_expr(expr, args);
  ScalarExpr folded = scalar.take(root);
  std::vector<NodeId> used;  // folding may have dropped some
  for (ScalarStep& step : folded) {
    if (step.op != ScalarOp::arg) continue;
    used.push_back(expand(kept[static_cast<size_t>(step.a)], wide));
    step.a = static_cast<int32_t>(used.size()) - 1;
  }
  const ScalarStep& last = folded.back();
  if (last.op == ScalarOp::imm) return full(last.imm, last.dtype, wide);
  if (last.op == ScalarOp::arg) return used[0];
  if (last.op == ScalarOp::cast && folded.size() == 2) return cast(used[0], last.dtype);
  return push(MapAttr{std::move(folded)}, std::move(used));
}

NodeId GraphBuilder::map1(ScalarOp op, NodeId x) {
  ScalarBuilder scalar;
  scalar.apply(op, scalar.arg(0, dtype(x)));
  return map(scalar.take(), {x});
}

NodeId GraphBuilder::map2(ScalarOp op, NodeId x, NodeId y) {
  ScalarBuilder scalar;
  const auto a = scalar.arg(0, dtype(x));
  scalar.apply(op, a, scalar.arg(1, dtype(y)));
  return map(scalar.take(), {x, y});
}

NodeId GraphBuilder::map2(ScalarOp op, NodeId x, double y) { return map2(op, x, constant(y, dtype(x))); }

NodeId GraphBuilder::where(NodeId condition, NodeId x, NodeId y) {
  ScalarBuilder scalar;
  const auto c = scalar.arg(0, dtype(condition));
  const auto a = scalar.arg(1, dtype(x));
  scalar.select(c, a, scalar.arg(2, dtype(y)));
  return map(scalar.take(), {condition, x, y});
}

NodeId GraphBuilder::reduce(ReduceOp op, NodeId x, std::vector<int> axes, bool keepdim) {
  std::sort(axes.begin(), axes.end());
  if (axes.empty()) return x;
  Shape kept = shape(x);
  const NodeId reduced = push(ReduceAttr{op, axes}, {x});
  if (!keepdim) return reduced;
  for (int axis : axes) kept[static_cast<size_t>(axis)] = 1;
  return reshape(reduced, kept);
}

NodeId GraphBuilder::contract(NodeId a, std::vector<int> a_labels, NodeId b, std::vector<int> b_labels,
                              std::vector<int> out_labels) {
  // Labels are renamed in order of appearance so that equal products are shared.
  std::vector<int> names;
  const auto rename = [&](std::vector<int>& labels) {
    for (int& label : labels) {
      const auto at = std::find(names.begin(), names.end(), label);
      const auto position = static_cast<int>(at - names.begin());
      if (at == names.end()) names.push_back(label);
      label = position;
    }
  };
  rename(a_labels);
  rename(b_labels);
  rename(out_labels);
  return push(ContractAttr{std::move(a_labels), std::move(b_labels), std::move(out_labels)}, {a, b});
}

NodeId GraphBuilder::permute(NodeId x, std::vector<int> perm) {
  if (graph_[x].is<PermuteAttr>()) {
    const std::vector<int>& inner = graph_[x].as<PermuteAttr>().perm;
    for (int& axis : perm) axis = inner.at(static_cast<size_t>(axis));
    x = graph_[x].inputs[0];
  }
  if (perm == first_labels(shape(x).size())) return x;
  return push(PermuteAttr{std::move(perm)}, {x});
}

NodeId GraphBuilder::reshape(NodeId x, Shape shape) {
  while (graph_[x].is<ReshapeAttr>()) x = graph_[x].inputs[0];
  if (this->shape(x) == shape) return x;
  return push(ReshapeAttr{}, {x}, std::move(shape));
}

NodeId GraphBuilder::expand(NodeId x, Shape shape) {
  if (graph_[x].is<ExpandAttr>() && this->shape(x).size() == shape.size()) x = graph_[x].inputs[0];
  if (this->shape(x) == shape) return x;
  check(this->shape(x).size() <= shape.size(), "expand drops an axis");
  Shape aligned(shape.size() - this->shape(x).size(), 1);
  aligned.insert(aligned.end(), this->shape(x).begin(), this->shape(x).end());
  x = reshape(x, aligned);
  return aligned == shape ? x : push(ExpandAttr{}, {x}, std::move(shape));
}

NodeId GraphBuilder::slice(NodeId x, int axis, int64_t start, int64_t stop, int64_t step) {
  Shape to = shape(x);
  check(axis >= 0 && static_cast<size_t>(axis) < to.size(), "slice axis out of range");
  const auto at = static_cast<size_t>(axis);
  to[at] = stop > start ? (stop - start + step - 1) / step : 0;
  if (to == shape(x)) return x;
  if (const auto value = uniform_value(x)) return full(*value, dtype(x), to);
  SliceAttr attr{std::vector<int64_t>(to.size(), 0), std::vector<int64_t>(to.size(), 1)};
  if (graph_[x].is<SliceAttr>()) {
    attr = graph_[x].as<SliceAttr>();
    x = graph_[x].inputs[0];
  }
  attr.start[at] += start * attr.step[at];
  attr.step[at] *= step;
  return push(std::move(attr), {x}, std::move(to));
}

NodeId GraphBuilder::pad(NodeId x, std::vector<int64_t> lo, std::vector<int64_t> hi, double value) {
  if (all_zero(lo) && all_zero(hi)) return x;
  return push(PadAttr{std::move(lo), std::move(hi), value}, {x});
}

NodeId GraphBuilder::flip(NodeId x, std::vector<int> axes) {
  std::sort(axes.begin(), axes.end());
  std::erase_if(axes, [&](int axis) { return shape(x).at(static_cast<size_t>(axis)) <= 1; });
  return axes.empty() || uniform_value(x) ? x : push(FlipAttr{std::move(axes)}, {x});
}

NodeId GraphBuilder::window(NodeId x, WindowAttr attr) { return attr.axes.empty() ? x : push(std::move(attr), {x}); }

NodeId GraphBuilder::dilate(NodeId x, DilateAttr attr) { return all_one(attr.factor) ? x : push(std::move(attr), {x}); }

NodeId GraphBuilder::cat(std::vector<NodeId> xs, int axis) {
  return xs.size() == 1 ? xs[0] : push(CatAttr{axis}, std::move(xs));
}

NodeId GraphBuilder::gather(NodeId data, std::vector<NodeId> indices, std::vector<int> axes) {
  indices.insert(indices.begin(), data);
  return push(GatherAttr{std::move(axes)}, std::move(indices));
}

NodeId GraphBuilder::scatter(NodeId base, NodeId updates, std::vector<NodeId> indices, std::vector<int> axes,
                             ScatterOp op) {
  indices.insert(indices.begin(), {base, updates});
  return push(ScatterAttr{std::move(axes), op}, std::move(indices));
}

NodeId GraphBuilder::scan(ScanOp op, NodeId x, int axis) {
  const Shape& s = shape(x);
  const bool alone = axis >= 0 && static_cast<size_t>(axis) < s.size() && s[static_cast<size_t>(axis)] == 1;
  return alone ? x : push(ScanAttr{op, axis}, {x});
}

NodeId GraphBuilder::sort(NodeId x, int axis, int64_t k, bool largest) { return push(SortAttr{axis, k, largest}, {x}); }

NodeId GraphBuilder::recur(RecurAttr attr, std::vector<NodeId> inputs) {
  return push(std::move(attr), std::move(inputs));
}

NodeId GraphBuilder::item(NodeId recur, int index) { return push(ItemAttr{index}, {recur}); }

void GraphBuilder::output(NodeId x) { graph_.outputs.push_back({x, false, ""}); }

void GraphBuilder::state(std::string name, NodeId new_value) {
  graph_.outputs.push_back({new_value, true, std::move(name)});
}

Graph GraphBuilder::take() {
  Graph graph = without_dead_nodes(graph_);
  const std::string fault = find_fault(graph);
  if (!fault.empty()) throw BugError("built a faulty graph: " + fault);
  graph_ = {};
  index_.clear();
  return graph;
}

}  // namespace kw::graph
