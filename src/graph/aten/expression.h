#pragma once
#include "graph/scalar.h"

/// Scalar expressions written as arithmetic: `x * sigmoid(x)` appends steps to a ScalarBuilder.
namespace kw::graph::aten {

/// One value of a scalar program under construction; literals take the other side's dtype.
struct E {
  ScalarBuilder* builder = nullptr;
  ScalarBuilder::Value value = -1;

  DType dtype() const { return builder->dtype(value); }
  E literal(double x) const { return {builder, builder->imm(x, dtype())}; }
  E literal(double x, DType type) const { return {builder, builder->imm(x, type)}; }
  E to(DType type) const { return type == dtype() ? *this : E{builder, builder->cast(value, type)}; }
};

inline E apply(ScalarOp op, E x) { return {x.builder, x.builder->apply(op, x.value)}; }
inline E apply(ScalarOp op, E x, E y) { return {x.builder, x.builder->apply(op, x.value, y.value)}; }

// NOLINTBEGIN(bugprone-macro-parentheses): one line for each operator, in its three forms
#define KW_BINARY(NAME, OP)                                                     \
  inline E NAME(E x, E y) { return apply(ScalarOp::OP, x, y); }                 \
  inline E NAME(E x, double y) { return apply(ScalarOp::OP, x, x.literal(y)); } \
  inline E NAME(double x, E y) { return apply(ScalarOp::OP, y.literal(x), y); }
#define KW_UNARY(NAME, OP) \
  inline E NAME(E x) { return apply(ScalarOp::OP, x); }
KW_BINARY(operator+, add)
KW_BINARY(operator-, sub)
KW_BINARY(operator*, mul)
KW_BINARY(operator/, div)
KW_BINARY(operator<, lt)
KW_BINARY(operator<=, le)
KW_BINARY(operator>, gt)
KW_BINARY(operator>=, ge)
KW_BINARY(operator==, eq)
KW_BINARY(operator!=, ne)
KW_BINARY(maximum, max)
KW_BINARY(minimum, min)
KW_BINARY(power, pow)
KW_BINARY(fmod, fmod)
KW_BINARY(remainder, remainder)
KW_BINARY(floor_div, floor_div)
KW_UNARY(operator-, neg)
KW_UNARY(absolute, abs)
KW_UNARY(sign, sign)
KW_UNARY(exp, exp)
KW_UNARY(exp2, exp2)
KW_UNARY(expm1, expm1)
KW_UNARY(log, log)
KW_UNARY(log2, log2)
KW_UNARY(log1p, log1p)
KW_UNARY(sqrt, sqrt)
KW_UNARY(rsqrt, rsqrt)
KW_UNARY(reciprocal, reciprocal)
KW_UNARY(tanh, tanh)
KW_UNARY(sigmoid, sigmoid)
KW_UNARY(erf, erf)
KW_UNARY(floor, floor)
KW_UNARY(ceil, ceil)
KW_UNARY(round, round)
KW_UNARY(trunc, trunc)
KW_UNARY(sin, sin)
KW_UNARY(is_nan, is_nan)
KW_UNARY(is_inf, is_inf)
#undef KW_BINARY
#undef KW_UNARY
// NOLINTEND(bugprone-macro-parentheses)

inline E operator&&(E x, E y) { return apply(ScalarOp::logical_and, x, y); }
inline E operator||(E x, E y) { return apply(ScalarOp::logical_or, x, y); }
inline E operator!(E x) { return apply(ScalarOp::logical_not, x); }
inline E select(E condition, E x, E y) { return {x.builder, x.builder->select(condition.value, x.value, y.value)}; }
inline E select(E condition, E x, double y) { return select(condition, x, x.literal(y)); }
inline E select(E condition, double x, E y) { return select(condition, y.literal(x), y); }

}  // namespace kw::graph::aten
