#include <cmath>
#include <numbers>

#include "graph/aten/call.h"

/// Losses. ATen's reduction codes: 0 none, 1 mean, 2 sum.
namespace kw::graph::aten {

namespace {

NodeId reduced(Call& c, NodeId each) {
  const Axes axes = all_axes(c.shape(each).size());
  switch (c.integer("reduction", 1)) {
    case 0:
      return each;
    case 1:
      return c.mean(each, axes);
    default:
      return c.sum(each, axes);
  }
}

/// A loss that is one expression of self and target.
Expand pairwise(E (*f)(E, E)) {
  return [f](Call& c) { return reduced(c, c.map(c.x("self"), c.x("target"), f)); };
}

/// 0.5 d^2 / beta below beta, then d - beta / 2.
E smooth(E d, double beta) { return beta == 0 ? d : select(d < beta, 0.5 * d * d / beta, d - 0.5 * beta); }

Values smooth_l1(Call& c) {
  const double beta = c.number("beta", 1);
  return reduced(c, c.map(c.x("self"), c.x("target"), [&](E x, E y) { return smooth(absolute(x - y), beta); }));
}

Values huber(Call& c) {
  const double delta = c.number("delta", 1);
  return reduced(c, c.map(c.x("self"), c.x("target"), [&](E x, E y) {
    const E d = absolute(x - y);
    return select(d <= delta, 0.5 * d * d, (d - 0.5 * delta) * delta);
  }));
}

Values kl_div(Call& c) {
  const bool logs = c.flag("log_target", false);
  return reduced(c, c.map(c.x("self"), c.x("target"), [&](E x, E t) {
    if (logs) return exp(t) * (t - x);
    return select(t == 0.0, 0.0, t * log(t)) - t * x;
  }));
}

NodeId weighted(Call& c, NodeId each, const char* name) {
  const auto weight = c.maybe_x(name);
  return weight ? c.mul(each, *weight) : each;
}

/// PyTorch clamps the logarithms at -100.
Values bce(Call& c) {
  const NodeId each = c.map(c.x("self"), c.x("target"), [](E p, E t) {
    return (t - 1.0) * maximum(log1p(-p), -100.0) - t * maximum(log(p), -100.0);
  });
  return reduced(c, weighted(c, each, "weight"));
}

/// (1 - t) x + w (log1p(exp(-|x|)) + max(-x, 0)) with w = 1 + (pos_weight - 1) t
Values bce_with_logits(Call& c) {
  const NodeId x = c.x("self"), t = c.x("target");
  const auto tail = [](E v) { return log1p(exp(-absolute(v))) + maximum(-v, 0.0); };
  const auto positive = c.maybe_x("pos_weight");
  const NodeId each =
      positive ? c.map(x, t, *positive, [&](E v, E y, E p) { return (1.0 - y) * v + ((p - 1.0) * y + 1.0) * tail(v); })
               : c.map(x, t, [&](E v, E y) { return (1.0 - y) * v + tail(v); });
  return reduced(c, weighted(c, each, "weight"));
}

/// Class log-probabilities [N, C, d...] against indices [N, d...]; per-element weights come along for the mean.
struct Picked {
  NodeId loss, weight;
};

Picked pick(Call& c, NodeId logp, NodeId target, int axis, std::optional<NodeId> class_weight) {
  const auto ignored = static_cast<double>(c.integer("ignore_index", -100));
  target = c.cast(target, DType::i64);
  const NodeId safe = c.map(target, [&](E t) { return select(t == ignored, 0.0, t); });
  const NodeId at = c.squeeze(c.take_along(logp, axis, c.unsqueeze(safe, axis)), axis);
  NodeId weight = c.map(target, [&](E t) { return (t != ignored).to(c.dtype(logp)); });
  if (class_weight) weight = c.mul(weight, c.take(*class_weight, 0, safe));
  const NodeId loss = c.map(at, weight, [](E l, E w) { return select(w == 0.0, 0.0, -l * w); });
  return {loss, weight};
}

NodeId mean_by_weight(Call& c, NodeId loss, NodeId weight) {
  const Axes axes = all_axes(c.shape(loss).size());
  switch (c.integer("reduction", 1)) {
    case 0:
      return loss;
    case 1:
      return c.div(c.sum(loss, axes), c.sum(weight, axes));
    default:
      return c.sum(loss, axes);
  }
}

int class_axis(Call& c, NodeId x) { return c.rank(x) == 1 ? 0 : 1; }

Values nll_loss(Call& c) {
  const NodeId logp = c.x("self");
  const Picked p = pick(c, logp, c.tensor("target"), class_axis(c, logp), c.maybe_x("weight"));
  return {mean_by_weight(c, p.loss, p.weight), c.sum(p.weight, all_axes(c.shape(p.weight).size()))};
}

NodeId class_shaped(Call& c, NodeId weight, int axis, int rank) {
  Shape to(static_cast<size_t>(rank), 1);
  to[static_cast<size_t>(axis)] = element_count(c.shape(weight));
  return c.reshape(weight, to);
}

/// Targets given as probabilities: smoothed, then -sum(t * logp * w), averaged over the batch.
Values soft_cross_entropy(Call& c, NodeId logp, int axis, double smoothing) {
  const auto classes = static_cast<double>(c.size(logp, axis));
  const NodeId target =
      c.map(c.x("target"), [&](E t) { return smoothing > 0 ? t * (1 - smoothing) + smoothing / classes : t; });
  NodeId each = c.mul(target, logp);
  if (const auto weight = c.maybe_x("weight")) each = c.mul(each, class_shaped(c, *weight, axis, c.rank(logp)));
  const NodeId loss = c.unary(ScalarOp::neg, c.sum(each, {axis}));
  if (c.integer("reduction", 1) == 0) return loss;
  const auto count = static_cast<double>(element_count(c.shape(loss)));
  const NodeId total = c.sum(loss, all_axes(c.shape(loss).size()));
  return c.integer("reduction", 1) == 1 ? c.scaled(total, 1 / count) : total;
}

Values cross_entropy(Call& c) {
  const NodeId x = c.x("self");
  const int axis = class_axis(c, x);
  const NodeId logp = c.log_softmax(x, axis);
  const double smoothing = c.number("label_smoothing", 0);
  const NodeId target = c.tensor("target");
  if (is_float(c.dtype(target))) return soft_cross_entropy(c, logp, axis, smoothing);
  const auto weight = c.maybe_x("weight");
  const Picked p = pick(c, logp, target, axis, weight);
  const NodeId hard = mean_by_weight(c, p.loss, p.weight);
  if (smoothing == 0) return hard;
  // Smoothing mixes in the loss against every class, weighted by class and masked by ignore_index.
  const NodeId all = weight ? c.mul(logp, class_shaped(c, *weight, axis, c.rank(x))) : logp;
  const auto ignored = static_cast<double>(c.integer("ignore_index", -100));
  const NodeId spread = c.map(c.sum(all, {axis}), target, [&](E s, E t) { return select(t == ignored, 0.0, -s); });
  const NodeId uniform = mean_by_weight(c, spread, p.weight);
  const double share = smoothing / static_cast<double>(c.size(x, axis));
  return c.map(hard, uniform, [&](E h, E u) { return h * (1 - smoothing) + u * share; });
}

Values hinge_embedding(Call& c) {
  const double margin = c.number("margin", 1);
  return reduced(c, c.map(c.x("self"), c.x("target"), [&](E x, E t) {
    return select(t == 1.0, x, 0.0) + select(t == -1.0, maximum(margin - x, 0.0), 0.0);
  }));
}

Values margin_ranking(Call& c) {
  const double margin = c.number("margin", 0);
  return reduced(c, c.map(c.x("input1"), c.x("input2"), c.x("target"),
                          [&](E a, E b, E t) { return maximum(-t * (a - b) + margin, 0.0); }));
}

/// || x - y + eps ||_p over the last axis.
NodeId distance(Call& c, NodeId x, NodeId y, double p, double eps, bool keepdim = false) {
  const NodeId gap = c.map(x, y, [&](E a, E b) { return a - b + eps; });
  return c.norm(gap, p, {c.rank(gap) - 1}, keepdim);
}

Values pairwise_distance(Call& c) {
  return distance(c, c.x("x1"), c.x("x2"), c.number("p", 2), c.number("eps", 1e-6), c.flag("keepdim", false));
}

Values triplet_margin(Call& c) {
  const double p = c.number("p", 2), eps = c.number("eps", 1e-6), margin = c.number("margin", 1);
  const NodeId anchor = c.x("anchor"), positive = c.x("positive"), negative = c.x("negative");
  const NodeId near = distance(c, anchor, positive, p, eps);
  NodeId far = distance(c, anchor, negative, p, eps);
  if (c.flag("swap", false)) far = c.g.map2(ScalarOp::min, far, distance(c, positive, negative, p, eps));
  return reduced(c, c.map(near, far, [&](E a, E b) { return maximum(a - b + margin, 0.0); }));
}

/// PyTorch clamps each norm at eps before the quotient.
Values cosine_similarity(Call& c) {
  NodeId x = c.x("x1"), y = c.x("x2");
  const auto wide = broadcast_shapes({c.shape(x), c.shape(y)});
  if (!wide) c.refuse_argument("compares shapes that do not broadcast");
  x = c.expand(x, *wide), y = c.expand(y, *wide);
  const int axis = c.axis(c.integer("dim", 1), c.rank(x));
  const double eps = c.number("eps", 1e-8);
  return c.map(c.sum(c.mul(x, y), {axis}), c.norm(x, 2, {axis}), c.norm(y, 2, {axis}),
               [&](E dot, E a, E b) { return dot / (maximum(a, eps) * maximum(b, eps)); });
}

Values cosine_embedding(Call& c) {
  constexpr double epsilon = 1e-12;  // ATen's EPSILON of cosine_embedding_loss
  const NodeId x = c.x("input1"), y = c.x("input2");
  const Axes axes{c.rank(x) - 1};
  const double margin = c.number("margin", 0);
  const NodeId cosine = c.map(c.sum(c.mul(x, y), axes), c.sum(c.square(x), axes), c.sum(c.square(y), axes),
                              [&](E dot, E a, E b) { return dot / sqrt((a + epsilon) * (b + epsilon)); });
  return reduced(c, c.map(cosine, c.x("target"), [&](E s, E t) {
    return select(t == 1.0, 1.0 - s, 0.0) + select(t == -1.0, maximum(s - margin, 0.0), 0.0);
  }));
}

Values poisson_nll(Call& c) {
  const bool logs = c.flag("log_input", true), full = c.flag("full", false);
  const double eps = c.number("eps", 1e-8);
  return reduced(c, c.map(c.x("input"), c.x("target"), [&](E x, E t) {
    E loss = logs ? exp(x) - t * x : x - t * log(x + eps);
    if (full) loss = loss + select(t <= 1.0, 0.0, t * log(t) - t + 0.5 * log(t * (2 * std::numbers::pi)));
    return loss;
  }));
}

Values multi_margin(Call& c) {
  NodeId x = c.x("self");
  NodeId target = c.tensor("target");
  if (c.rank(x) == 1) x = c.unsqueeze(x, 0), target = c.reshape(target, {1});
  const double p = c.number("p", 1), margin = c.number("margin", 1);
  const NodeId column = c.unsqueeze(target, 1);
  const NodeId own = c.take_along(x, 1, column);
  NodeId gap = c.map(x, own, [&](E v, E mine) {
    const E g = maximum(margin - mine + v, 0.0);
    return p == 2 ? g * g : g;
  });
  if (const auto weight = c.maybe_x("weight")) gap = c.mul(gap, c.unsqueeze(c.take(*weight, 0, target), 1));
  const NodeId others =
      c.map(gap, c.index_along(c.size(x, 1), 1, 2), column, [](E v, E i, E t) { return select(i == t, 0.0, v); });
  const NodeId each = c.scaled(c.sum(others, {1}), 1 / static_cast<double>(c.size(x, 1)));
  const NodeId loss = reduced(c, each);
  return c.rank(loss) == 1 && c.out().shape.empty() ? c.reshape(loss, {}) : loss;
}

}  // namespace

Rows loss_rows() {
  return {
      {"mse_loss", pairwise([](E x, E y) { return (x - y) * (x - y); })},
      {"l1_loss", pairwise([](E x, E y) { return absolute(x - y); })},
      {"soft_margin_loss", pairwise([](E x, E t) {
         const E z = -t * x;  // softplus(z), stable at both ends
         return maximum(z, 0.0) + log1p(exp(-absolute(z)));
       })},
      {"smooth_l1_loss", smooth_l1},
      {"huber_loss", huber},
      {"kl_div", kl_div},
      {"binary_cross_entropy", bce},
      {"binary_cross_entropy_with_logits", bce_with_logits},
      {"nll_loss nll_loss_nd nll_loss2d nll_loss_forward nll_loss2d_forward", nll_loss},
      {"cross_entropy_loss", cross_entropy},
      {"hinge_embedding_loss", hinge_embedding},
      {"margin_ranking_loss", margin_ranking},
      {"pairwise_distance", pairwise_distance},
      {"triplet_margin_loss", triplet_margin},
      {"cosine_similarity", cosine_similarity},
      {"cosine_embedding_loss", cosine_embedding},
      {"poisson_nll_loss", poisson_nll},
      {"multi_margin_loss", multi_margin},
  };
}

}  // namespace kw::graph::aten
