#include "graph/scalar.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "base/result.h"

namespace kw::graph {
namespace {

double wrap_to_width(double value, double width) {
  const double wrapped = std::fmod(value, width);
  return wrapped < 0 ? wrapped + width : wrapped;
}

double wrap_signed(double value, double width) {
  const double wrapped = wrap_to_width(value, width);
  return wrapped >= width / 2 ? wrapped - width : wrapped;
}

bool is_predicate(ScalarOp op) {
  return (op >= ScalarOp::lt && op <= ScalarOp::logical_not) || op == ScalarOp::is_nan || op == ScalarOp::is_inf;
}

bool same_step(const ScalarStep& x, const ScalarStep& y) {
  return x.op == y.op && x.dtype == y.dtype && x.a == y.a && x.b == y.b && x.c == y.c &&
         std::bit_cast<uint64_t>(x.imm) == std::bit_cast<uint64_t>(y.imm);
}

/// One step's text; `operands` are already text.
std::string step_text(const ScalarStep& step, const std::vector<std::string>& texts) {
  if (step.op == ScalarOp::arg) return fmt::format("%{}", step.a);
  if (step.op == ScalarOp::imm) return fmt::format("{}", step.imm);
  std::string text = fmt::format("{}(", scalar_row(step.op).name);
  const int32_t operands[] = {step.a, step.b, step.c};
  for (int i = 0; i < scalar_row(step.op).arity; ++i) {
    text += (i > 0 ? ", " : "") + texts[static_cast<size_t>(operands[i])];
  }
  if (step.op == ScalarOp::cast) text += fmt::format(", {}", name_of(step.dtype));
  return text + ")";
}

}  // namespace

double to_dtype_domain(DType dtype, double value) {
  if (is_float(dtype)) return value;
  if (dtype == DType::boolean) return value != 0;
  if (!std::isfinite(value)) return dtype == DType::i64 ? -0x1p63 : 0;
  value = std::trunc(value);
  const double width = std::ldexp(1.0, 8 * static_cast<int>(size_bytes(dtype)));
  if (dtype == DType::u8) return value >= 0 && value < width ? value : wrap_to_width(value, width);
  return std::fabs(value) < width / 2 ? value : wrap_signed(value, width);
}

double scalar_value(const ScalarStep& step, double a, double b, double c) {
  return to_dtype_domain(step.dtype, scalar_row(step.op).value(a, b, c));
}

double evaluate(const ScalarExpr& expr, std::span<const double> args) {
  std::vector<double> values(expr.size());
  const auto operand = [&](int32_t i) { return i < 0 ? 0.0 : values[static_cast<size_t>(i)]; };
  for (size_t i = 0; i < expr.size(); ++i) {
    const ScalarStep& step = expr[i];
    if (step.op == ScalarOp::arg) {
      values[i] = args[static_cast<size_t>(step.a)];
    } else if (step.op == ScalarOp::imm) {
      values[i] = step.imm;
    } else {
      values[i] = scalar_value(step, operand(step.a), operand(step.b), operand(step.c));
    }
  }
  return values.back();
}

std::string to_text(const ScalarExpr& expr) {
  constexpr size_t long_text = 60;
  std::string lets;
  std::vector<std::string> texts;
  for (size_t i = 0; i < expr.size(); ++i) {
    texts.push_back(step_text(expr[i], texts));
    if (texts.back().size() <= long_text || i + 1 == expr.size()) continue;
    lets += fmt::format("t{} = {}; ", i, texts.back());
    texts.back() = fmt::format("t{}", i);
  }
  return texts.empty() ? "" : lets + texts.back();
}

int arg_count(const ScalarExpr& expr) {
  int count = 0;
  for (const ScalarStep& step : expr) {
    if (step.op == ScalarOp::arg) count = std::max(count, step.a + 1);
  }
  return count;
}

bool ScalarBuilder::is_imm(Value x, double value) const {
  const ScalarStep& step = steps_[static_cast<size_t>(x)];
  return step.op == ScalarOp::imm && std::bit_cast<uint64_t>(step.imm) == std::bit_cast<uint64_t>(value);
}

ScalarBuilder::Value ScalarBuilder::push(ScalarStep step) {
  const int arity = scalar_row(step.op).arity;
  const int32_t operands[] = {step.a, step.b, step.c};
  bool constant = arity > 0;
  double v[3] = {0, 0, 0};
  for (int i = 0; i < arity; ++i) {
    const ScalarStep& operand = steps_.at(static_cast<size_t>(operands[i]));
    constant = constant && operand.op == ScalarOp::imm;
    v[i] = operand.imm;
  }
  if (constant) return imm(scalar_value(step, v[0], v[1], v[2]), step.dtype);
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (same_step(steps_[i], step)) return latest_ = static_cast<Value>(i);
  }
  steps_.push_back(step);
  return latest_ = static_cast<Value>(steps_.size()) - 1;
}

ScalarBuilder::Value ScalarBuilder::arg(int index, DType dtype) { return push({ScalarOp::arg, dtype, index}); }

ScalarBuilder::Value ScalarBuilder::imm(double value, DType dtype) {
  return push({ScalarOp::imm, dtype, -1, -1, -1, to_dtype_domain(dtype, value)});
}

ScalarBuilder::Value ScalarBuilder::cast(Value x, DType to) {
  if (dtype(x) == to) return latest_ = x;
  return push({ScalarOp::cast, to, x});
}

ScalarBuilder::Value ScalarBuilder::apply(ScalarOp op, Value a) {
  check(scalar_row(op).arity == 1 && op != ScalarOp::cast, "scalar operation takes one operand");
  if (op == ScalarOp::bit_not && dtype(a) == DType::boolean) op = ScalarOp::logical_not;
  const ScalarStep& operand = steps_[static_cast<size_t>(a)];
  if (op == ScalarOp::neg && operand.op == ScalarOp::neg) return latest_ = operand.a;
  return push({op, is_predicate(op) ? DType::boolean : dtype(a), a});
}

ScalarBuilder::Value ScalarBuilder::apply(ScalarOp op, Value a, Value b) {
  check(scalar_row(op).arity == 2, "scalar operation takes two operands");
  check(dtype(a) == dtype(b), "scalar operands have one dtype");
  // Identities that hold for every value, signed zeros and NaN included (x + 0 does not: -0 + 0 is +0).
  if (op == ScalarOp::mul && is_imm(b, 1)) return latest_ = a;
  if (op == ScalarOp::mul && is_imm(a, 1)) return latest_ = b;
  if (op == ScalarOp::div && is_imm(b, 1)) return latest_ = a;
  if (op == ScalarOp::sub && is_imm(b, 0)) return latest_ = a;
  if (op == ScalarOp::add && is_imm(b, -0.0)) return latest_ = a;
  if (op == ScalarOp::pow && is_imm(b, 1)) return latest_ = a;
  if ((op == ScalarOp::max || op == ScalarOp::min) && a == b) return latest_ = a;
  return push({op, is_predicate(op) ? DType::boolean : dtype(a), a, b});
}

ScalarBuilder::Value ScalarBuilder::select(Value condition, Value b, Value c) {
  check(dtype(b) == dtype(c), "select branches have one dtype");
  const ScalarStep& step = steps_[static_cast<size_t>(condition)];
  if (step.op == ScalarOp::imm) return latest_ = step.imm != 0 ? b : c;
  if (b == c) return latest_ = b;
  return push({ScalarOp::select, dtype(b), condition, b, c});
}

ScalarBuilder::Value ScalarBuilder::inline_expr(const ScalarExpr& expr, const std::vector<Value>& args) {
  std::vector<Value> at(expr.size(), -1);
  for (size_t i = 0; i < expr.size(); ++i) {
    const ScalarStep& step = expr[i];
    const auto operand = [&](int32_t x) { return at[static_cast<size_t>(x)]; };
    if (step.op == ScalarOp::arg) {
      at[i] = args.at(static_cast<size_t>(step.a));
    } else if (step.op == ScalarOp::imm) {
      at[i] = imm(step.imm, step.dtype);
    } else if (step.op == ScalarOp::cast) {
      at[i] = cast(operand(step.a), step.dtype);
    } else if (step.op == ScalarOp::select) {
      at[i] = select(operand(step.a), operand(step.b), operand(step.c));
    } else if (scalar_row(step.op).arity == 1) {
      at[i] = apply(step.op, operand(step.a));
    } else {
      at[i] = apply(step.op, operand(step.a), operand(step.b));
    }
  }
  check(!expr.empty(), "an expression has at least one step");
  return latest_ = at.back();
}

ScalarExpr ScalarBuilder::take(Value root) {
  check(root >= 0, "an expression has at least one step");
  std::vector<char> needed(steps_.size(), 0);
  needed[static_cast<size_t>(root)] = 1;
  std::vector<Value> renamed(steps_.size(), -1);
  for (size_t i = steps_.size(); i-- > 0;) {
    if (!needed[i] || steps_[i].op == ScalarOp::arg) continue;
    for (int32_t x : {steps_[i].a, steps_[i].b, steps_[i].c}) {
      if (x >= 0) needed[static_cast<size_t>(x)] = 1;
    }
  }
  ScalarExpr kept;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (!needed[i]) continue;
    ScalarStep step = steps_[i];
    if (step.op != ScalarOp::arg) {
      for (int32_t* x : {&step.a, &step.b, &step.c}) *x = *x < 0 ? -1 : renamed[static_cast<size_t>(*x)];
    }
    renamed[i] = static_cast<Value>(kept.size());
    kept.push_back(step);
  }
  steps_.clear();
  latest_ = -1;
  return kept;
}

}  // namespace kw::graph
