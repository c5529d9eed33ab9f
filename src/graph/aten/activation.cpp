#include <numbers>

#include "graph/aten/call.h"

/// Activations, each one scalar expression; those with an axis use the algebra.
namespace kw::graph::aten {

namespace {

Expand pointwise(E (*f)(E)) {
  return [f](Call& c) { return c.map(c.x("self"), f); };
}

E hard_gate(E x) { return minimum(maximum(x + 3.0, 0.0), 6.0) / 6.0; }
E softplus(E x) { return maximum(x, 0.0) + log1p(exp(-absolute(x))); }
E log_sigmoid(E x) { return minimum(x, 0.0) - log1p(exp(-absolute(x))); }

E gelu_tanh(E x) {
  constexpr double root_two_over_pi = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
  return 0.5 * x * (tanh((x + 0.044715 * (x * x * x)) * root_two_over_pi) + 1.0);
}

E gelu_erf(E x) { return 0.5 * x * (erf(x * (1 / std::numbers::sqrt2)) + 1.0); }

/// scale * (max(0, x) + alpha * expm1(input_scale * min(0, x)))
E elu(E x, double alpha, double scale, double input_scale) {
  const E below = expm1(minimum(x, 0.0) * input_scale) * (alpha * scale);
  return select(x > 0.0, scale == 1 ? x : x * scale, below);
}

Values gelu(Call& c) {
  const bool by_tanh = c.text("approximate", "none") == "tanh";
  return c.map(c.x("self"), by_tanh ? gelu_tanh : gelu_erf);
}

Values softplus_rows(Call& c) {
  const double beta = c.number("beta", 1), threshold = c.number("threshold", 20);
  return c.map(c.x("self"), [&](E x) {
    const E scaled = beta == 1 ? x : x * beta;
    const E soft = beta == 1 ? softplus(scaled) : softplus(scaled) / beta;
    return select(scaled > threshold, x, soft);
  });
}

/// Weight of one value, or one a channel (axis 1).
Values prelu(Call& c) {
  const NodeId x = c.x("self");
  NodeId weight = c.x("weight");
  Shape along(static_cast<size_t>(std::max(c.rank(x), 1)), 1);
  along[along.size() > 1 ? 1 : 0] = element_count(c.shape(weight));
  if (c.rank(x) == 0) along = {};
  weight = c.reshape(weight, along);
  return c.map(x, weight, [](E v, E w) { return select(v > 0.0, v, v * w); });
}

Values glu(Call& c) {
  const NodeId x = c.x("self");
  const int axis = c.axis(c.integer("dim", -1), c.rank(x));
  const int64_t half = c.size(x, axis) / 2;
  return c.map(c.slice(x, axis, 0, half), c.slice(x, axis, half, 2 * half), [](E a, E b) { return a * sigmoid(b); });
}

Values rrelu(Call& c) {
  if (c.flag("training", false)) c.refuse_random("rrelu in train mode");
  const double slope = (c.number("lower", 0.125) + c.number("upper", 1.0 / 3)) / 2;
  return c.map(c.x("self"), [&](E x) { return select(x > 0.0, x, x * slope); });
}

Values leaky_relu(Call& c) {
  const double slope = c.number("negative_slope", 0.01);
  return c.map(c.x("self"), [&](E x) { return select(x > 0.0, x, x * slope); });
}

Values hardtanh(Call& c) {
  const double lo = c.number("min_val", -1), hi = c.number("max_val", 1);
  return c.map(c.x("self"), [&](E x) { return minimum(maximum(x, lo), hi); });
}

Values shrink(Call& c, bool soft) {
  const double lambd = c.number("lambd", 0.5);
  return c.map(c.x("self"), [&](E x) {
    if (!soft) return select(absolute(x) <= lambd, 0.0, x);
    return select(x > lambd, x - lambd, select(x < -lambd, x + lambd, x * 0.0));
  });
}

Values threshold(Call& c) {
  const double at = c.number("threshold"), value = c.number("value");
  return c.map(c.x("self"), [&](E x) { return select(x <= at, value, x); });
}

Values along_axis(Call& c, NodeId (Algebra::*f)(NodeId, int)) {
  const NodeId x = c.x("self");
  if (c.rank(x) == 0) return c.reshape((c.*f)(c.reshape(x, {1}), 0), {});
  return (c.*f)(x, c.axis(c.integer("dim"), c.rank(x)));
}

constexpr double selu_alpha = 1.6732632423543772848170429916717;
constexpr double selu_scale = 1.0507009873554804934193349852946;

}  // namespace

Rows activation_rows() {
  return {
      {"relu", pointwise([](E x) { return maximum(x, 0.0); })},
      {"relu6", pointwise([](E x) { return minimum(maximum(x, 0.0), 6.0); })},
      {"silu", pointwise([](E x) { return x * sigmoid(x); })},
      {"mish", pointwise([](E x) { return x * tanh(softplus(x)); })},
      {"hardsigmoid", pointwise(hard_gate)},
      {"hardswish", pointwise([](E x) { return x * hard_gate(x); })},
      {"softsign", pointwise([](E x) { return x / (absolute(x) + 1.0); })},
      {"tanhshrink", pointwise([](E x) { return x - tanh(x); })},
      {"log_sigmoid", pointwise(log_sigmoid)},
      {"log_sigmoid_forward",
       [](Call& c) {
         return Values{c.map(c.x("self"), log_sigmoid), -1};
       }},
      {"selu", pointwise([](E x) { return elu(x, selu_alpha, selu_scale, 1); })},
      {"elu",
       [](Call& c) {
         const double alpha = c.number("alpha", 1), scale = c.number("scale", 1), input = c.number("input_scale", 1);
         return c.map(c.x("self"), [&](E x) { return elu(x, alpha, scale, input); });
       }},
      {"celu",
       [](Call& c) {
         const double alpha = c.number("alpha", 1);
         return c.map(c.x("self"), [&](E x) { return elu(x, alpha, 1, 1 / alpha); });
       }},
      {"gelu", gelu},
      {"softplus", softplus_rows},
      {"leaky_relu", leaky_relu},
      {"prelu _prelu_kernel", prelu},
      {"rrelu", rrelu},
      {"hardtanh", hardtanh},
      {"hardshrink", [](Call& c) { return shrink(c, false); }},
      {"softshrink", [](Call& c) { return shrink(c, true); }},
      {"threshold", threshold},
      {"glu", glu},
      {"softmax.int _softmax _safe_softmax", [](Call& c) { return along_axis(c, &Algebra::softmax); }},
      {"log_softmax.int _log_softmax", [](Call& c) { return along_axis(c, &Algebra::log_softmax); }},
  };
}

}  // namespace kw::graph::aten
