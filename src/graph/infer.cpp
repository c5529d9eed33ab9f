#include "graph/infer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace kw::graph {
namespace {

struct Context {
  const Graph& graph;
  const Node& node;
  const Node& in(size_t i) const { return graph[node.inputs[i]]; }
  size_t count() const { return node.inputs.size(); }
};

Inferred fault(std::string text) { return {std::move(text), {}, DType::f32}; }
Inferred fine(Shape shape, DType dtype) { return {"", std::move(shape), dtype}; }
Inferred like_input(const Context& c) { return fine(c.in(0).shape, c.in(0).dtype); }

int rank(const Shape& shape) { return static_cast<int>(shape.size()); }

/// Sorted, distinct and inside the rank.
bool proper_axes(const std::vector<int>& axes, int rank_of_input) {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] < 0 || axes[i] >= rank_of_input || (i > 0 && axes[i] <= axes[i - 1])) return false;
  }
  return true;
}

Inferred rule(const Context& c, const InputAttr& a) {
  if (a.index < 0 || static_cast<size_t>(a.index) >= c.graph.inputs.size()) return fault("input index out of range");
  const InputInfo& info = c.graph.inputs[static_cast<size_t>(a.index)];
  return fine(info.shape, info.dtype);
}

Inferred rule(const Context& c, const ParamAttr& a) {
  for (const ParamInfo& info : c.graph.params) {
    if (info.name == a.name) return fine(info.shape, info.dtype);
  }
  return fault("param " + a.name + " is not listed");
}

Inferred rule(const Context& c, const ConstantAttr&) { return fine({}, c.node.dtype); }

Inferred rule(const Context& c, const IotaAttr&) {
  if (rank(c.node.shape) != 1) return fault("iota has one axis");
  return fine(c.node.shape, DType::i64);
}

Inferred rule(const Context& c, const CastAttr&) { return fine(c.in(0).shape, c.node.dtype); }

std::string step_fault(const Context& c, const ScalarExpr& expr, size_t index) {
  const ScalarStep& step = expr[index];
  if (step.op == ScalarOp::arg) {
    if (step.a < 0 || static_cast<size_t>(step.a) >= c.count()) return "expression reads a missing input";
    return c.in(static_cast<size_t>(step.a)).dtype == step.dtype ? "" : "expression reads an input as another dtype";
  }
  const int32_t operands[] = {step.a, step.b, step.c};
  for (int i = 0; i < scalar_row(step.op).arity; ++i) {
    if (operands[i] < 0 || static_cast<size_t>(operands[i]) >= index) return "expression step reads a later step";
  }
  return "";
}

Inferred rule(const Context& c, const MapAttr& a) {
  if (c.count() == 0 || a.expr.empty()) return fault("map needs an input and an expression");
  for (size_t i = 1; i < c.count(); ++i) {
    if (c.in(i).shape != c.in(0).shape) return fault("map inputs differ in shape");
  }
  for (size_t i = 0; i < a.expr.size(); ++i) {
    if (std::string text = step_fault(c, a.expr, i); !text.empty()) return fault(text);
  }
  return fine(c.in(0).shape, a.expr.back().dtype);
}

Inferred rule(const Context& c, const ReduceAttr& a) {
  const Shape& shape = c.in(0).shape;
  if (!proper_axes(a.axes, rank(shape))) return fault("reduce axes are not sorted axes of the input");
  const bool index = a.op == ReduceOp::argmax || a.op == ReduceOp::argmin;
  if (index && a.axes.size() != 1) return fault("argmax and argmin take one axis");
  Shape kept;
  for (int i = 0; i < rank(shape); ++i) {
    const bool removed = std::binary_search(a.axes.begin(), a.axes.end(), i);
    const bool needs_element = a.op != ReduceOp::sum && a.op != ReduceOp::prod;
    if (removed && needs_element && shape[static_cast<size_t>(i)] == 0) return fault("reduce over no element");
    if (!removed) kept.push_back(shape[static_cast<size_t>(i)]);
  }
  return fine(std::move(kept), index ? DType::i64 : c.in(0).dtype);
}

/// Adds an operand's labels with their sizes; "" or the fault.
std::string add_labels(const std::vector<int>& labels, const Shape& shape, std::map<int, int64_t>& sizes) {
  if (labels.size() != shape.size()) return "contract labels do not match the operand's rank";
  for (size_t i = 0; i < labels.size(); ++i) {
    if (std::count(labels.begin(), labels.end(), labels[i]) > 1) return "contract label twice in one operand";
    const auto [at, added] = sizes.emplace(labels[i], shape[i]);
    if (!added && at->second != shape[i]) return "contract label with two sizes";
  }
  return "";
}

Inferred rule(const Context& c, const ContractAttr& a) {
  if (c.in(0).dtype != c.in(1).dtype) return fault("contract operands differ in dtype");
  std::map<int, int64_t> sizes;
  std::string text = add_labels(a.a, c.in(0).shape, sizes);
  if (text.empty()) text = add_labels(a.b, c.in(1).shape, sizes);
  if (!text.empty()) return fault(text);
  Shape shape;
  for (size_t i = 0; i < a.out.size(); ++i) {
    const auto at = sizes.find(a.out[i]);
    if (at == sizes.end()) return fault("contract result has an unknown label");
    if (std::count(a.out.begin(), a.out.end(), a.out[i]) > 1) return fault("contract label twice in the result");
    shape.push_back(at->second);
  }
  return fine(std::move(shape), c.in(0).dtype);
}

Inferred rule(const Context& c, const PermuteAttr& a) {
  const Shape& shape = c.in(0).shape;
  std::vector<int> sorted = a.perm;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.size() != shape.size() || !proper_axes(sorted, rank(shape))) return fault("permute is no permutation");
  Shape result;
  for (int axis : a.perm) result.push_back(shape[static_cast<size_t>(axis)]);
  return fine(std::move(result), c.in(0).dtype);
}

Inferred rule(const Context& c, const ReshapeAttr&) {
  if (element_count(c.node.shape) != element_count(c.in(0).shape)) return fault("reshape changes the element count");
  return fine(c.node.shape, c.in(0).dtype);
}

Inferred rule(const Context& c, const ExpandAttr&) {
  const Shape& from = c.in(0).shape;
  const Shape& to = c.node.shape;
  if (from.size() != to.size()) return fault("expand changes the rank");
  for (size_t i = 0; i < to.size(); ++i) {
    if (from[i] != to[i] && from[i] != 1) return fault("expand repeats an axis whose size is not 1");
  }
  return fine(to, c.in(0).dtype);
}

Inferred rule(const Context& c, const SliceAttr& a) {
  const Shape& from = c.in(0).shape;
  const Shape& to = c.node.shape;
  const size_t n = from.size();
  if (to.size() != n || a.start.size() != n || a.step.size() != n) return fault("slice needs one entry per axis");
  for (size_t i = 0; i < n; ++i) {
    if (a.step[i] < 1 || a.start[i] < 0 || to[i] < 0) return fault("slice with a bad start, step or size");
    if (to[i] > 0 && a.start[i] + (to[i] - 1) * a.step[i] >= from[i]) return fault("slice leaves its input");
  }
  return fine(to, c.in(0).dtype);
}

Inferred rule(const Context& c, const PadAttr& a) {
  Shape shape = c.in(0).shape;
  if (a.lo.size() != shape.size() || a.hi.size() != shape.size()) return fault("pad needs one entry per axis");
  for (size_t i = 0; i < shape.size(); ++i) {
    if (a.lo[i] < 0 || a.hi[i] < 0) return fault("pad with a negative size");
    shape[i] += a.lo[i] + a.hi[i];
  }
  return fine(std::move(shape), c.in(0).dtype);
}

Inferred rule(const Context& c, const FlipAttr& a) {
  return proper_axes(a.axes, rank(c.in(0).shape)) ? like_input(c) : fault("flip axes are not sorted axes");
}

Inferred rule(const Context& c, const WindowAttr& a) {
  Shape shape = c.in(0).shape;
  const size_t n = a.axes.size();
  if (a.size.size() != n || a.stride.size() != n || a.dilation.size() != n) return fault("window attributes differ");
  if (!proper_axes(a.axes, rank(shape))) return fault("window axes are not sorted axes");
  for (size_t i = 0; i < n; ++i) {
    if (a.size[i] < 1 || a.stride[i] < 1 || a.dilation[i] < 1) return fault("window with a bad size or stride");
    int64_t& extent = shape[static_cast<size_t>(a.axes[i])];
    const int64_t reach = a.dilation[i] * (a.size[i] - 1) + 1;
    if (extent < reach) return fault("window is larger than its input");
    extent = (extent - reach) / a.stride[i] + 1;
  }
  shape.insert(shape.end(), a.size.begin(), a.size.end());
  return fine(std::move(shape), c.in(0).dtype);
}

Inferred rule(const Context& c, const DilateAttr& a) {
  Shape shape = c.in(0).shape;
  if (a.axes.size() != a.factor.size() || !proper_axes(a.axes, rank(shape))) return fault("dilate attributes differ");
  for (size_t i = 0; i < a.axes.size(); ++i) {
    int64_t& extent = shape[static_cast<size_t>(a.axes[i])];
    if (a.factor[i] < 1) return fault("dilate with a bad factor");
    extent = extent == 0 ? 0 : (extent - 1) * a.factor[i] + 1;
  }
  return fine(std::move(shape), c.in(0).dtype);
}

Inferred rule(const Context& c, const CatAttr& a) {
  if (c.count() == 0) return fault("cat of nothing");
  Shape shape = c.in(0).shape;
  if (a.axis < 0 || a.axis >= rank(shape)) return fault("cat axis out of range");
  const auto axis = static_cast<size_t>(a.axis);
  shape[axis] = 0;
  for (size_t i = 0; i < c.count(); ++i) {
    Shape other = c.in(i).shape;
    if (other.size() != shape.size() || c.in(i).dtype != c.in(0).dtype) return fault("cat inputs differ");
    const int64_t extent = other[axis];
    other[axis] = shape[axis];
    if (other != shape) return fault("cat inputs differ in shape");
    shape[axis] += extent;
  }
  return fine(std::move(shape), c.in(0).dtype);
}

/// Checks the index operands from `first` on and gives Gather's result shape for `data`.
Inferred gathered(const Context& c, const Shape& data, const std::vector<int>& axes, size_t first) {
  if (axes.empty() || c.count() != first + axes.size()) return fault("gather needs one index tensor per axis");
  if (!proper_axes(axes, rank(data))) return fault("gather axes are not sorted axes");
  const Shape& index_shape = c.in(first).shape;
  for (size_t i = first; i < c.count(); ++i) {
    if (c.in(i).dtype != DType::i64 || c.in(i).shape != index_shape)
      return fault("gather indices differ or are no i64");
  }
  Shape shape;
  for (int i = 0; i < rank(data); ++i) {
    if (i == axes[0]) shape.insert(shape.end(), index_shape.begin(), index_shape.end());
    if (!std::binary_search(axes.begin(), axes.end(), i)) shape.push_back(data[static_cast<size_t>(i)]);
  }
  return fine(std::move(shape), c.in(0).dtype);
}

Inferred rule(const Context& c, const GatherAttr& a) { return gathered(c, c.in(0).shape, a.axes, 1); }

Inferred rule(const Context& c, const ScatterAttr& a) {
  Inferred updates = gathered(c, c.in(0).shape, a.axes, 2);
  if (!updates.fault.empty()) return updates;
  if (updates.shape != c.in(1).shape || c.in(1).dtype != c.in(0).dtype) return fault("scatter updates do not match");
  return like_input(c);
}

Inferred rule(const Context& c, const ScanAttr& a) {
  return a.axis >= 0 && a.axis < rank(c.in(0).shape) ? like_input(c) : fault("scan axis out of range");
}

Inferred rule(const Context& c, const SortAttr& a) {
  Shape shape = c.in(0).shape;
  if (a.axis < 0 || a.axis >= rank(shape)) return fault("sort axis out of range");
  int64_t& extent = shape[static_cast<size_t>(a.axis)];
  if (a.k < 0 || a.k > extent) return fault("sort keeps more than there is");
  extent = a.k;
  return fine(std::move(shape), DType::i64);
}

/// What turn `i` of the loop feeds the body's input i.
Shape body_input_shape(const Context& c, const RecurAttr& a, size_t i) {
  Shape shape = c.in(i).shape;
  const bool is_sequence = i >= static_cast<size_t>(a.n_carry) && i < static_cast<size_t>(a.n_carry + a.n_seq);
  if (is_sequence && !shape.empty()) shape.erase(shape.begin());
  return shape;
}

Inferred rule(const Context& c, const RecurAttr& a) {
  if (!a.body || a.steps < 0 || a.n_carry < 0 || a.n_seq < 0) return fault("recur without a body");
  const Graph& body = *a.body;
  const auto carries = static_cast<size_t>(a.n_carry);
  if (c.count() != body.inputs.size() || c.count() < carries + static_cast<size_t>(a.n_seq))
    return fault("recur inputs do not match the body");
  if (body.outputs.size() < carries) return fault("recur body gives too few carries");
  for (size_t i = 0; i < c.count(); ++i) {
    const bool is_sequence = i >= carries && i < carries + static_cast<size_t>(a.n_seq);
    if (is_sequence && (c.in(i).shape.empty() || c.in(i).shape[0] != a.steps)) return fault("recur sequence length");
    if (body_input_shape(c, a, i) != body.inputs[i].shape || c.in(i).dtype != body.inputs[i].dtype)
      return fault("recur input does not match the body's");
  }
  for (size_t i = 0; i < carries; ++i) {
    const Node& next = body[body.outputs[i].node];
    if (next.shape != c.in(i).shape || next.dtype != c.in(i).dtype) return fault("recur carry changes its type");
  }
  if (std::string text = find_fault(body); !text.empty()) return fault("recur body: " + text);
  return fine({}, DType::f32);
}

Inferred rule(const Context& c, const ItemAttr& a) {
  if (!c.in(0).is<RecurAttr>()) return fault("item of something that is no recur");
  const RecurAttr& recur = c.in(0).as<RecurAttr>();
  if (a.index < 0 || static_cast<size_t>(a.index) >= recur.body->outputs.size()) return fault("item out of range");
  const Node& value = (*recur.body)[recur.body->outputs[static_cast<size_t>(a.index)].node];
  Shape shape = value.shape;
  if (a.index >= recur.n_carry) shape.insert(shape.begin(), recur.steps);
  return fine(std::move(shape), value.dtype);
}

/// How many inputs each kind takes; -1 = the rule checks.
template <class T>
constexpr int input_count = 1;
template <>
constexpr int input_count<InputAttr> = 0;
template <>
constexpr int input_count<ParamAttr> = 0;
template <>
constexpr int input_count<ConstantAttr> = 0;
template <>
constexpr int input_count<IotaAttr> = 0;
template <>
constexpr int input_count<MapAttr> = -1;
template <>
constexpr int input_count<ContractAttr> = 2;
template <>
constexpr int input_count<CatAttr> = -1;
template <>
constexpr int input_count<RecurAttr> = -1;

template <class T>
bool enough_inputs(size_t count) {
  if constexpr (std::is_same_v<T, GatherAttr>) return count >= 2;
  if constexpr (std::is_same_v<T, ScatterAttr>) return count >= 3;
  return input_count<T> < 0 || count == static_cast<size_t>(input_count<T>);
}

}  // namespace

Inferred infer(const Graph& graph, const Node& node) {
  const Context context{graph, node};
  return std::visit(
      [&](const auto& attr) {
        using T = std::decay_t<decltype(attr)>;
        if (!enough_inputs<T>(node.inputs.size())) return fault("wrong number of inputs");
        return rule(context, attr);
      },
      node.attr);
}

bool broadcast_shapes(const Shape& x, const Shape& y, Shape& result) {
  const size_t n = std::max(x.size(), y.size());
  result.assign(n, 1);
  for (size_t i = 0; i < n; ++i) {
    const int64_t a = i + x.size() < n ? 1 : x[i + x.size() - n];
    const int64_t b = i + y.size() < n ? 1 : y[i + y.size() - n];
    if (a != b && a != 1 && b != 1) return false;
    result[i] = a == 1 ? b : a;
  }
  return true;
}

}  // namespace kw::graph
