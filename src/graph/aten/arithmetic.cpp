#include <cmath>
#include <limits>
#include <numbers>

#include "graph/aten/call.h"

/// Elementwise arithmetic, comparison, logic, bits, and choice.
namespace kw::graph::aten {

namespace {

using Args = std::vector<E>;
using Formula = std::function<E(const Args&)>;

/// Computes in the output's type.
Expand formula(std::vector<std::string> names, Formula f) {
  return [names = std::move(names), f = std::move(f)](Call& c) {
    std::vector<Operand> operands;
    for (const auto& name : names) operands.push_back(c.operand(name));
    return c.elementwise(c.compute(), operands, f);
  };
}

Expand unary(E (*f)(E)) {
  return formula({"self"}, [f](const Args& a) { return f(a[0]); });
}

Expand unary(ScalarOp op) {
  return formula({"self"}, [op](const Args& a) { return apply(op, a[0]); });
}

Expand binary(E (*f)(E, E), std::string first = "self", std::string second = "other") {
  return formula({std::move(first), std::move(second)}, [f](const Args& a) { return f(a[0], a[1]); });
}

/// Compares in the operands' common type; the result is bool.
Expand comparison(ScalarOp op) {
  return [op](Call& c) {
    const std::vector<Operand> operands{c.operand("self"), c.operand("other")};
    return c.elementwise(compute_type(c.promote(operands)), operands,
                         [&](const Args& a) { return apply(op, a[0], a[1]); });
  };
}

Expand logical(E (*f)(E, E)) {
  return [f](Call& c) {
    const std::vector<Operand> operands{c.operand("self"), c.operand("other")};
    const DType type = c.promote(operands);
    return c.elementwise(type, operands, [&](const Args& a) { return f(a[0] != 0.0, a[1] != 0.0); });
  };
}

Expand predicate(E (*f)(E)) {
  return [f](Call& c) { return c.map(c.tensor("self"), f); };
}

Values add_like(Call& c, const char* first, const char* second, double sign_of_second) {
  const std::vector<Operand> operands{c.operand(first), c.operand(second)};
  const double alpha = sign_of_second * c.number("alpha", 1);
  return c.elementwise(c.compute(), operands, [&](const Args& a) {
    if (a[0].dtype() == DType::boolean) return a[0] || a[1];
    if (alpha == 1) return a[0] + a[1];
    return alpha == -1 ? a[0] - a[1] : a[0] + a[1] * alpha;
  });
}

E multiply(const Args& a) { return a[0].dtype() == DType::boolean ? a[0] && a[1] : a[0] * a[1]; }

E truncated_quotient(E x, E y) { return is_float(x.dtype()) ? trunc(x / y) : (x - fmod(x, y)) / y; }

Values div_mode(Call& c) {
  const std::string mode = c.text("rounding_mode", "");
  const std::vector<Operand> operands{c.operand("self"), c.operand("other")};
  return c.elementwise(c.compute(), operands, [&](const Args& a) {
    if (mode == "floor") return floor_div(a[0], a[1]);
    return mode == "trunc" ? truncated_quotient(a[0], a[1]) : a[0] / a[1];
  });
}

/// Small whole powers as products: exact where the function is, and cheap.
E power_of(E x, double p) {
  if (p == 0) return x.literal(1);
  if (p == 1) return x;
  if (p == 2) return x * x;
  if (p == 3) return x * x * x;
  if (!is_float(x.dtype())) return power(x, p);
  if (p == 0.5) return sqrt(x);
  if (p == -0.5) return rsqrt(x);
  if (p == -1) return reciprocal(x);
  if (p == -2) return reciprocal(x * x);
  return power(x, p);
}

Values pow_expansion(Call& c) {
  const std::vector<Operand> operands{c.operand("self"), c.operand("exponent")};
  return c.elementwise(c.compute(), operands, [&](const Args& a) {
    return operands[1].is_number ? power_of(a[0], operands[1].number) : power(a[0], a[1]);
  });
}

Values clamp(Call& c) {
  NodeId x = c.x("self");
  const auto bound = [&](const char* name, E (*f)(E, E)) {
    if (c.has(name)) {
      const std::vector<Operand> operands{{x, 0, c.dtype(x), false}, c.operand(name)};
      x = c.elementwise(c.compute(), operands, [&](const Args& a) { return f(a[0], a[1]); });
    }
  };
  bound("min", maximum);
  bound("max", minimum);
  return x;
}

Values where(Call& c) {
  const NodeId condition = c.cast(c.tensor("condition"), DType::boolean);
  const NodeId yes = c.node_of(c.operand("self"), c.out().dtype);
  const NodeId no = c.node_of(c.operand("other"), c.out().dtype);
  return c.g.where(condition, yes, no);
}

Values masked_fill(Call& c) {
  const NodeId mask = c.cast(c.tensor("mask"), DType::boolean);
  const NodeId value = c.node_of(c.operand("value"), c.out().dtype);
  return c.g.where(mask, value, c.cast(c.tensor("self"), c.out().dtype));
}

Values addc(Call& c, E (*f)(E, E)) {
  const double value = c.number("value", 1);
  return c.map(c.x("self"), c.x("tensor1"), c.x("tensor2"),
               [&](E x, E y, E z) { return x + f(value == 1 ? y : y * value, z); });
}

Values logit(Call& c) {
  const auto eps = c.maybe_number("eps");
  return c.map(c.x("self"), [&](E x) {
    const E p = eps ? minimum(maximum(x, *eps), 1 - *eps) : x;
    return log(p / (1.0 - p));
  });
}

Values nan_to_num(Call& c) {
  const bool single = compute_type(c.out().dtype) == DType::f32;
  const double largest = single ? std::numeric_limits<float>::max() : std::numeric_limits<double>::max();
  const double nan = c.number("nan", 0), high = c.number("posinf", largest), low = c.number("neginf", -largest);
  return c.map(c.x("self"), [&](E x) {
    const E finite = select(is_inf(x), select(x > 0.0, x.literal(high), low), x);
    return select(is_nan(x), nan, finite);
  });
}

Values round_decimals(Call& c) {
  const double factor = std::pow(10.0, static_cast<double>(c.integer("decimals")));
  return c.map(c.x("self"), [&](E x) { return round(x * factor) / factor; });
}

Values is_close(Call& c) {
  const double rtol = c.number("rtol", 1e-5), atol = c.number("atol", 1e-8);
  return c.map(c.tensor("self"), c.tensor("other"), [&](E x, E y) {
    return x == y || (absolute(x - y) <= absolute(y) * rtol + atol && !is_inf(x) && !is_inf(y));
  });
}

E log_add_exp(E x, E y) {
  const E top = maximum(x, y);
  return select(is_inf(top), top, top + log1p(exp(-absolute(x - y))));
}

E log_add_exp2(E x, E y) {
  const E top = maximum(x, y);
  return select(is_inf(top), top, top + log2(exp2(-absolute(x - y)) + 1.0));
}

E sinc(E x) {
  const E angle = x * std::numbers::pi;
  return select(x == 0.0, 1.0, sin(angle) / angle);
}

E xlogy(E x, E y) { return select(is_nan(y), y, select(x == 0.0, 0.0, x * log(y))); }
E xlog1py(E x, E y) { return select(is_nan(y), y, select(x == 0.0, 0.0, x * log1p(y))); }
E copysign(E x, E y) { return select(y < 0.0 || 1.0 / y < 0.0, -absolute(x), absolute(x)); }
E lerp(E x, E y, E w) { return select(absolute(w) < 0.5, x + w * (y - x), y - (y - x) * (1.0 - w)); }
E other_if_nan(E x, E y, E both) { return select(is_nan(x), y, select(is_nan(y), x, both)); }

Rows arithmetic() {
  return {
      {"add.Tensor add.Scalar", [](Call& c) { return add_like(c, "self", "other", 1); }},
      {"sub.Tensor sub.Scalar subtract.Tensor", [](Call& c) { return add_like(c, "self", "other", -1); }},
      {"rsub.Tensor rsub.Scalar", [](Call& c) { return add_like(c, "other", "self", -1); }},
      {"mul.Tensor mul.Scalar multiply.Tensor multiply.Scalar", formula({"self", "other"}, multiply)},
      {"div.Tensor div.Scalar divide.Tensor divide.Scalar true_divide.Tensor true_divide.Scalar", binary(operator/)},
      {"div.Tensor_mode div.Scalar_mode", div_mode},
      {"floor_divide floor_divide.Scalar", binary(floor_div)},
      {"fmod.Tensor fmod.Scalar", binary(fmod)},
      {"remainder.Tensor remainder.Scalar", binary(remainder)},
      {"pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar", pow_expansion},
      {"float_power.Tensor_Scalar float_power.Tensor_Tensor", pow_expansion},
      {"maximum max.other", binary(maximum)},
      {"minimum min.other", binary(minimum)},
      {"fmax", binary([](E x, E y) { return other_if_nan(x, y, maximum(x, y)); })},
      {"fmin", binary([](E x, E y) { return other_if_nan(x, y, minimum(x, y)); })},
      {"clamp clamp.Tensor clip clip.Tensor clamp_min clamp_min.Tensor clamp_max clamp_max.Tensor", clamp},
      {"atan2", formula({"self", "other"}, [](const Args& a) { return apply(ScalarOp::atan2, a[0], a[1]); })},
      {"hypot", binary([](E x, E y) { return sqrt(x * x + y * y); })},
      {"logaddexp", binary(log_add_exp)},
      {"logaddexp2", binary(log_add_exp2)},
      {"xlogy.Tensor xlogy.Scalar_Other special_xlogy", binary(xlogy)},
      {"special_xlog1py", binary(xlog1py)},
      {"copysign.Tensor copysign.Scalar", binary(copysign)},
      {"heaviside", binary([](E x, E v) { return select(x == 0.0, v, (x > 0.0).to(v.dtype())); }, "self", "values")},
      {"lerp.Scalar lerp.Tensor",
       formula({"self", "end", "weight"}, [](const Args& a) { return lerp(a[0], a[1], a[2]); })},
      {"addcmul", [](Call& c) { return addc(c, operator*); }},
      {"addcdiv", [](Call& c) { return addc(c, operator/); }},
  };
}

Rows functions() {
  return {
      {"neg negative", unary(ScalarOp::neg)},
      {"abs absolute", unary(ScalarOp::abs)},
      {"sign sgn", unary(ScalarOp::sign)},
      {"square", unary([](E x) { return x * x; })},
      {"sqrt", unary(ScalarOp::sqrt)},
      {"rsqrt", unary(ScalarOp::rsqrt)},
      {"reciprocal", unary(ScalarOp::reciprocal)},
      {"exp", unary(ScalarOp::exp)},
      {"exp2 special_exp2", unary(ScalarOp::exp2)},
      {"expm1 special_expm1", unary(ScalarOp::expm1)},
      {"log", unary(ScalarOp::log)},
      {"log2", unary(ScalarOp::log2)},
      {"log10", unary(ScalarOp::log10)},
      {"log1p special_log1p", unary(ScalarOp::log1p)},
      {"sin", unary(ScalarOp::sin)},
      {"cos", unary(ScalarOp::cos)},
      {"tan", unary(ScalarOp::tan)},
      {"asin arcsin", unary(ScalarOp::asin)},
      {"acos arccos", unary(ScalarOp::acos)},
      {"atan arctan", unary(ScalarOp::atan)},
      {"sinh", unary(ScalarOp::sinh)},
      {"cosh", unary(ScalarOp::cosh)},
      {"tanh", unary(ScalarOp::tanh)},
      {"erf special_erf", unary(ScalarOp::erf)},
      {"sigmoid special_expit", unary(ScalarOp::sigmoid)},
      {"floor", unary(ScalarOp::floor)},
      {"ceil", unary(ScalarOp::ceil)},
      {"round", unary(ScalarOp::round)},
      {"trunc fix", unary(ScalarOp::trunc)},
      {"frac", unary([](E x) { return x - trunc(x); })},
      {"erfc special_erfc", unary([](E x) { return 1.0 - erf(x); })},
      // The odd functions work on |x|, where nothing cancels.
      {"asinh arcsinh", unary([](E x) {
         const E a = absolute(x);
         return sign(x) * log1p(a + a * a / (sqrt(a * a + 1.0) + 1.0));
       })},
      {"acosh arccosh", unary([](E x) { return log(x + sqrt(x * x - 1.0)); })},
      {"atanh arctanh", unary([](E x) { return 0.5 * log1p(2.0 * x / (1.0 - x)); })},
      {"deg2rad", unary([](E x) { return x * (std::numbers::pi / 180); })},
      {"rad2deg", unary([](E x) { return x * (180 / std::numbers::pi); })},
      {"sinc special_sinc", unary(sinc)},
      {"logit special_logit", logit},
      {"nan_to_num", nan_to_num},
      {"round.decimals", round_decimals},
  };
}

Rows logic() {
  return {
      {"lt.Tensor lt.Scalar less.Tensor less.Scalar", comparison(ScalarOp::lt)},
      {"le.Tensor le.Scalar less_equal.Tensor less_equal.Scalar", comparison(ScalarOp::le)},
      {"gt.Tensor gt.Scalar greater.Tensor greater.Scalar", comparison(ScalarOp::gt)},
      {"ge.Tensor ge.Scalar greater_equal.Tensor greater_equal.Scalar", comparison(ScalarOp::ge)},
      {"eq.Tensor eq.Scalar", comparison(ScalarOp::eq)},
      {"ne.Tensor ne.Scalar not_equal.Tensor not_equal.Scalar", comparison(ScalarOp::ne)},
      {"logical_and", logical(operator&&)},
      {"logical_or", logical(operator||)},
      {"logical_xor", logical([](E x, E y) { return apply(ScalarOp::ne, x, y); })},
      {"logical_not", predicate([](E x) { return x == 0.0; })},
      {"isnan", predicate(is_nan)},
      {"isinf", predicate(is_inf)},
      {"isfinite", predicate([](E x) { return !(is_nan(x) || is_inf(x)); })},
      {"isposinf", predicate([](E x) { return is_inf(x) && x > 0.0; })},
      {"isneginf", predicate([](E x) { return is_inf(x) && x < 0.0; })},
      {"signbit", predicate([](E x) { return x < 0.0 || 1.0 / x < 0.0; })},
      {"isclose", is_close},
      {"bitwise_and.Tensor bitwise_and.Scalar __and__.Tensor __and__.Scalar",
       formula({"self", "other"}, [](const Args& a) { return apply(ScalarOp::bit_and, a[0], a[1]); })},
      {"bitwise_or.Tensor bitwise_or.Scalar __or__.Tensor __or__.Scalar",
       formula({"self", "other"}, [](const Args& a) { return apply(ScalarOp::bit_or, a[0], a[1]); })},
      {"bitwise_xor.Tensor bitwise_xor.Scalar __xor__.Tensor __xor__.Scalar",
       formula({"self", "other"}, [](const Args& a) { return apply(ScalarOp::bit_xor, a[0], a[1]); })},
      {"bitwise_not",
       unary([](E x) { return apply(x.dtype() == DType::boolean ? ScalarOp::logical_not : ScalarOp::bit_not, x); })},
      {"bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar __lshift__.Scalar __lshift__.Tensor",
       formula({"self", "other"}, [](const Args& a) { return apply(ScalarOp::shift_left, a[0], a[1]); })},
      {"bitwise_right_shift.Tensor bitwise_right_shift.Tensor_Scalar __rshift__.Scalar __rshift__.Tensor",
       formula({"self", "other"}, [](const Args& a) { return apply(ScalarOp::shift_right, a[0], a[1]); })},
      {"where.self where.Scalar where.ScalarSelf where.ScalarOther", where},
      {"masked_fill.Scalar masked_fill.Tensor", masked_fill},
  };
}

}  // namespace

Rows arithmetic_rows() {
  Rows rows = arithmetic();
  for (Rows more : {functions(), logic()}) rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

}  // namespace kw::graph::aten
