#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

/// Scalar expressions: what a Map node does to one element.
namespace kw::graph {

/// One row each in scalar_table(): name, arity, float64 value, error-bound rule, default ulps.
enum class ScalarOp : uint8_t {
  arg,
  imm,
  cast,
  add,
  sub,
  mul,
  div,
  neg,
  abs,
  sign,
  max,
  min,
  pow,
  fmod,
  remainder,
  floor_div,
  atan2,
  exp,
  exp2,
  expm1,
  log,
  log2,
  log10,
  log1p,
  sqrt,
  rsqrt,
  reciprocal,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  tanh,
  sigmoid,
  erf,
  floor,
  ceil,
  round,
  trunc,
  lt,
  le,
  gt,
  ge,
  eq,
  ne,
  logical_and,
  logical_or,
  logical_not,
  bit_and,
  bit_or,
  bit_xor,
  bit_not,
  shift_left,
  shift_right,
  is_nan,
  is_inf,
  select
};

/// One step of a straight-line program; a, b, c name earlier steps (or the input number, for `arg`).
/// max, min propagate NaN as torch.maximum does; select(a ? b : c); sigmoid is one op so that its
/// bound and its vector code are exact at both ends.
struct ScalarStep {
  ScalarOp op = ScalarOp::imm;
  DType dtype = DType::f32;  // of the result
  int32_t a = -1, b = -1, c = -1;
  double imm = 0;
  bool operator==(const ScalarStep&) const = default;
};

/// The last step is the value.
using ScalarExpr = std::vector<ScalarStep>;

struct ScalarRow {
  ScalarOp op;
  std::string_view name;
  int arity;
  double (*value)(double a, double b, double c);
  /// Bound of the result from values and bounds of the operands, without the rounding term.
  double (*bound)(const double* v, const double* b, double result);
  double ulps;  // allowed error of an implementation, in units of the compute type's roundoff
  bool jumps;   // discontinuous: an uncertain operand may change the result by a whole step
};
const ScalarRow& scalar_row(ScalarOp op);
/// In the order of the enum.
std::span<const ScalarRow> scalar_table();

/// Brings an exact real result into `dtype`: integers truncate and wrap to their width, bool is "not zero",
/// floats stay as they are (rounding is the bound's business).
double to_dtype_domain(DType dtype, double value);
/// One step's float64 value; integer division truncates. Not for `arg`.
double scalar_value(const ScalarStep& step, double a, double b, double c);
/// The expression's value for one element; args[i] feeds `arg` steps numbered i.
double evaluate(const ScalarExpr& expr, std::span<const double> args);
/// "mul(%0, sigmoid(%0))"; long parts come first: "t3 = ...; add(t3, %1)".
std::string to_text(const ScalarExpr& expr);
/// 1 + the largest input number that an expression reads.
int arg_count(const ScalarExpr& expr);

/// Writes expressions as code does: `ScalarBuilder b; auto x = b.arg(0, f32); b.mul(x, b.sigmoid(x)); b.take()`.
class ScalarBuilder {
 public:
  using Value = int32_t;
  Value arg(int index, DType dtype);
  Value imm(double value, DType dtype);
  Value cast(Value x, DType dtype);
  Value apply(ScalarOp op, Value a);           // dtype of a (bool for predicates)
  Value apply(ScalarOp op, Value a, Value b);  // same dtype on both sides (checked)
  Value select(Value condition, Value b, Value c);
  DType dtype(Value x) const { return steps_[x].dtype; }
  /// Splices `expr` in, its args bound to `args`.
  Value inline_expr(const ScalarExpr& expr, const std::vector<Value>& args);
  /// The value named by the latest call is the expression's; steps it does not need are dropped.
  ScalarExpr take() { return take(latest_); }
  ScalarExpr take(Value root);

 private:
  Value push(ScalarStep step);  // folds constants, reuses equal steps
  bool is_imm(Value x, double value) const;
  ScalarExpr steps_;
  Value latest_ = -1;
};

}  // namespace kw::graph
