#include <algorithm>
#include <cmath>
#include <limits>

#include "base/parallel.h"
#include "graph/interpret/evaluators.h"

/// Reductions and scans along axes, each with its bound.
namespace kw::graph::interpreter {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

struct Result1 {
  double value = 0;
  double bound = 0;
  bool overflows = false;  // on the way, in some order of summation
};

/// One group of `n` elements to reduce.
struct Group {
  const double* v;
  const double* b;  // null when exact or not wanted
  int64_t n;
  double roundoff;
  double largest;  // beyond which a running sum overflows
};

double bound_at(const Group& g, int64_t i) { return g.b != nullptr ? g.b[i] : 0; }

/// A result that is NaN or infinite is certain unless an operand may be anything.
double special_bound(const Group& g) {
  for (int64_t i = 0; g.b != nullptr && i < g.n; ++i) {
    if (std::isinf(g.b[i])) return inf;
  }
  return 0;
}

/// Blocks of 128 in eight strands, the blocks' sums compensated (Neumaier).
double sum_of(const double* x, int64_t n) {
  double total = 0;
  double lost = 0;
  for (int64_t at = 0; at < n; at += 128) {
    double part[8] = {};
    const int64_t end = std::min(n, at + 128);
    int64_t i = at;
    for (; i + 8 <= end; i += 8) {
      for (int k = 0; k < 8; ++k) part[k] += x[i + k];
    }
    for (int k = 0; i < end; ++i, ++k) part[k] += x[i];
    const double block = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    const double next = total + block;
    lost += std::fabs(total) >= std::fabs(block) ? (total - next) + block : (block - next) + total;
    total = next;
  }
  return std::isfinite(lost) ? total + lost : total;
}

/// Does adding `x` after `before` round as the addition before it did? Roundings of equal terms share their sign.
bool repeats(double x, double before) { return x != 0 && std::fabs(x) == std::fabs(before); }

/// sum b_i + (2 sqrt(n) + 8 + r) u sum |x_i|, or n in place of the factor if less; a sum of one term is exact. The
/// square root holds for roundings that are independent. Those of the r terms that repeat the one before them are not:
/// they may all point one way, and add up. Terms that together leave the type's range may overflow on the way, whatever
/// their sum is.
Result1 reduce_sum(const Group& g) {
  const double value = sum_of(g.v, g.n);
  if (!std::isfinite(value)) return {value, special_bound(g)};
  double size = 0;
  double carried = 0;
  int64_t repeated = 0;
  for (int64_t i = 0; i < g.n; ++i) {
    size += std::fabs(g.v[i]);
    carried += bound_at(g, i);
    repeated += i > 0 && repeats(g.v[i], g.v[i - 1]);
  }
  // n roundings of at most u sum |x_i| each are the worst case, whatever their signs.
  const double n = static_cast<double>(g.n), independent = 2 * std::sqrt(n) + 8;
  const double terms = std::max(independent, std::min(n, independent + static_cast<double>(repeated)));
  const double factor = g.n > 1 ? terms * g.roundoff : 0;
  const bool overflows = size > g.largest && std::fabs(value) <= g.largest;
  return {value, overflows ? inf : carried + factor * size, overflows};
}

/// (p, e) <- (p x, e (|x| + b) + |p| b + u |p x|).
Result1 reduce_prod(const Group& g) {
  Result1 r{1, 0};
  for (int64_t i = 0; i < g.n; ++i) {
    const double b = bound_at(g, i);
    const double next = r.value * g.v[i];
    r.bound = r.bound * (std::fabs(g.v[i]) + b) + std::fabs(r.value) * b + (i > 0 ? g.roundoff * std::fabs(next) : 0);
    r.value = next;
  }
  if (!std::isfinite(r.value)) r.bound = special_bound(g);
  return r;
}

/// sign = 1: max; -1: min. NaN wins. The interval's ends are the extremes of the elements' ends.
Result1 reduce_extreme(const Group& g, double sign) {
  double value = -inf, high = -inf, low = -inf;
  for (int64_t i = 0; i < g.n; ++i) {
    const double x = sign * g.v[i];
    if (std::isnan(x)) return {g.v[i], special_bound(g)};
    value = std::max(value, x);
    high = std::max(high, x + bound_at(g, i));
    low = std::max(low, x - bound_at(g, i));
  }
  return {sign * value, std::isinf(value) ? special_bound(g) : std::max(high - value, value - low)};
}
Result1 reduce_max(const Group& g) { return reduce_extreme(g, 1); }
Result1 reduce_min(const Group& g) { return reduce_extreme(g, -1); }

/// First index of the extreme; any index may be the answer (bound infinite) when intervals touch.
Result1 reduce_index(const Group& g, double sign) {
  int64_t best = 0;
  for (int64_t i = 0; i < g.n; ++i) {
    if (std::isnan(g.v[i])) return {static_cast<double>(i), special_bound(g)};
    if (sign * g.v[i] > sign * g.v[best]) best = i;
  }
  const double low = sign * g.v[best] - bound_at(g, best);
  for (int64_t i = 0; g.b != nullptr && i < g.n; ++i) {
    const bool exact = g.b[i] == 0 && g.b[best] == 0;
    if (i != best && !exact && sign * g.v[i] + g.b[i] >= low) return {static_cast<double>(best), inf};
  }
  return {static_cast<double>(best), 0};
}
Result1 reduce_argmax(const Group& g) { return reduce_index(g, 1); }
Result1 reduce_argmin(const Group& g) { return reduce_index(g, -1); }

using Reducer = Result1 (*)(const Group&);
constexpr Reducer reducers[] = {reduce_sum, reduce_prod, reduce_max, reduce_min, reduce_argmax, reduce_argmin};

/// The kept axes first, the reduced ones last.
Value grouped(const Value& x, const std::vector<int>& axes) {
  Value y = x;
  y.shape.clear();
  y.strides.clear();
  for (const bool reduced : {false, true}) {
    for (size_t i = 0; i < x.shape.size(); ++i) {
      if (std::binary_search(axes.begin(), axes.end(), static_cast<int>(i)) != reduced) continue;
      y.shape.push_back(x.shape[i]);
      y.strides.push_back(x.strides[i]);
    }
  }
  return y;
}

// Scans: running values and bounds, in place over a row.
void scan_sum(double* v, double* b, int64_t n, double roundoff) {
  double total = 0, lost = 0, size = 0, carried = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double next = total + v[i];
    lost += std::fabs(total) >= std::fabs(v[i]) ? (total - next) + v[i] : (v[i] - next) + total;
    total = next;
    size += std::fabs(v[i]);
    carried += b[i];
    v[i] = std::isfinite(lost) ? total + lost : total;
    const double factor = i > 0 ? (2 * std::sqrt(static_cast<double>(i + 1)) + 8) * roundoff : 0;
    b[i] = std::isfinite(v[i]) ? carried + factor * size : (std::isinf(carried) ? inf : 0);
  }
}

void scan_prod(double* v, double* b, int64_t n, double roundoff) {
  Result1 r{1, 0};
  bool anything = false;
  for (int64_t i = 0; i < n; ++i) {
    anything = anything || std::isinf(b[i]);
    const double next = r.value * v[i];
    r.bound = r.bound * (std::fabs(v[i]) + b[i]) + std::fabs(r.value) * b[i] + (i > 0 ? roundoff * std::fabs(next) : 0);
    r.value = next;
    if (!std::isfinite(next)) r.bound = anything ? inf : 0;
    v[i] = r.value;
    b[i] = r.bound;
  }
}

void scan_extreme(double* v, double* b, int64_t n, double sign) {
  double value = -inf, high = -inf, low = -inf;
  bool anything = false;
  for (int64_t i = 0; i < n; ++i) {
    const double x = sign * v[i];
    anything = anything || std::isinf(b[i]);
    high = std::max(high, x + b[i]);
    low = std::max(low, x - b[i]);
    value = std::isnan(x) || std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : std::max(value, x);
    v[i] = sign * value;
    b[i] = std::isfinite(value) ? std::max(high - value, value - low) : (anything ? inf : 0);
  }
}
void scan_max(double* v, double* b, int64_t n, double) { scan_extreme(v, b, n, 1); }
void scan_min(double* v, double* b, int64_t n, double) { scan_extreme(v, b, n, -1); }

using Scanner = void (*)(double*, double*, int64_t, double);
constexpr Scanner scanners[] = {scan_sum, scan_prod, scan_max, scan_min};

}  // namespace

Result<Value> eval_reduce(Context& context, const Node& node, std::span<const Value> in) {
  const ReduceAttr& attr = node.as<ReduceAttr>();
  const bool with_bound = context.options.bounds;
  auto made = make_value(context, node.dtype, node.shape, with_bound);
  if (!made || made->count() == 0) return made;
  const Reader reader(grouped(in[0], attr.axes));
  const int64_t n = in[0].count() / made->count();
  const Reducer reduce = reducers[static_cast<int>(attr.op)];
  const double roundoff = context.roundoff(in[0].dtype);
  const double largest = is_float(node.dtype) ? largest_sum(node.dtype) : inf;
  const Limits limits = limits_of(node.dtype);
  const bool known = in[0].has_bound();
  context.parallel(made->count(), std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(n, 1)),
                   [&](int64_t begin, int64_t end) {
                     std::vector<double> v(static_cast<size_t>(n)), b(known ? static_cast<size_t>(n) : 0);
                     for (int64_t i = begin; i < end; ++i) {
                       const Group group{reader.values(i * n, n, v.data()),
                                         known ? reader.bounds(i * n, n, b.data()) : nullptr, n, roundoff, largest};
                       Result1 r = reduce(group);
                       made->buffer->value[static_cast<size_t>(i)] = r.value;
                       if (!with_bound) continue;
                       if (node.dtype == DType::i64 && std::isinf(r.bound)) ++context.straddled;
                       context.overflowing += r.overflows;
                       store(r.value, r.bound, limits);
                       made->buffer->value[static_cast<size_t>(i)] = r.value;
                       made->buffer->bound[static_cast<size_t>(i)] = r.bound;
                     }
                   });
  return made;
}

Result<Value> eval_scan(Context& context, const Node& node, std::span<const Value> in) {
  const ScanAttr& attr = node.as<ScanAttr>();
  const bool with_bound = context.options.bounds;
  auto made = make_value(context, node.dtype, node.shape, with_bound);
  const int64_t n = node.shape[static_cast<size_t>(attr.axis)];
  if (!made || made->count() == 0) return made;
  const Reader reader(grouped(in[0], {attr.axis}));
  const Value out = grouped(*made, {attr.axis});
  std::vector<int> axes;
  for (size_t i = 0; i + 1 < out.shape.size(); ++i) axes.push_back(static_cast<int>(i));
  const std::vector<int64_t> starts = offsets_of(out, axes);
  const Limits limits = limits_of(node.dtype);
  context.parallel(
      static_cast<int64_t>(starts.size()), std::max<int64_t>(1, (1 << 13) / n), [&](int64_t begin, int64_t end) {
        std::vector<double> v(static_cast<size_t>(n)), b(static_cast<size_t>(n)), scratch(static_cast<size_t>(n));
        for (int64_t r = begin; r < end; ++r) {
          std::copy_n(reader.values(r * n, n, scratch.data()), n, v.data());
          std::copy_n(reader.bounds(r * n, n, scratch.data()), n, b.data());
          scanners[static_cast<int>(attr.op)](v.data(), b.data(), n, context.roundoff(node.dtype));
          for (int64_t i = 0; i < n; ++i) {
            const auto at = static_cast<size_t>(starts[static_cast<size_t>(r)] + i * out.strides.back());
            if (with_bound) store(v[static_cast<size_t>(i)], b[static_cast<size_t>(i)], limits);
            made->buffer->value[at] = v[static_cast<size_t>(i)];
            if (with_bound) made->buffer->bound[at] = b[static_cast<size_t>(i)];
          }
        }
      });
  return made;
}

}  // namespace kw::graph::interpreter
