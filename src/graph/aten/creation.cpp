#include <cmath>
#include <numbers>

#include "graph/aten/call.h"

/// New tensors, conversions and copies; and the random ops, which are refused by name.
namespace kw::graph::aten {

namespace {

Values filled(Call& c, double value) { return c.full(value, c.out().dtype, c.out().shape); }

/// The recorded dtype is the truth for every conversion.
Values converted(Call& c, const char* name) { return c.cast(c.tensor(name), c.out().dtype); }

Values fill_with(Call& c) {
  const NodeId value = c.node_of(c.operand("value"), c.out().dtype);
  return c.expand(value, c.out().shape);
}

Values arange(Call& c) {
  const double start = c.number("start", 0), step = c.number("step", 1);
  const DType type = c.out().dtype;
  const bool whole = !is_float(type);
  return c.map(c.g.iota(c.out().shape[0]), [&](E i) {
    const E k = whole ? i : i.to(compute_type(type));
    const E scaled = step == 1 ? k : k * step;
    return (start == 0 ? scaled : scaled + start).to(type);
  });
}

/// From both ends, as ATen computes it: exact at both.
NodeId spaced(Call& c) {
  const double start = c.number("start"), end = c.number("end");
  const int64_t steps = c.out().shape[0];
  const double step = steps > 1 ? (end - start) / static_cast<double>(steps - 1) : 0;
  const int64_t middle = steps / 2;
  const auto half = static_cast<double>(middle), last = static_cast<double>(steps - 1);
  return c.map(c.g.iota(steps), [&](E i) {
    const E k = i.to(DType::f64);
    return select(i < half, k * step + start, end - (last - k) * step);
  });
}

Values linspace(Call& c) { return c.cast(spaced(c), c.out().dtype); }

Values logspace(Call& c) {
  const double base = c.number("base", 10);
  return c.cast(c.map(spaced(c), [&](E e) { return power(base, e); }), c.out().dtype);
}

Values eye(Call& c) {
  const Shape& s = c.out().shape;
  return c.eye(s[0], s[1], 0, c.out().dtype);
}

/// Coefficients of the cosine windows: w[i] = a - (1 - a) cos(2 pi i / n).
Values cosine_window(Call& c, double a) {
  const int64_t n = c.out().shape[0];
  const DType compute = c.compute();
  const bool periodic = c.flag("periodic", true);
  const double angle = 2 * std::numbers::pi / static_cast<double>(std::max<int64_t>(1, periodic ? n : n - 1));
  const NodeId w = c.map(c.g.iota(n), [&](E i) { return a - (1 - a) * apply(ScalarOp::cos, i.to(compute) * angle); });
  return c.cast(n == 1 ? c.full(1, compute, {1}) : w, c.out().dtype);
}

/// [2, count] row and column of every element on one side of a diagonal, in row order.
Values triangle_indices(Call& c, bool lower) {
  const int64_t rows = c.integer("row"), columns = c.integer("col"), offset = c.integer("offset", 0);
  const int64_t cells = rows * columns, count = c.out().shape[1];
  const auto width = static_cast<double>(std::max<int64_t>(1, columns)), shift = static_cast<double>(offset);
  const NodeId outside = c.map(c.g.iota(cells), [&](E i) {
    const E row = floor_div(i, width), column = aten::remainder(i, width);
    return (lower ? column > row + shift : column < row + shift).to(DType::i64);
  });
  // A stable sort by "outside" brings the wanted cells first, in order.
  const NodeId chosen = c.g.sort(outside, 0, count, false);
  const NodeId row = c.map(chosen, [&](E i) { return floor_div(i, width); });
  const NodeId column = c.map(chosen, [&](E i) { return aten::remainder(i, width); });
  return c.cat({c.unsqueeze(row, 0), c.unsqueeze(column, 0)}, 0);
}

Values dropout(Call& c, const char* flag_name) {
  const double p = c.number("p", 0.5);
  if (c.flag(flag_name, false) && p > 0) c.refuse_random("dropout in train mode");
  const NodeId x = c.tensor("input");
  return {x, c.full(1, DType::boolean, c.shape(x))};
}

Expand refused(const char* why) {
  return [why](Call& c) -> Values { c.refuse_random(why); };
}

}  // namespace

Rows creation_rows() {
  return {
      {"zeros zeros_like new_zeros empty.memory_format empty_like new_empty empty_strided new_empty_strided "
       "empty_permuted zero",
       [](Call& c) { return filled(c, 0); }},
      {"ones ones_like new_ones", [](Call& c) { return filled(c, 1); }},
      {"full full_like new_full", [](Call& c) { return filled(c, c.number("fill_value")); }},
      {"scalar_tensor", [](Call& c) { return filled(c, c.number("s")); }},
      {"fill.Scalar fill.Tensor", fill_with},
      {"copy", [](Call& c) { return c.expand(c.cast(c.tensor("src"), c.out().dtype), c.out().shape); }},
      {"clone _to_copy to.dtype to.dtype_layout to.device to.other type_as _cast_Float _cast_Double _cast_Long "
       "_cast_Int prims_convert",
       [](Call& c) { return converted(c, "self"); }},
      {"arange arange.start arange.start_step", arange},
      {"linspace", linspace},
      {"logspace", logspace},
      {"eye eye.m", eye},
      {"hann_window hann_window.periodic", [](Call& c) { return cosine_window(c, 0.5); }},
      {"hamming_window hamming_window.periodic", [](Call& c) { return cosine_window(c, 0.54); }},
      {"tril_indices", [](Call& c) { return triangle_indices(c, true); }},
      {"triu_indices", [](Call& c) { return triangle_indices(c, false); }},
  };
}

Rows random_rows() {
  return {
      {"dropout alpha_dropout feature_dropout feature_alpha_dropout",
       [](Call& c) { return Values{dropout(c, "train")[0]}; }},
      {"native_dropout", [](Call& c) { return dropout(c, "train"); }},
      {"rand rand_like", refused("torch.rand")},
      {"randn randn_like normal.Tensor_float normal.Tensor_Tensor normal.float_Tensor normal.float_float "
       "normal_functional",
       refused("torch.randn")},
      {"randint randint.low randint_like randint_like.low_dtype randperm multinomial", refused("random integers")},
      {"bernoulli bernoulli.p bernoulli.Tensor", refused("torch.bernoulli")},
      {"uniform exponential geometric cauchy log_normal random random.from random.to", refused("a random fill")},
      {"rrelu_with_noise rrelu_with_noise_functional", refused("rrelu in train mode")},
      {"fractional_max_pool2d fractional_max_pool3d", refused("fractional max pooling")},
      {"poisson binomial", refused("a random distribution")},
  };
}

}  // namespace kw::graph::aten
