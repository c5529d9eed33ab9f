#include "judge/exact.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace kw::judge {

namespace {

using namespace graph;

constexpr double inexact = -1;  // in place of a magnitude

bool is_view(const Node& n) {
  return n.is<PermuteAttr>() || n.is<ReshapeAttr>() || n.is<ExpandAttr>() || n.is<SliceAttr>() || n.is<FlipAttr>() ||
         n.is<WindowAttr>() || n.is<DilateAttr>() || n.is<CatAttr>() || n.is<CastAttr>();
}

enum class Growth : uint8_t { keep, sum, product, one };
struct OpGrowth {
  ScalarOp op;
  Growth growth;
};
constexpr OpGrowth exact_ops[] = {
    {ScalarOp::cast, Growth::keep},       {ScalarOp::add, Growth::sum},         {ScalarOp::sub, Growth::sum},
    {ScalarOp::mul, Growth::product},     {ScalarOp::neg, Growth::keep},        {ScalarOp::abs, Growth::keep},
    {ScalarOp::sign, Growth::one},        {ScalarOp::max, Growth::keep},        {ScalarOp::min, Growth::keep},
    {ScalarOp::floor, Growth::keep},      {ScalarOp::ceil, Growth::keep},       {ScalarOp::round, Growth::keep},
    {ScalarOp::trunc, Growth::keep},      {ScalarOp::lt, Growth::one},          {ScalarOp::le, Growth::one},
    {ScalarOp::gt, Growth::one},          {ScalarOp::ge, Growth::one},          {ScalarOp::eq, Growth::one},
    {ScalarOp::ne, Growth::one},          {ScalarOp::logical_and, Growth::one}, {ScalarOp::logical_or, Growth::one},
    {ScalarOp::logical_not, Growth::one}, {ScalarOp::is_nan, Growth::one},      {ScalarOp::is_inf, Growth::one},
    {ScalarOp::select, Growth::keep},
};

double grow(Growth growth, const std::vector<double>& operands) {
  double largest = 0, sum = 0, product = 1;
  for (const double m : operands) {
    largest = std::max(largest, m);
    sum += m;
    product *= m;
  }
  switch (growth) {
    case Growth::keep:
      return largest;
    case Growth::sum:
      return sum;
    case Growth::product:
      return product;
    case Growth::one:
      return 1;
  }
  return inexact;
}

double step_magnitude(const ScalarStep& step, const std::vector<double>& steps, const std::vector<double>& args) {
  if (step.op == ScalarOp::arg) return args[static_cast<size_t>(step.a)];
  if (step.op == ScalarOp::imm) return step.imm == std::trunc(step.imm) ? std::abs(step.imm) : inexact;
  for (const OpGrowth& row : exact_ops) {
    if (row.op != step.op) continue;
    std::vector<double> operands;
    for (const int32_t operand : {step.a, step.b, step.c})
      if (operand >= 0) operands.push_back(steps[static_cast<size_t>(operand)]);
    return std::count(operands.begin(), operands.end(), inexact) ? inexact : grow(row.growth, operands);
  }
  return inexact;
}

double map_magnitude(const ScalarExpr& expr, const std::vector<double>& args, double limit) {
  std::vector<double> steps;
  for (const ScalarStep& step : expr) {
    steps.push_back(step_magnitude(step, steps, args));
    if (steps.back() > limit) return inexact;
  }
  return steps.empty() ? inexact : steps.back();
}

double reduce_magnitude(const Node& node, const Node& input, double magnitude) {
  double terms = 1;
  for (const int axis : node.as<ReduceAttr>().axes)
    terms *= static_cast<double>(input.shape[static_cast<size_t>(axis)]);
  switch (node.as<ReduceAttr>().op) {
    case ReduceOp::sum:
      return terms * magnitude;
    case ReduceOp::max:
    case ReduceOp::min:
      return magnitude;
    case ReduceOp::argmax:
    case ReduceOp::argmin:
      return terms;
    case ReduceOp::prod:
      return inexact;
  }
  return inexact;
}

double contract_magnitude(const Graph& graph, const Node& node, const std::vector<double>& operands) {
  const ContractAttr& attr = node.as<ContractAttr>();
  std::map<int, double> sizes;
  for (size_t i = 0; i < attr.a.size(); ++i) sizes[attr.a[i]] = static_cast<double>(graph[node.inputs[0]].shape[i]);
  for (size_t i = 0; i < attr.b.size(); ++i) sizes[attr.b[i]] = static_cast<double>(graph[node.inputs[1]].shape[i]);
  for (const int label : attr.out) sizes.erase(label);
  double magnitude = operands[0] * operands[1];
  for (const auto& [label, size] : sizes) magnitude *= size;
  return magnitude;
}

double constant_magnitude(const std::map<std::string, Tensor>& params, const std::string& name) {
  const auto found = params.find(name);
  if (found == params.end() || found->second.data == nullptr) return inexact;
  double largest = 0;
  for (int64_t i = 0; i < element_count(found->second.shape); ++i) {
    const double value = load_element(found->second, i);
    if (!std::isfinite(value) || value != std::trunc(value)) return inexact;
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

struct Magnitudes {
  const Graph& graph;
  const std::map<std::string, Tensor>& params;
  double drawn = 8;  // of inputs and parameters

  double param(const Node& node) const {
    const std::string& name = node.as<ParamAttr>().name;
    for (const ParamInfo& info : graph.params)
      if (info.name == name && info.kind != ParamKind::constant && is_float(info.dtype)) return drawn;
    return constant_magnitude(params, name);
  }

  double of(const Node& node, const std::vector<double>& operands, double limit) const {
    // Indices keep their own range, which no arithmetic may enlarge.
    if (node.is<InputAttr>()) return is_float(node.dtype) || node.dtype == DType::boolean ? drawn : 0x1p24;
    if (node.is<ParamAttr>()) return param(node);
    if (node.is<ConstantAttr>()) {
      const double value = node.as<ConstantAttr>().value;
      return value == std::trunc(value) && std::isfinite(value) ? std::abs(value) : inexact;
    }
    if (node.is<IotaAttr>()) return static_cast<double>(node.shape[0]);
    if (is_view(node)) return *std::max_element(operands.begin(), operands.end());
    if (node.is<PadAttr>()) {
      const double value = node.as<PadAttr>().value;
      // Padding by -inf, under a maximum, rounds nothing.
      return std::isinf(value) ? operands[0] : std::max(operands[0], std::abs(value));
    }
    if (node.is<MapAttr>()) return map_magnitude(node.as<MapAttr>().expr, operands, limit);
    if (node.is<ReduceAttr>()) return reduce_magnitude(node, graph[node.inputs[0]], operands[0]);
    if (node.is<ContractAttr>()) return contract_magnitude(graph, node, operands);
    if (node.is<GatherAttr>()) return operands[0];
    return inexact;
  }
};

double exact_limit(DType dtype) { return is_float(dtype) ? 1 / unit_roundoff(dtype) : 0x1p24; }

bool holds(const Magnitudes& magnitudes) {
  std::vector<double> known;
  for (const Node& node : magnitudes.graph.nodes) {
    std::vector<double> operands;
    for (const NodeId id : node.inputs) operands.push_back(known[static_cast<size_t>(id)]);
    const double limit = exact_limit(node.dtype);
    const double magnitude = magnitudes.of(node, operands, limit);
    if (magnitude < 0 || magnitude > limit) return false;
    known.push_back(magnitude);
  }
  return true;
}

}  // namespace

std::optional<int> exact_magnitude(const Graph& graph, const std::map<std::string, Tensor>& params) {
  for (const int drawn : {8, 4, 2, 1})
    if (holds({graph, params, static_cast<double>(drawn)})) return drawn;
  return std::nullopt;
}

}  // namespace kw::judge
