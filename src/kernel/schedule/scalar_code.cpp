#include "kernel/schedule/scalar_code.h"

#include <algorithm>

#include "base/result.h"

namespace kw::kernel::schedule {
namespace {

using graph::ScalarOp;
using graph::ScalarStep;
using tile::Expr;
using tile::Op;

struct OperatorRow {
  ScalarOp scalar;
  Op tile;
  bool swapped = false;
};
/// Scalar operations that are operators of the tile IR; all others are calls by their own name.
constexpr OperatorRow operators[] = {
    {ScalarOp::add, Op::add},
    {ScalarOp::sub, Op::sub},
    {ScalarOp::mul, Op::mul},
    {ScalarOp::div, Op::div},
    {ScalarOp::lt, Op::lt},
    {ScalarOp::le, Op::le},
    {ScalarOp::gt, Op::lt, true},
    {ScalarOp::ge, Op::le, true},
    {ScalarOp::eq, Op::eq},
    {ScalarOp::ne, Op::ne},
    {ScalarOp::logical_and, Op::land},
    {ScalarOp::logical_or, Op::lor},
    {ScalarOp::bit_and, Op::band},
    {ScalarOp::bit_or, Op::bor},
    {ScalarOp::bit_xor, Op::bxor},
    {ScalarOp::shift_left, Op::shl},
    {ScalarOp::shift_right, Op::shr},
};

const OperatorRow* operator_row(ScalarOp op) {
  for (const OperatorRow& row : operators)
    if (row.scalar == op) return &row;
  return nullptr;
}

bool is_logical(ScalarOp op) {
  return op == ScalarOp::logical_and || op == ScalarOp::logical_or || op == ScalarOp::logical_not;
}

bool is_small_integer(DType d) { return d == DType::u8 || d == DType::i8 || d == DType::i16; }

int widest(const std::vector<Expr>& x) {
  int lanes = 1;
  for (const Expr& e : x) lanes = std::max(lanes, e.type().lanes);
  return lanes;
}

/// Bounds-checked shifts, as the reference defines them.
Expr shifted(Op op, const Expr& a, const Expr& b) {
  const Expr zero = tile::imm(0, b.type()), top = tile::imm(63, b.type());
  const Expr fits = tile::binary(Op::land, tile::binary(Op::le, zero, b), tile::binary(Op::lt, b, top));
  const Expr amount = tile::select(fits, b, op == Op::shl ? zero : top);
  const Expr wide = tile::binary(op, tile::cast(a, DType::i64), tile::cast(amount, DType::i64));
  const Expr result = tile::cast(wide, a.type().dtype);
  return op == Op::shl ? tile::select(fits, result, tile::imm(0, a.type())) : result;
}

}  // namespace

DType compute_dtype(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16 ? DType::f32 : dtype; }

DType ScalarCoder::register_dtype(DType dtype) const {
  return narrow && dtype == DType::i64 ? DType::i32 : compute_dtype(dtype);
}

Expr ScalarCoder::converted(Expr x, DType to) const {
  const bool half = to == DType::f16 || to == DType::bf16;
  Expr y = tile::cast(std::move(x), register_dtype(to));
  return half ? tile::call(to == DType::f16 ? "round_f16" : "round_bf16", y.type(), {y}) : y;
}

Expr ScalarCoder::operation(ScalarOp op, DType dtype, std::vector<Expr> x) const {
  if (is_logical(op))
    for (Expr& e : x) e = tile::cast(e, DType::boolean);
  const DType of = x.at(0).type().dtype;
  const bool real = is_float(of);
  if (op == ScalarOp::logical_not) return tile::unary(Op::lnot, x[0]);
  if (op == ScalarOp::neg) return tile::unary(Op::neg, x[0]);
  if (op == ScalarOp::bit_not) return tile::unary(of == DType::boolean ? Op::lnot : Op::bnot, x[0]);
  if (op == ScalarOp::shift_left || op == ScalarOp::shift_right)
    return shifted(op == ScalarOp::shift_left ? Op::shl : Op::shr, x[0], x[1]);
  if (of == DType::boolean && (op == ScalarOp::max || op == ScalarOp::bit_or || op == ScalarOp::add))
    return tile::binary(Op::lor, x[0], x[1]);
  if (of == DType::boolean && (op == ScalarOp::min || op == ScalarOp::bit_and || op == ScalarOp::mul))
    return tile::binary(Op::land, x[0], x[1]);
  if (!real && (op == ScalarOp::floor || op == ScalarOp::ceil || op == ScalarOp::round || op == ScalarOp::trunc))
    return x[0];
  if (!real && (op == ScalarOp::is_nan || op == ScalarOp::is_inf)) return tile::imm(0, {DType::boolean, 1});
  if (!real && op == ScalarOp::div) return tile::call("div_trunc", {of, widest(x)}, x);
  if (!real && op == ScalarOp::pow) {
    for (Expr& e : x) e = tile::cast(e, DType::f64);
    return tile::cast(tile::call("pow", {DType::f64, widest(x)}, x), of);
  }
  // One divisor for all lanes: a division of vectors takes as long as ten products.
  if (op == ScalarOp::div && of == DType::f32 && x[0].type().lanes > 1 && x[1].type().lanes == 1)
    return tile::call("div_by", {of, widest(x)}, x);
  if (const OperatorRow* row = operator_row(op))
    return row->swapped ? tile::binary(row->tile, x[1], x[0]) : tile::binary(row->tile, x[0], x[1]);
  return tile::call(std::string(graph::scalar_row(op).name), {register_dtype(dtype), widest(x)}, x);
}

Expr ScalarCoder::step(const ScalarStep& s, const std::vector<Expr>& values, const std::vector<Expr>& args) const {
  auto at = [&](int32_t i) { return values.at(static_cast<size_t>(i)); };
  switch (s.op) {
    case ScalarOp::arg:
      return args.at(static_cast<size_t>(s.a));
    case ScalarOp::imm:
      return tile::imm(s.dtype == DType::boolean ? s.imm != 0 : s.imm, {register_dtype(s.dtype), 1});
    case ScalarOp::cast:
      return converted(at(s.a), s.dtype);
    case ScalarOp::select:
      return tile::select(tile::cast(at(s.a), DType::boolean), at(s.b), at(s.c));
    default: {
      std::vector<Expr> operands{at(s.a)};
      if (graph::scalar_row(s.op).arity > 1) operands.push_back(at(s.b));
      return operation(s.op, s.dtype, std::move(operands));
    }
  }
}

Expr ScalarCoder::code(const graph::ScalarExpr& expr, const std::vector<Expr>& args) const {
  std::vector<int> uses(expr.size(), 0);
  for (const ScalarStep& s : expr)
    for (int32_t operand : {s.a, s.b, s.c})
      if (s.op != ScalarOp::arg && operand >= 0) ++uses[static_cast<size_t>(operand)];
  std::vector<Expr> values;
  for (size_t i = 0; i < expr.size(); ++i) {
    Expr value = step(expr[i], values, args);
    const bool wraps = is_small_integer(value.type().dtype);
    if (uses[i] > 1 || wraps) value = name_it(std::move(value));
    values.push_back(std::move(value));
  }
  return values.back();
}

double expr_cost(const graph::ScalarExpr& expr) {
  double cost = 0;
  for (const ScalarStep& s : expr) {
    if (s.op == ScalarOp::arg || s.op == ScalarOp::imm) continue;
    const bool function = !operator_row(s.op) && !is_logical(s.op) && s.op != ScalarOp::cast &&
                          s.op != ScalarOp::select && s.op != ScalarOp::neg && s.op != ScalarOp::abs &&
                          s.op != ScalarOp::max && s.op != ScalarOp::min;
    cost += function ? 15 : s.op == ScalarOp::div ? 5 : 1;
  }
  return cost;
}

}  // namespace kw::kernel::schedule
