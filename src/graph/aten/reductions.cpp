#include <algorithm>
#include <limits>

#include "graph/aten/call.h"

/// Reductions over axes, and scans along one.
namespace kw::graph::aten {

namespace {

/// Sums, products and their kin work in the output's type (integers widen to i64).
Values reduced(Call& c, ReduceOp op) {
  const NodeId x = c.x("self");
  return c.reduce(op, x, c.reduce_axes("dim", c.rank(x)), c.flag("keepdim", false));
}

Values mean(Call& c) {
  const NodeId x = c.x("self");
  return c.mean(x, c.reduce_axes("dim", c.rank(x)), c.flag("keepdim", false));
}

/// prod.dim_int and friends name one axis.
Axes one_axis(Call& c, NodeId x) {
  if (!c.has("dim")) return all_axes(c.shape(x).size());
  return c.axes(c.ints("dim"), c.rank(x));
}

NodeId arg_reduce(Call& c, ReduceOp op, NodeId x, const Axes& axes, bool keepdim) {
  if (axes.empty()) return c.full(0, DType::i64, c.shape(x));
  if (axes.size() == 1) return c.reduce(op, x, axes, keepdim);
  const NodeId index = c.reduce(op, c.reshape(x, {element_count(c.shape(x))}), {0});
  return c.reshape(index, reduced_shape(c.shape(x), axes, keepdim));
}

/// PyTorch also calls NaN the extreme; the reduction's own NaN answer keeps values and indices consistent.
Values extreme(Call& c, ReduceOp op, ReduceOp arg) {
  const NodeId x = c.tensor("self");
  const Axes axes = one_axis(c, x);
  const bool keepdim = c.flag("keepdim", false);
  if (!c.has("dim")) return c.reduce(op, x, axes, keepdim);
  return {c.reduce(op, x, axes, keepdim), arg_reduce(c, arg, x, axes, keepdim)};
}

Values amax(Call& c, ReduceOp op) {
  const NodeId x = c.tensor("self");
  return c.reduce(op, x, c.reduce_axes("dim", c.rank(x)), c.flag("keepdim", false));
}

Values aminmax(Call& c) {
  const NodeId x = c.tensor("self");
  const Axes axes = one_axis(c, x);
  const bool keepdim = c.flag("keepdim", false);
  return {c.reduce(ReduceOp::min, x, axes, keepdim), c.reduce(ReduceOp::max, x, axes, keepdim)};
}

Values arg(Call& c, ReduceOp op) {
  const NodeId x = c.tensor("self");
  return arg_reduce(c, op, x, one_axis(c, x), c.flag("keepdim", false));
}

struct Moments {
  NodeId variance, mean;
};

Moments moments(Call& c) {
  const NodeId x = c.x("self");
  const Axes axes = c.reduce_axes("dim", c.rank(x));
  const double correction = c.has("unbiased") ? c.number("unbiased") : c.number("correction", 1);
  const bool keepdim = c.flag("keepdim", false);
  return {c.variance(x, axes, correction, keepdim), c.mean(x, axes, keepdim)};
}

NodeId root(Call& c, NodeId x) { return c.unary(ScalarOp::sqrt, x); }

Values norm(Call& c, const char* order) {
  const NodeId x = c.x("self");
  return c.norm(x, c.number(order, 2), c.reduce_axes("dim", c.rank(x)), c.flag("keepdim", false));
}

Values matrix_norm(Call& c) {
  if (c.text("ord", "fro") != "fro") c.refuse_argument("supports only the Frobenius norm");
  const NodeId x = c.x("self");
  return c.norm(x, 2, c.axes(c.ints("dim", {-2, -1}), c.rank(x)), c.flag("keepdim", false));
}

Values dist(Call& c) {
  const NodeId x = c.sub(c.x("self"), c.x("other"));
  return c.norm(x, c.number("p", 2), all_axes(c.shape(x).size()));
}

/// any = max and all = min over 0 and 1.
Values quantified(Call& c, ReduceOp op) {
  const NodeId x = c.tensor("self");
  const NodeId truth = c.dtype(x) == DType::boolean ? x : c.map(x, [](E v) { return v != 0.0; });
  const NodeId found = c.reduce(op, truth, c.reduce_axes("dim", c.rank(x)), c.flag("keepdim", false));
  return c.cast(found, DType::boolean);
}

Values count_nonzero(Call& c) {
  const NodeId x = c.tensor("self");
  const NodeId ones = c.map(x, [](E v) { return (v != 0.0).to(DType::i64); });
  return c.sum(ones, c.reduce_axes("dim", c.rank(x)));
}

Values nan_sum(Call& c, bool divide) {
  const NodeId x = c.x("self");
  const Axes axes = c.reduce_axes("dim", c.rank(x));
  const bool keepdim = c.flag("keepdim", false);
  const NodeId total = c.sum(c.map(x, [](E v) { return select(is_nan(v), 0.0, v); }), axes, keepdim);
  if (!divide) return total;
  const NodeId present = c.map(x, [](E v) { return (!is_nan(v)).to(v.dtype()); });
  return c.div(total, c.sum(present, axes, keepdim));
}

Values trace(Call& c) {
  const NodeId x = c.x("self");
  return c.sum(c.mul(x, c.eye(c.size(x, 0), c.size(x, 1), 0, c.dtype(x))), {0, 1});
}

Values logsumexp(Call& c) {
  const NodeId x = c.x("self");
  return c.logsumexp(x, c.reduce_axes("dim", c.rank(x)), c.flag("keepdim", false));
}

// --- scans

int scan_axis(Call& c, NodeId x) { return c.axis(c.integer("dim"), c.rank(x)); }

Values scanned(Call& c, ScanOp op) {
  const NodeId x = c.x("self");
  return c.rank(x) == 0 ? x : c.g.scan(op, x, scan_axis(c, x));
}

/// Running extreme and the last place it was reached at.
Values running(Call& c, ScanOp op) {
  const NodeId x = c.tensor("self");
  if (c.rank(x) == 0) return {x, c.full(0, DType::i64, {})};
  const int axis = scan_axis(c, x);
  const NodeId best = c.g.scan(op, x, axis);
  const NodeId place = c.index_along(c.size(x, axis), axis, c.rank(x));
  const NodeId record = c.map(x, best, place, [](E v, E b, E i) { return select(v == b, i, i.literal(0)); });
  return {best, c.g.scan(ScanOp::max, record, axis)};
}

/// log(exp(carry) + exp(x)), turn by turn: no pivot serves a whole axis.
Values log_cumsum_exp(Call& c) {
  const NodeId x = c.x("self");
  if (c.rank(x) == 0) return x;
  const int axis = scan_axis(c, x);
  const NodeId rows = c.move_axis(x, axis, 0);
  Shape one = c.shape(rows);
  one.erase(one.begin());
  GraphBuilder body;
  Algebra turn(body);
  const NodeId carry = body.input(c.dtype(x), one, "carry");
  const NodeId next = turn.map(carry, body.input(c.dtype(x), one, "x"), [](E a, E b) {
    const E top = maximum(a, b);
    return select(is_inf(top), top, top + log1p(exp(-absolute(a - b))));
  });
  body.output(next);
  body.output(next);
  RecurAttr loop;
  loop.body = std::make_shared<const Graph>(body.take());
  loop.steps = c.size(x, axis);
  loop.n_carry = loop.n_seq = 1;
  const NodeId start = c.full(-std::numeric_limits<double>::infinity(), c.dtype(x), one);
  return c.move_axis(c.g.item(c.g.recur(loop, {start, rows}), 1), 0, axis);
}

}  // namespace

Rows reduction_rows() {
  return {
      {"sum sum.dim_IntList", [](Call& c) { return reduced(c, ReduceOp::sum); }},
      {"prod prod.dim_int", [](Call& c) { return reduced(c, ReduceOp::prod); }},
      {"mean mean.dim", mean},
      {"max max.dim", [](Call& c) { return extreme(c, ReduceOp::max, ReduceOp::argmax); }},
      {"min min.dim", [](Call& c) { return extreme(c, ReduceOp::min, ReduceOp::argmin); }},
      {"amax", [](Call& c) { return amax(c, ReduceOp::max); }},
      {"amin", [](Call& c) { return amax(c, ReduceOp::min); }},
      {"aminmax", aminmax},
      {"argmax", [](Call& c) { return arg(c, ReduceOp::argmax); }},
      {"argmin", [](Call& c) { return arg(c, ReduceOp::argmin); }},
      {"var var.dim var.correction", [](Call& c) { return moments(c).variance; }},
      {"std std.dim std.correction", [](Call& c) { return root(c, moments(c).variance); }},
      {"var_mean var_mean.dim var_mean.correction",
       [](Call& c) {
         const Moments m = moments(c);
         return Values{m.variance, m.mean};
       }},
      {"std_mean std_mean.dim std_mean.correction",
       [](Call& c) {
         const Moments m = moments(c);
         return Values{root(c, m.variance), m.mean};
       }},
      {"norm.Scalar norm.ScalarOpt_dim norm.ScalarOpt_dtype norm.ScalarOpt_dim_dtype",
       [](Call& c) { return norm(c, "p"); }},
      {"linalg_vector_norm linalg_norm", [](Call& c) { return norm(c, "ord"); }},
      {"linalg_matrix_norm.str_ord", matrix_norm},
      {"dist", dist},
      {"any any.dim any.dims", [](Call& c) { return quantified(c, ReduceOp::max); }},
      {"all all.dim all.dims", [](Call& c) { return quantified(c, ReduceOp::min); }},
      {"count_nonzero count_nonzero.dim_IntList", count_nonzero},
      {"nansum", [](Call& c) { return nan_sum(c, false); }},
      {"nanmean", [](Call& c) { return nan_sum(c, true); }},
      {"trace", trace},
      {"logsumexp special_logsumexp", logsumexp},
  };
}

Rows scan_rows() {
  return {
      {"cumsum", [](Call& c) { return scanned(c, ScanOp::sum); }},
      {"cumprod", [](Call& c) { return scanned(c, ScanOp::prod); }},
      {"cummax", [](Call& c) { return running(c, ScanOp::max); }},
      {"cummin", [](Call& c) { return running(c, ScanOp::min); }},
      {"logcumsumexp _logcumsumexp", log_cumsum_exp},
  };
}

}  // namespace kw::graph::aten
