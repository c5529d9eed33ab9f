#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "graph/interpret/evaluators.h"

namespace kw::graph::interpreter {
namespace {

constexpr int64_t block_size = 256;

/// Operands of one element: values and bounds.
struct Operands {
  double v[3] = {0, 0, 0};
  double b[3] = {0, 0, 0};
};

/// A result that is NaN or infinite is certain when every corner of the operand intervals gives the same.
double special_bound(const ScalarStep& step, const Operands& x, double result) {
  const double inf = std::numeric_limits<double>::infinity();
  for (double b : x.b) {
    if (std::isinf(b)) return inf;
  }
  for (int corner = 0; corner < 8; ++corner) {
    double at[3];
    for (int i = 0; i < 3; ++i) at[i] = x.v[i] + ((corner >> i & 1) != 0 ? x.b[i] : -x.b[i]);
    const double other = scalar_value(step, at[0], at[1], at[2]);
    if (!(other == result || (std::isnan(other) && std::isnan(result)))) return inf;
  }
  return 0;
}

/// A cast's bound: a step at integers, a rounding where the narrower float does not hold the value.
double cast_bound(const ScalarStep& step, DType from, const Operands& x, double result) {
  if (is_float(step.dtype)) {
    const bool narrows = unit_roundoff(step.dtype) > unit_roundoff(from) || !is_float(from);
    const bool held = !narrows || (x.b[0] == 0 && static_cast<double>(static_cast<float>(result)) == result &&
                                   step.dtype != DType::f16 && step.dtype != DType::bf16);
    return x.b[0] + (held ? 0 : unit_roundoff(step.dtype) * std::fabs(result));
  }
  if (x.b[0] == 0 || !is_float(from)) return x.b[0];
  const double lo = to_dtype_domain(step.dtype, x.v[0] - x.b[0]);
  const double hi = to_dtype_domain(step.dtype, x.v[0] + x.b[0]);
  if (step.dtype == DType::boolean) return std::fabs(x.v[0]) <= x.b[0] ? 1 : 0;
  return std::max(std::fabs(lo - result), std::fabs(hi - result));
}

/// What a step of an expression needs to know to be evaluated over a block.
struct Step {
  const ScalarStep* step;
  const ScalarRow* row;
  DType from;       // dtype of the first operand
  double roundoff;  // ulps * u of this step
  Limits limits;
};

/// The arithmetic dtype of f16 and bf16 expressions is f32: storage rounds once, at the node.
DType compute_dtype(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16 ? DType::f32 : dtype; }

std::vector<Step> plan_steps(const Context& context, const ScalarExpr& expr) {
  std::vector<Step> steps;
  for (const ScalarStep& step : expr) {
    const ScalarRow& row = scalar_row(step.op);
    const DType from = row.arity > 0 ? expr[static_cast<size_t>(step.a)].dtype : step.dtype;
    Limits limits = limits_of(compute_dtype(step.dtype));
    if (step.op == ScalarOp::cast) limits = limits_of(step.dtype);
    steps.push_back({&step, &row, from, row.ulps * context.roundoff(step.dtype), limits});
  }
  return steps;
}

double bound_of(const Step& s, const Operands& x, double result, int64_t& straddled) {
  if (!std::isfinite(result)) return special_bound(*s.step, x, result);
  if (s.step->op == ScalarOp::cast) return cast_bound(*s.step, s.from, x, result);
  const double bound = s.row->bound(x.v, x.b, result);
  if (s.row->jumps && bound > 0 && s.step->op != ScalarOp::select) ++straddled;
  return bound + s.roundoff * std::fabs(result);
}

/// Evaluates one expression block by block; `lanes` hold each step's values and bounds.
class BlockEvaluator {
 public:
  BlockEvaluator(const std::vector<Step>& steps, const std::vector<Reader>& readers, bool with_bound)
      : steps_(steps),
        readers_(readers),
        with_bound_(with_bound),
        lanes_(steps.size() * 2 * block_size),
        values_(steps.size()),
        bounds_(steps.size()) {}

  void run(int64_t begin, int64_t count) {
    for (size_t i = 0; i < steps_.size(); ++i) {
      double* v = &lanes_[2 * i * block_size];
      double* b = v + block_size;
      values_[i] = v;
      bounds_[i] = b;
      const ScalarStep& step = *steps_[i].step;
      if (step.op == ScalarOp::arg) {
        load(readers_[static_cast<size_t>(step.a)], i, begin, count);
      } else if (step.op == ScalarOp::imm) {
        const bool held = step.dtype == DType::f64 || static_cast<double>(static_cast<float>(step.imm)) == step.imm;
        std::fill(v, v + count, step.imm);
        std::fill(b, b + count, held || !is_float(step.dtype) ? 0 : 0x1p-24 * std::fabs(step.imm));
      } else {
        compute(i, count, v, b);
      }
    }
  }
  const double* values() const { return values_.back(); }
  const double* bounds() const { return bounds_.back(); }
  int64_t straddled() const { return straddled_; }

 private:
  void load(const Reader& reader, size_t i, int64_t begin, int64_t count) {
    double* v = &lanes_[2 * i * block_size];
    double* b = v + block_size;
    values_[i] = reader.values(begin, count, v);
    if (with_bound_) bounds_[i] = reader.bounds(begin, count, b);
  }

  void compute(size_t i, int64_t count, double* v, double* b) {
    const Step& s = steps_[i];
    const int32_t from[] = {s.step->a, s.step->b, s.step->c};
    const double* ov[3] = {nullptr, nullptr, nullptr};
    const double* ob[3] = {nullptr, nullptr, nullptr};
    for (int k = 0; k < s.row->arity; ++k) {
      ov[k] = values_[static_cast<size_t>(from[k])];
      ob[k] = bounds_[static_cast<size_t>(from[k])];
    }
    const bool real = is_float(s.step->dtype);
    for (int64_t j = 0; j < count; ++j) {
      Operands x;
      for (int k = 0; k < s.row->arity; ++k) x.v[k] = ov[k][j];
      v[j] = s.row->value(x.v[0], x.v[1], x.v[2]);
      if (!real) v[j] = to_dtype_domain(s.step->dtype, v[j]);
      if (!with_bound_) continue;
      for (int k = 0; k < s.row->arity; ++k) x.b[k] = ob[k][j];
      b[j] = bound_of(s, x, v[j], straddled_);
      settle(v[j], b[j], s.limits);
    }
  }

  const std::vector<Step>& steps_;
  const std::vector<Reader>& readers_;
  bool with_bound_;
  std::vector<double> lanes_;
  std::vector<const double*> values_, bounds_;
  int64_t straddled_ = 0;
};

Result<Value> eval_expression(Context& context, const Node& node, const ScalarExpr& expr, std::span<const Value> in) {
  const bool with_bound = context.options.bounds;
  auto made = make_value(context, node.dtype, node.shape, with_bound);
  if (!made) return made;
  const std::vector<Step> steps = plan_steps(context, expr);
  const std::vector<Reader> readers(in.begin(), in.end());
  const Limits storage = limits_of(node.dtype);
  double* value = made->buffer->value.get();
  double* bound = made->buffer->bound.get();
  context.parallel(made->count(), 32 * block_size, [&](int64_t begin, int64_t end) {
    BlockEvaluator block(steps, readers, with_bound);
    for (int64_t at = begin; at < end; at += block_size) {
      const int64_t count = std::min(block_size, end - at);
      block.run(at, count);
      for (int64_t j = 0; j < count; ++j) {
        value[at + j] = block.values()[j];
        if (!with_bound) continue;
        bound[at + j] = block.bounds()[j];
        if (storage.storage_roundoff > 0) store(value[at + j], bound[at + j], storage);
      }
    }
    context.straddled += block.straddled();
  });
  return made;
}

}  // namespace

void store(double& value, double& bound, const Limits& limits) {
  if (std::isfinite(value)) bound += limits.storage_roundoff * std::fabs(value);
  settle(value, bound, limits);
}

Result<Value> eval_map(Context& context, const Node& node, std::span<const Value> in) {
  return eval_expression(context, node, node.as<MapAttr>().expr, in);
}

/// Values are not rounded by a cast to a narrower float: an implementation may keep more digits, so the rounding
/// goes into the bound.
Result<Value> eval_cast(Context& context, const Node& node, std::span<const Value> in) {
  const ScalarExpr expr = {{ScalarOp::arg, in[0].dtype, 0}, {ScalarOp::cast, node.dtype, 0}};
  return eval_expression(context, node, expr, in);
}

}  // namespace kw::graph::interpreter
