#include <cmath>
#include <limits>

#include "graph/aten/call.h"

/// Attention: Contract, Map, Reduce, Contract.
namespace kw::graph::aten {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Repeats each of k's heads for the queries that share it.
NodeId shared_heads(Call& c, NodeId k, NodeId q) {
  const int axis = c.rank(q) - 3;
  const int64_t have = c.size(k, axis), want = c.size(q, axis);
  if (have == want || have == 0) return k;
  if (want % have != 0) c.refuse_argument("has query heads that its key heads do not divide");
  return c.repeat_axis(k, axis, want / have);
}

NodeId masked(Call& c, NodeId scores, const char* mask_name) {
  const NodeId mask = c.tensor(mask_name);
  if (c.dtype(mask) != DType::boolean) return c.add(scores, c.cast(mask, c.dtype(scores)));
  return c.map(scores, mask, [](E s, E keep) { return select(keep, s, -infinity); });
}

NodeId causal(Call& c, NodeId scores) {
  const int n = c.rank(scores);
  const NodeId row = c.index_along(c.size(scores, n - 2), n - 2, n);
  const NodeId column = c.index_along(c.size(scores, n - 1), n - 1, n);
  return c.map(scores, row, column, [](E s, E r, E k) { return select(k <= r, s, -infinity); });
}

/// A row with no key left is zero, as in PyTorch, where a plain softmax would be NaN.
NodeId safe_softmax(Call& c, NodeId scores) {
  const int axis = c.rank(scores) - 1;
  const NodeId top = c.reduce(ReduceOp::max, scores, {axis}, true);
  return c.map(c.softmax(scores, axis), top, [](E p, E m) { return select(m == -infinity, 0.0, p); });
}

struct Attention {
  NodeId y, probability, log_sum;
};

Attention attend(Call& c, const char* mask_name) {
  if (c.number("dropout_p", 0) > 0) c.refuse_random("attention dropout");
  const NodeId q = c.x("query");
  NodeId k = c.x("key"), v = c.x("value");
  if (c.flag("enable_gqa", false)) k = shared_heads(c, k, q), v = shared_heads(c, v, q);
  const int n = c.rank(q);
  const double scale = c.number("scale", 1 / std::sqrt(static_cast<double>(c.size(q, n - 1))));
  NodeId scores = c.scaled(c.matmul(q, c.transpose(k, c.rank(k) - 2, c.rank(k) - 1)), scale);
  const bool has_mask = c.has(mask_name);
  if (has_mask) scores = masked(c, scores, mask_name);
  if (c.flag("is_causal", false)) scores = causal(c, scores);
  const int axis = c.rank(scores) - 1;
  const NodeId p = has_mask ? safe_softmax(c, scores) : c.softmax(scores, axis);
  return {c.matmul(p, v), p, c.logsumexp(scores, {axis})};
}

Values with_log_sum(Call& c, const char* mask_name) {
  const Attention a = attend(c, mask_name);
  return {a.y, a.log_sum};
}

/// nn.MultiheadAttention's fused form: one projection for q, k and v of the same input.
Values native_multi_head(Call& c) {
  const NodeId q = c.x("query"), k = c.x("key"), v = c.x("value");
  if (c.has("mask")) c.refuse_argument("has a mask in its fused form");
  const int64_t width = c.integer("embed_dim"), heads = c.factor("num_head");
  const int64_t depth = width / heads;
  const NodeId weight = c.x("qkv_weight"), bias = c.x("qkv_bias");
  const auto project = [&](NodeId x, int64_t i) {
    const NodeId y =
        c.linear(x, c.slice(weight, 0, i * width, (i + 1) * width), c.slice(bias, 0, i * width, (i + 1) * width));
    return c.transpose(c.reshape(y, {c.size(y, 0), c.size(y, 1), heads, depth}), 1, 2);
  };
  const NodeId query = project(q, 0), key = project(k, 1), value = project(v, 2);
  const double scale = 1 / std::sqrt(static_cast<double>(depth));
  const NodeId p = c.softmax(c.scaled(c.matmul(query, c.transpose(key, 2, 3)), scale), 3);
  const NodeId joined = c.reshape(c.transpose(c.matmul(p, value), 1, 2), c.shape(q));
  const NodeId y = c.linear(joined, c.x("proj_weight"), c.x("proj_bias"));
  if (!c.flag("need_weights", true)) return {y, -1};
  return {y, c.flag("average_attn_weights", true) ? c.mean(p, {1}) : p};
}

}  // namespace

Rows attention_rows() {
  return {
      {"scaled_dot_product_attention", [](Call& c) { return attend(c, "attn_mask").y; }},
      {"_scaled_dot_product_flash_attention_for_cpu", [](Call& c) { return with_log_sum(c, "attn_mask"); }},
      {"_scaled_dot_product_flash_attention", [](Call& c) { return with_log_sum(c, "attn_mask"); }},
      {"_scaled_dot_product_efficient_attention", [](Call& c) { return with_log_sum(c, "attn_bias"); }},
      {"_scaled_dot_product_attention_math",
       [](Call& c) {
         const Attention a = attend(c, "attn_mask");
         return Values{a.y, a.probability};
       }},
      {"_native_multi_head_attention", native_multi_head},
  };
}

}  // namespace kw::graph::aten
