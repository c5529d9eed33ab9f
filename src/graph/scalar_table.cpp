#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/result.h"
#include "graph/scalar.h"

/// Values and error bounds of the scalar operations. Bounds follow the mean value theorem: the largest |f'| on
/// [x - b, x + b] times b, in closed form where one exists, so that they hold for large b too.
namespace kw::graph {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
using std::numbers::ln10;
using std::numbers::ln2;
using std::numbers::pi;

int64_t integer(double x) { return static_cast<int64_t>(x); }

/// x * y where an exact zero wins over infinity: a bound of zero stays zero.
double times(double x, double y) { return x == 0 || y == 0 ? 0 : x * y; }

double no_bound(const double*, const double*, double) { return 0; }
double same_bound(const double*, const double* b, double) { return b[0]; }
double sum_bound(const double*, const double* b, double) { return b[0] + b[1]; }

/// The two ends of the interval of max(a, b), so that a loser far below adds nothing.
double max_bound(const double* v, const double* b, double r) {
  return std::fmax(std::fmax(v[0] + b[0], v[1] + b[1]) - r, r - std::fmax(v[0] - b[0], v[1] - b[1]));
}
double min_bound(const double* v, const double* b, double r) {
  return std::fmax(std::fmin(v[0] + b[0], v[1] + b[1]) - r, r - std::fmin(v[0] - b[0], v[1] - b[1]));
}

double mul_bound(const double* v, const double* b, double) {
  return times(std::fabs(v[0]), b[1]) + times(std::fabs(v[1]), b[0]) + times(b[0], b[1]);
}

double quotient_bound(double b_num, double den, double b_den, double result) {
  if (b_num == 0 && b_den == 0) return 0;
  if (!(b_den < std::fabs(den))) return inf;
  return (b_num + times(std::fabs(result), b_den)) / (std::fabs(den) - b_den);
}

double div_bound(const double* v, const double* b, double r) { return quotient_bound(b[0], v[1], b[1], r); }
double reciprocal_bound(const double* v, const double* b, double r) { return quotient_bound(0, v[0], b[0], r); }

/// Of a step function that never decreases: the larger jump to either end of the interval.
template <double (*F)(double)>
double step_bound(const double* v, const double* b, double result) {
  if (b[0] == 0 || std::isnan(result)) return 0;
  return std::fmax(std::fabs(F(v[0] + b[0]) - result), std::fabs(F(v[0] - b[0]) - result));
}

double sign_of(double x) { return (x > 0) - (x < 0); }

double floor_div(double a, double b) {
  if (b == 0) return a / b;
  const double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (b < 0) != (remainder < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

double python_remainder(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (b < 0) != (r < 0) ? r + b : r;
}

double floor_div_bound(const double* v, const double* b, double r) {
  const double quotient = quotient_bound(b[0], v[1], b[1], v[0] / v[1]);
  const double exact[] = {v[0] / v[1]};
  return step_bound<std::floor>(exact, &quotient, r);
}

/// a - b * step(a / b): exact operands give an exact result; a quotient that may step changes it by |b|.
template <double (*Step)(double)>
double modulo_bound(const double* v, const double* b, double r) {
  if ((b[0] == 0 && b[1] == 0) || std::isnan(r)) return 0;
  const double ratio = v[0] / v[1];
  const double spread = quotient_bound(b[0], v[1], b[1], ratio);
  const double drift = b[0] + times(std::fabs(Step(ratio)), b[1]);
  return Step(ratio + spread) == Step(ratio - spread) ? drift : drift + std::fabs(v[1]) + b[1];
}

double pow_bound(const double* v, const double* b, double r) {
  if (b[0] == 0 && b[1] == 0) return 0;
  const double x = std::fabs(v[0]);
  const double y = v[1];
  if (b[1] == 0 && y == 0) return 0;
  if (b[0] < x) {
    if (v[0] < 0 && b[1] > 0) return inf;
    const double spread = -std::log1p(-b[0] / x);
    return times(std::fabs(r), std::expm1(std::fabs(y) * spread + b[1] * (std::fabs(std::log(x)) + spread)));
  }
  if (b[1] > 0 || y < 0) return inf;
  return std::pow(x + b[0], y) + std::fabs(r);
}

double atan2_bound(const double* v, const double* b, double) {
  if (b[0] == 0 && b[1] == 0) return 0;
  const double slack = std::hypot(b[0], b[1]);
  const double radius = std::hypot(v[0], v[1]) - slack;
  const bool at_cut = std::fabs(v[0]) <= b[0] && v[1] <= b[1];
  return !(radius > 0) || at_cut ? 2 * pi : slack / radius;
}

double exp_bound(const double* v, const double* b, double) { return times(std::exp(v[0]), std::expm1(b[0])); }
double exp2_bound(const double*, const double* b, double r) { return times(r, std::expm1(b[0] * ln2)); }

/// log(x) for x = v + offset; the lower end may be the pole or beyond it.
double log_spread(double x, double b) {
  if (b == 0 || x + b < 0) return 0;
  return b < x ? -std::log1p(-b / x) : inf;
}
double log_bound(const double* v, const double* b, double) { return log_spread(v[0], b[0]); }
double log2_bound(const double* v, const double* b, double) { return log_spread(v[0], b[0]) / ln2; }
double log10_bound(const double* v, const double* b, double) { return log_spread(v[0], b[0]) / ln10; }
double log1p_bound(const double* v, const double* b, double) { return log_spread(1 + v[0], b[0]); }

/// A non-negative value stays so: an honest computation of a variance does not turn negative.
double sqrt_bound(const double* v, const double* b, double r) {
  if (b[0] == 0 || v[0] + b[0] < 0) return 0;
  if (v[0] < 0) return inf;
  return b[0] < v[0] ? b[0] / (r + std::sqrt(v[0] - b[0])) : std::sqrt(v[0] + b[0]);
}

double rsqrt_bound(const double* v, const double* b, double r) {
  if (b[0] == 0 || v[0] + b[0] < 0) return 0;
  return b[0] < v[0] ? times(r, std::expm1(-0.5 * std::log1p(-b[0] / v[0]))) : inf;
}

double wave_bound(const double*, const double* b, double) { return std::fmin(b[0], 2.0); }

double tan_bound(const double* v, const double* b, double) {
  if (b[0] == 0) return 0;
  const double turns = v[0] / pi - 0.5;
  const double reach = b[0] / pi;
  if (!(reach < 1) || std::floor(turns + reach) != std::floor(turns - reach)) return inf;
  const double c = std::fmin(std::fabs(std::cos(v[0] - b[0])), std::fabs(std::cos(v[0] + b[0])));
  return b[0] / (c * c);
}

double arc_bound(const double* v, const double* b, double) {
  const double far = std::fabs(v[0]) + b[0];
  if (b[0] == 0 || std::fabs(v[0]) - b[0] > 1) return 0;
  return far < 1 ? b[0] / std::sqrt((1 - far) * (1 + far)) : inf;
}

double nearest_to_zero(double x, double b) { return std::fmax(std::fabs(x) - b, 0.0); }

double atan_bound(const double* v, const double* b, double) {
  const double m = nearest_to_zero(v[0], b[0]);
  return std::fmin(b[0] / (1 + m * m), pi);
}
double sinh_bound(const double* v, const double* b, double) { return times(std::cosh(std::fabs(v[0]) + b[0]), b[0]); }
double cosh_bound(const double* v, const double* b, double) { return times(std::sinh(std::fabs(v[0]) + b[0]), b[0]); }

double tanh_bound(const double* v, const double* b, double) {
  const double c = std::cosh(nearest_to_zero(v[0], b[0]));
  return std::fmin(b[0] / (c * c), 2.0);
}

double sigmoid(double x) {
  if (x >= 0) return 1 / (1 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1 + e);
}

double sigmoid_bound(const double* v, const double* b, double) {
  const double s = sigmoid(-nearest_to_zero(v[0], b[0]));
  return std::fmin(times(b[0], s * (1 - s)), 1.0);
}

double erf_bound(const double* v, const double* b, double) {
  const double m = nearest_to_zero(v[0], b[0]);
  return std::fmin(times(b[0], 2 / std::sqrt(pi) * std::exp(-m * m)), 2.0);
}

/// Either answer is possible when the two intervals touch; exact operands decide.
double order_bound(const double* v, const double* b, double) {
  const double reach = b[0] + b[1];
  return reach > 0 && !(std::fabs(v[0] - v[1]) > reach) ? 1 : 0;
}

bool may_flip(double v, double b) { return b > 0 && !(std::fabs(v) > b); }

template <double (*F)(double, double, double)>
double logic_bound(const double* v, const double* b, double r) {
  for (int flips = 1; flips < 4; ++flips) {
    double x[2] = {v[0], v[1]};
    bool possible = true;
    for (int i = 0; i < 2; ++i) {
      if (!(flips >> i & 1)) continue;
      possible = possible && (may_flip(v[i], b[i]) || (v[i] == 1 && b[i] >= 1) || (v[i] == 0 && b[i] > 0));
      x[i] = v[i] == 0;
    }
    if (possible && F(x[0], x[1], 0) != r) return 1;
  }
  return 0;
}

double not_bound(const double* v, const double* b, double) { return may_flip(v[0], b[0]) ? 1 : 0; }

/// Bits of an uncertain integer: booleans may flip, wider values may be anything.
double bits_bound(const double* v, const double* b, double) {
  if (b[0] == 0 && b[1] == 0) return 0;
  return std::fabs(v[0]) <= 1 && std::fabs(v[1]) <= 1 ? 1 : inf;
}
double bit_not_bound(const double*, const double* b, double) { return b[0]; }

double class_bound(const double*, const double* b, double) { return std::isinf(b[0]) ? 1 : 0; }

double select_bound(const double* v, const double* b, double r) {
  const double chosen = v[0] != 0 ? b[1] : b[2];
  if (!may_flip(v[0], b[0])) return chosen;
  const double other = v[0] != 0 ? v[2] : v[1];
  const double jump = std::fabs(other - r) + (v[0] != 0 ? b[2] : b[1]);
  if (other == r || (std::isnan(other) && std::isnan(r))) return std::fmax(b[1], b[2]);
  return std::isnan(jump) ? inf : std::fmax(chosen, jump);
}

double max_of(double a, double b, double) { return std::isnan(a) || std::isnan(b) ? nan : (a > b ? a : b); }
double min_of(double a, double b, double) { return std::isnan(a) || std::isnan(b) ? nan : (a < b ? a : b); }
double and_of(double a, double b, double) { return a != 0 && b != 0; }
double or_of(double a, double b, double) { return a != 0 || b != 0; }

#define KW_VALUE(expression)                   \
  [](double a, double b, double c) -> double { \
    (void)a, (void)b, (void)c;                 \
    return expression;                         \
  }

// Roundings of one IEEE operation count 1; divisions and roots may be refined estimates; the rest is
// libm or a polynomial. Exact operations count 0.
constexpr double exact = 0, rounded = 1, refined = 4, approximate = 8;

const std::array<ScalarRow, 60> table = {{
    {ScalarOp::arg, "arg", 0, KW_VALUE(nan), no_bound, exact, false},
    {ScalarOp::imm, "imm", 0, KW_VALUE(nan), no_bound, exact, false},
    {ScalarOp::cast, "cast", 1, KW_VALUE(a), same_bound, exact, false},
    {ScalarOp::add, "add", 2, KW_VALUE(a + b), sum_bound, rounded, false},
    {ScalarOp::sub, "sub", 2, KW_VALUE(a - b), sum_bound, rounded, false},
    {ScalarOp::mul, "mul", 2, KW_VALUE(a* b), mul_bound, rounded, false},
    {ScalarOp::div, "div", 2, KW_VALUE(a / b), div_bound, refined, false},
    {ScalarOp::neg, "neg", 1, KW_VALUE(-a), same_bound, exact, false},
    {ScalarOp::abs, "abs", 1, KW_VALUE(std::fabs(a)), same_bound, exact, false},
    {ScalarOp::sign, "sign", 1, KW_VALUE(sign_of(a)), step_bound<sign_of>, exact, true},
    {ScalarOp::max, "max", 2, max_of, max_bound, exact, false},
    {ScalarOp::min, "min", 2, min_of, min_bound, exact, false},
    {ScalarOp::pow, "pow", 2, KW_VALUE(std::pow(a, b)), pow_bound, approximate, false},
    {ScalarOp::fmod, "fmod", 2, KW_VALUE(std::fmod(a, b)), modulo_bound<std::trunc>, exact, true},
    {ScalarOp::remainder, "remainder", 2, KW_VALUE(python_remainder(a, b)), modulo_bound<std::floor>, rounded, true},
    {ScalarOp::floor_div, "floor_div", 2, KW_VALUE(floor_div(a, b)), floor_div_bound, exact, true},
    {ScalarOp::atan2, "atan2", 2, KW_VALUE(std::atan2(a, b)), atan2_bound, approximate, false},
    {ScalarOp::exp, "exp", 1, KW_VALUE(std::exp(a)), exp_bound, approximate, false},
    {ScalarOp::exp2, "exp2", 1, KW_VALUE(std::exp2(a)), exp2_bound, approximate, false},
    {ScalarOp::expm1, "expm1", 1, KW_VALUE(std::expm1(a)), exp_bound, approximate, false},
    {ScalarOp::log, "log", 1, KW_VALUE(std::log(a)), log_bound, approximate, false},
    {ScalarOp::log2, "log2", 1, KW_VALUE(std::log2(a)), log2_bound, approximate, false},
    {ScalarOp::log10, "log10", 1, KW_VALUE(std::log10(a)), log10_bound, approximate, false},
    {ScalarOp::log1p, "log1p", 1, KW_VALUE(std::log1p(a)), log1p_bound, approximate, false},
    {ScalarOp::sqrt, "sqrt", 1, KW_VALUE(std::sqrt(a)), sqrt_bound, refined, false},
    {ScalarOp::rsqrt, "rsqrt", 1, KW_VALUE(1 / std::sqrt(a)), rsqrt_bound, refined, false},
    {ScalarOp::reciprocal, "reciprocal", 1, KW_VALUE(1 / a), reciprocal_bound, refined, false},
    {ScalarOp::sin, "sin", 1, KW_VALUE(std::sin(a)), wave_bound, approximate, false},
    {ScalarOp::cos, "cos", 1, KW_VALUE(std::cos(a)), wave_bound, approximate, false},
    {ScalarOp::tan, "tan", 1, KW_VALUE(std::tan(a)), tan_bound, approximate, false},
    {ScalarOp::asin, "asin", 1, KW_VALUE(std::asin(a)), arc_bound, approximate, false},
    {ScalarOp::acos, "acos", 1, KW_VALUE(std::acos(a)), arc_bound, approximate, false},
    {ScalarOp::atan, "atan", 1, KW_VALUE(std::atan(a)), atan_bound, approximate, false},
    {ScalarOp::sinh, "sinh", 1, KW_VALUE(std::sinh(a)), sinh_bound, approximate, false},
    {ScalarOp::cosh, "cosh", 1, KW_VALUE(std::cosh(a)), cosh_bound, approximate, false},
    {ScalarOp::tanh, "tanh", 1, KW_VALUE(std::tanh(a)), tanh_bound, approximate, false},
    {ScalarOp::sigmoid, "sigmoid", 1, KW_VALUE(sigmoid(a)), sigmoid_bound, approximate, false},
    {ScalarOp::erf, "erf", 1, KW_VALUE(std::erf(a)), erf_bound, approximate, false},
    {ScalarOp::floor, "floor", 1, KW_VALUE(std::floor(a)), step_bound<std::floor>, exact, true},
    {ScalarOp::ceil, "ceil", 1, KW_VALUE(std::ceil(a)), step_bound<std::ceil>, exact, true},
    {ScalarOp::round, "round", 1, KW_VALUE(std::nearbyint(a)), step_bound<std::nearbyint>, exact, true},
    {ScalarOp::trunc, "trunc", 1, KW_VALUE(std::trunc(a)), step_bound<std::trunc>, exact, true},
    {ScalarOp::lt, "lt", 2, KW_VALUE(a < b), order_bound, exact, true},
    {ScalarOp::le, "le", 2, KW_VALUE(a <= b), order_bound, exact, true},
    {ScalarOp::gt, "gt", 2, KW_VALUE(a > b), order_bound, exact, true},
    {ScalarOp::ge, "ge", 2, KW_VALUE(a >= b), order_bound, exact, true},
    {ScalarOp::eq, "eq", 2, KW_VALUE(a == b), order_bound, exact, true},
    {ScalarOp::ne, "ne", 2, KW_VALUE(a != b), order_bound, exact, true},
    {ScalarOp::logical_and, "logical_and", 2, and_of, logic_bound<and_of>, exact, false},
    {ScalarOp::logical_or, "logical_or", 2, or_of, logic_bound<or_of>, exact, false},
    {ScalarOp::logical_not, "logical_not", 1, KW_VALUE(a == 0), not_bound, exact, false},
    {ScalarOp::bit_and, "bit_and", 2, KW_VALUE(static_cast<double>(integer(a) & integer(b))), bits_bound, exact, false},
    {ScalarOp::bit_or, "bit_or", 2, KW_VALUE(static_cast<double>(integer(a) | integer(b))), bits_bound, exact, false},
    {ScalarOp::bit_xor, "bit_xor", 2, KW_VALUE(static_cast<double>(integer(a) ^ integer(b))), bits_bound, exact, false},
    {ScalarOp::bit_not, "bit_not", 1, KW_VALUE(static_cast<double>(~integer(a))), bit_not_bound, exact, false},
    {ScalarOp::shift_left, "shift_left", 2,
     KW_VALUE(b >= 0 && b < 63 ? static_cast<double>(integer(a) * (int64_t{1} << integer(b))) : 0), bits_bound, exact,
     false},
    {ScalarOp::shift_right, "shift_right", 2,
     KW_VALUE(static_cast<double>(integer(a) >> (b >= 0 && b < 63 ? integer(b) : 63))), bits_bound, exact, false},
    {ScalarOp::is_nan, "is_nan", 1, KW_VALUE(std::isnan(a)), class_bound, exact, true},
    {ScalarOp::is_inf, "is_inf", 1, KW_VALUE(std::isinf(a)), class_bound, exact, true},
    {ScalarOp::select, "select", 3, KW_VALUE(a != 0 ? b : c), select_bound, exact, true},
}};
#undef KW_VALUE

}  // namespace

std::span<const ScalarRow> scalar_table() { return table; }

const ScalarRow& scalar_row(ScalarOp op) { return table[static_cast<size_t>(op)]; }

}  // namespace kw::graph
