#include <algorithm>

#include "graph/aten/call.h"

/// Batch, layer, group, instance and RMS normalisation: two-pass moments, then one Map.
namespace kw::graph::aten {

namespace {

/// Shapes a per-channel vector to broadcast along axis 1 of a tensor with `rank` axes.
NodeId per_channel(Call& c, NodeId v, int rank) {
  Shape to(static_cast<size_t>(rank), 1);
  to[1] = element_count(c.shape(v));
  return c.reshape(v, to);
}

NodeId reciprocal_deviation(Call& c, NodeId variance, double eps) {
  return c.map(variance, [&](E v) { return rsqrt(v + eps); });
}

/// Scale and shift where present; both already broadcastable.
NodeId affine(Call& c, NodeId x, std::optional<NodeId> weight, std::optional<NodeId> bias) {
  if (weight) x = c.mul(x, *weight);
  return bias ? c.add(x, *bias) : x;
}

struct Normalised {
  NodeId y, mean, rstd;  // moments keep their axes
};

Normalised normalised(Call& c, NodeId x, const Axes& axes, double eps) {
  const NodeId mean = c.mean(x, axes, true);
  const NodeId centred = c.sub(x, mean);
  const NodeId rstd = reciprocal_deviation(c, c.mean(c.square(centred), axes, true), eps);
  return {c.mul(centred, rstd), mean, rstd};
}

Axes all_but_channel(int rank) {
  Axes axes = all_axes(static_cast<size_t>(rank));
  axes.erase(axes.begin() + 1);
  return axes;
}

struct Statistics {
  NodeId mean, variance;  // [C]
};

Statistics batch_statistics(Call& c, NodeId x) {
  const Axes axes = all_but_channel(c.rank(x));
  return {c.mean(x, axes), c.variance(x, axes, 0)};
}

NodeId apply_statistics(Call& c, NodeId x, const Statistics& s, double eps) {
  const int n = c.rank(x);
  const NodeId centred = c.sub(x, per_channel(c, s.mean, n));
  const NodeId y = c.mul(centred, per_channel(c, reciprocal_deviation(c, s.variance, eps), n));
  std::optional<NodeId> weight = c.maybe_x("weight"), bias = c.maybe_x("bias");
  if (weight) weight = per_channel(c, *weight, n);
  if (bias) bias = per_channel(c, *bias, n);
  return affine(c, y, weight, bias);
}

/// (1 - m) * running + m * new, in the buffer's own type.
NodeId blended(Call& c, NodeId running, NodeId fresh, double momentum) {
  return c.map(running, c.cast(fresh, c.dtype(running)),
               [&](E old, E now) { return old * (1 - momentum) + now * momentum; });
}

/// PyTorch keeps the unbiased variance of `count` values in its buffer.
Statistics updated(Call& c, const Statistics& batch, double count) {
  const double momentum = c.number("momentum", 0.1);
  return {blended(c, c.tensor("running_mean"), batch.mean, momentum),
          blended(c, c.tensor("running_var"), c.scaled(batch.variance, count / (count - 1)), momentum)};
}

double values_per_channel(Call& c, NodeId x) {
  return static_cast<double>(element_count(c.shape(x))) / static_cast<double>(c.size(x, 1));
}

Values batch_norm_eval(Call& c) {
  const NodeId x = c.x("input");
  const Statistics s{c.x("running_mean"), c.x("running_var")};
  const NodeId empty = c.full(0, c.compute(), {0});
  return {apply_statistics(c, x, s, c.number("eps", 1e-5)), empty, empty};
}

/// Outputs: y, the batch's mean and reciprocal deviation, the new running mean and variance.
Values batch_norm_functional(Call& c) {
  if (!c.flag("training", false)) {
    Values eval = batch_norm_eval(c);
    eval.push_back(c.tensor("running_mean"));
    eval.push_back(c.tensor("running_var"));
    return eval;
  }
  const NodeId x = c.x("input");
  const double eps = c.number("eps", 1e-5);
  const Statistics s = batch_statistics(c, x);
  const Statistics next = updated(c, s, values_per_channel(c, x));
  return {apply_statistics(c, x, s, eps), s.mean, reciprocal_deviation(c, s.variance, eps), next.mean, next.variance};
}

Values batch_norm_no_stats(Call& c) {
  const NodeId x = c.x("input");
  const double eps = c.number("eps", 1e-5);
  const Statistics s = batch_statistics(c, x);
  return {apply_statistics(c, x, s, eps), s.mean, reciprocal_deviation(c, s.variance, eps)};
}

/// The composite op: without running statistics, or in eval mode, it writes no buffer.
Values batch_norm(Call& c) {
  const bool training = c.flag("training", false) || c.flag("train", false);
  if (training && c.has("running_mean")) {
    c.refuse("import.mutation", "updates running statistics in place", "export with run_decompositions({})");
  }
  return training ? batch_norm_no_stats(c)[0] : batch_norm_eval(c)[0];
}

/// The buffers hold the mean over the batch of each instance's statistics.
void write_instance_statistics(Call& c, NodeId x, const Axes& axes) {
  const Statistics s{c.mean(c.mean(x, axes), {0}), c.mean(c.variance(x, axes, 0), {0})};
  const Statistics next = updated(c, s, values_per_channel(c, x) / static_cast<double>(c.size(x, 0)));
  c.write_buffer("running_mean", next.mean);
  c.write_buffer("running_var", next.variance);
}

Values instance_norm(Call& c) {
  const NodeId x = c.x("input");
  const double eps = c.number("eps", 1e-5);
  if (!c.flag("use_input_stats", true)) return apply_statistics(c, x, {c.x("running_mean"), c.x("running_var")}, eps);
  Axes axes = all_axes(c.shape(x).size());
  axes.erase(axes.begin(), axes.begin() + 2);
  if (c.has("running_mean")) write_instance_statistics(c, x, axes);
  std::optional<NodeId> weight = c.maybe_x("weight"), bias = c.maybe_x("bias");
  if (weight) weight = per_channel(c, *weight, c.rank(x));
  if (bias) bias = per_channel(c, *bias, c.rank(x));
  return affine(c, normalised(c, x, axes, eps).y, weight, bias);
}

Axes last_axes(Call& c, NodeId x, size_t count) {
  if (count > c.shape(x).size()) c.refuse_argument("normalises more axes than there are");
  Axes axes = all_axes(c.shape(x).size());
  axes.erase(axes.begin(), axes.end() - static_cast<std::ptrdiff_t>(count));
  return axes;
}

Values layer_norm(Call& c) {
  const NodeId x = c.x("input");
  const Axes axes = last_axes(c, x, c.ints("normalized_shape").size());
  const Normalised n = normalised(c, x, axes, c.number("eps", 1e-5));
  return {affine(c, n.y, c.maybe_x("weight"), c.maybe_x("bias")), n.mean, n.rstd};
}

Values rms_norm(Call& c) {
  const NodeId x = c.x("input");
  const Axes axes = last_axes(c, x, c.ints("normalized_shape").size());
  const double eps = c.number("eps", c.compute() == DType::f64 ? 0x1p-52 : 0x1p-23);
  const NodeId scale = reciprocal_deviation(c, c.mean(c.square(x), axes, true), eps);
  return {affine(c, c.mul(x, scale), c.maybe_x("weight"), std::nullopt), scale};
}

Values group_norm(Call& c, const char* groups_name) {
  const NodeId x = c.x("input");
  const int64_t groups = c.integer(groups_name);
  if (groups < 1 || c.size(x, 1) % groups != 0) c.refuse_argument("has channels that its groups do not divide");
  Shape split = c.shape(x);
  split[1] /= groups;
  split.insert(split.begin() + 1, groups);
  Axes axes = all_axes(split.size());
  axes.erase(axes.begin(), axes.begin() + 2);
  const Normalised n = normalised(c, c.reshape(x, split), axes, c.number("eps", 1e-5));
  std::optional<NodeId> weight = c.maybe_x("weight"), bias = c.maybe_x("bias");
  if (weight) weight = per_channel(c, *weight, c.rank(x));
  if (bias) bias = per_channel(c, *bias, c.rank(x));
  const Shape moments{c.size(x, 0), groups};
  return {affine(c, c.reshape(n.y, c.shape(x)), weight, bias), c.reshape(n.mean, moments), c.reshape(n.rstd, moments)};
}

/// weight_norm: v * g / ||v||, the norm over all axes but `dim`.
Values weight_norm(Call& c) {
  const NodeId v = c.x("v");
  Axes axes = all_axes(c.shape(v).size());
  const int64_t dim = c.integer("dim", 0);
  if (dim >= 0) axes.erase(axes.begin() + c.axis(dim, c.rank(v)));
  const NodeId length = c.norm(v, 2, axes, true);
  return {c.mul(v, c.div(c.x("g"), length)), length};
}

}  // namespace

Rows normalisation_rows() {
  return {
      {"_native_batch_norm_legit_functional", batch_norm_functional},
      {"_native_batch_norm_legit_no_training", batch_norm_eval},
      {"_native_batch_norm_legit.no_stats", batch_norm_no_stats},
      {"batch_norm", batch_norm},
      {"instance_norm", instance_norm},
      {"layer_norm native_layer_norm", layer_norm},
      {"rms_norm _fused_rms_norm", rms_norm},
      {"group_norm", [](Call& c) { return group_norm(c, "num_groups"); }},
      {"native_group_norm", [](Call& c) { return group_norm(c, "group"); }},
      {"_weight_norm _weight_norm_interface", weight_norm},
  };
}

}  // namespace kw::graph::aten
