#include <cblas.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "graph/interpret/evaluators.h"

/// Einsum as batched matrix products: operands are packed tile by tile from their strided views (a window view is
/// packed as it stands, so a convolution never becomes a whole im2col matrix), multiplied by OpenBLAS in float64;
/// the bound's sum of |a||b| comes from a second product of magnitudes in float32.
namespace kw::graph::interpreter {
namespace {

constexpr int64_t tile_rows = 256, tile_columns = 512, tile_depth = 1024;

/// Offsets of the canonical product C[batch][row][column] = sum over depth of A[batch][row][depth]
/// B[batch][column][depth].
struct Product {
  Value a, b;
  std::vector<int64_t> a_batch, a_row, a_depth, b_batch, b_column, b_depth, c_batch, c_row, c_column;
};

bool has(const std::vector<int>& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

/// Offsets over `labels` of an operand whose axes are named `names`; a label it lacks has stride 0.
std::vector<int64_t> label_offsets(const Value& x, const std::vector<int>& names, const std::vector<int>& labels,
                                   const std::vector<int64_t>& sizes) {
  Value view = x;
  view.shape.clear();
  view.strides.clear();
  std::vector<int> axes;
  for (int label : labels) {
    const auto at = std::find(names.begin(), names.end(), label) - names.begin();
    const bool known = static_cast<size_t>(at) < names.size();
    view.shape.push_back(sizes[static_cast<size_t>(label)]);
    view.strides.push_back(known ? x.strides[static_cast<size_t>(at)] : 0);
    axes.push_back(static_cast<int>(axes.size()));
  }
  return offsets_of(view, axes);
}

std::vector<int64_t> label_sizes(const ContractAttr& attr, const Value& a, const Value& b) {
  int top = 0;
  for (int label : attr.a) top = std::max(top, label + 1);
  for (int label : attr.b) top = std::max(top, label + 1);
  std::vector<int64_t> sizes(static_cast<size_t>(top), 1);
  for (size_t i = 0; i < attr.a.size(); ++i) sizes[static_cast<size_t>(attr.a[i])] = a.shape[i];
  for (size_t i = 0; i < attr.b.size(); ++i) sizes[static_cast<size_t>(attr.b[i])] = b.shape[i];
  return sizes;
}

Product canonical(const ContractAttr& attr, const Value& a, const Value& b, const Value& c) {
  std::vector<int> batch, row, column, depth;
  for (int label : attr.out) {
    const bool in_a = has(attr.a, label);
    (in_a && has(attr.b, label) ? batch : in_a ? row : column).push_back(label);
  }
  for (int label : attr.a) {
    if (!has(attr.out, label)) depth.push_back(label);
  }
  for (int label : attr.b) {
    if (!has(attr.out, label) && !has(depth, label)) depth.push_back(label);
  }
  const std::vector<int64_t> sizes = label_sizes(attr, a, b);
  const auto offsets = [&](const Value& x, const std::vector<int>& names, const std::vector<int>& labels) {
    return label_offsets(x, names, labels, sizes);
  };
  return {a,
          b,
          offsets(a, attr.a, batch),
          offsets(a, attr.a, row),
          offsets(a, attr.a, depth),
          offsets(b, attr.b, batch),
          offsets(b, attr.b, column),
          offsets(b, attr.b, depth),
          offsets(c, attr.out, batch),
          offsets(c, attr.out, row),
          offsets(c, attr.out, column)};
}

struct Range {
  int64_t begin = 0, count = 0;
};

/// out[i][j] = f(base[rows[i] + columns[j]]), dense.
template <class T, class F>
void pack(const int64_t* rows, int64_t row_count, const int64_t* columns, int64_t column_count, T* out, F element) {
  for (int64_t i = 0; i < row_count; ++i) {
    const int64_t row = rows[i];
    for (int64_t j = 0; j < column_count; ++j) out[i * column_count + j] = static_cast<T>(element(row + columns[j]));
  }
}

void multiply(const double* a, const double* b, double* c, Range r, Range n, Range k, bool first) {
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(r.count), static_cast<int>(n.count),
              static_cast<int>(k.count), 1, a, static_cast<int>(k.count), b, static_cast<int>(k.count), first ? 0 : 1,
              c, static_cast<int>(n.count));
}

void multiply(const float* a, const float* b, float* c, Range r, Range n, Range k, bool first) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(r.count), static_cast<int>(n.count),
              static_cast<int>(k.count), 1, a, static_cast<int>(k.count), b, static_cast<int>(k.count), first ? 0 : 1,
              c, static_cast<int>(n.count));
}

/// The bound of one tile, T = float unless the module computes in float64:
/// sum c u |a||b| + b_a |b| + |a| b_b + b_a b_b  =  (c u |a| + b_a)|b| + (|a| + b_a) b_b.
template <class T>
class BoundTile {
 public:
  BoundTile(const Product& p, double factor) : p_(p), factor_(factor) {}

  void add(int64_t batch, Range r, Range n, Range k, bool first) {
    sum_.resize(static_cast<size_t>(r.count * n.count));
    left_.resize(static_cast<size_t>(r.count * k.count));
    right_.resize(static_cast<size_t>(n.count * k.count));
    const auto at = static_cast<size_t>(batch);
    const double* a = p_.a.buffer->value.get() + p_.a.offset + p_.a_batch[at];
    const double* b = p_.b.buffer->value.get() + p_.b.offset + p_.b_batch[at];
    const double* a_bound = p_.a.has_bound() ? p_.a.buffer->bound.get() + p_.a.offset + p_.a_batch[at] : nullptr;
    const double* b_bound = p_.b.has_bound() ? p_.b.buffer->bound.get() + p_.b.offset + p_.b_batch[at] : nullptr;
    const int64_t *rows = &p_.a_row[static_cast<size_t>(r.begin)], *a_depth = &p_.a_depth[static_cast<size_t>(k.begin)];
    const int64_t *columns = &p_.b_column[static_cast<size_t>(n.begin)],
                  *b_depth = &p_.b_depth[static_cast<size_t>(k.begin)];
    if (a_bound != nullptr) {
      pack(rows, r.count, a_depth, k.count, left_.data(),
           [&](int64_t i) { return factor_ * std::fabs(a[i]) + a_bound[i]; });
    } else {
      pack(rows, r.count, a_depth, k.count, left_.data(), [&](int64_t i) { return factor_ * std::fabs(a[i]); });
    }
    pack(columns, n.count, b_depth, k.count, right_.data(), [&](int64_t i) { return std::fabs(b[i]); });
    multiply(left_.data(), right_.data(), sum_.data(), r, n, k, first);
    if (b_bound == nullptr) return;
    pack(rows, r.count, a_depth, k.count, left_.data(),
         [&](int64_t i) { return std::fabs(a[i]) + (a_bound != nullptr ? a_bound[i] : 0); });
    pack(columns, n.count, b_depth, k.count, right_.data(), [&](int64_t i) { return b_bound[i]; });
    multiply(left_.data(), right_.data(), sum_.data(), r, n, k, false);
  }

  /// A little more than the product, for its own rounding.
  double at(int64_t i) const {
    return static_cast<double>(sum_[static_cast<size_t>(i)]) * (sizeof(T) == 4 ? 1.001 : 1.0000001);
  }

 private:
  const Product& p_;
  double factor_;
  std::vector<T> left_, right_, sum_;
};

struct Target {
  Value& out;
  Limits limits;
  bool with_bound;
  bool anything;  // an operand holds an infinite bound: NaN and infinity are then not certain
  double widest;  // a larger bound belongs to terms that may overflow on the way, whatever their sum is
  std::atomic<int64_t>& overflowing;
};

void store_tile(const Product& p, const Target& t, int64_t batch, Range r, Range n, const double* c, auto&& bound_at) {
  for (int64_t i = 0; i < r.count; ++i) {
    const int64_t row =
        t.out.offset + p.c_batch[static_cast<size_t>(batch)] + p.c_row[static_cast<size_t>(r.begin + i)];
    for (int64_t j = 0; j < n.count; ++j) {
      const auto at = static_cast<size_t>(row + p.c_column[static_cast<size_t>(n.begin + j)]);
      double value = c[i * n.count + j];
      if (t.with_bound) {
        double bound = std::isfinite(value) ? bound_at(i * n.count + j) : (t.anything ? INFINITY : 0);
        if (bound > t.widest && std::fabs(value) <= t.limits.largest) {
          t.overflowing += std::isfinite(bound) || !t.anything;
          bound = INFINITY;
        }
        store(value, bound, t.limits);
        t.out.buffer->bound[at] = bound;
      }
      t.out.buffer->value[at] = value;
    }
  }
}

template <class T>
void run_tile(const Product& p, const Target& t, double factor, int64_t batch, Range r, Range n) {
  const auto depth = static_cast<int64_t>(p.a_depth.size());
  std::vector<double> left, right, c(static_cast<size_t>(r.count * n.count), 0.0);
  BoundTile<T> bound(p, factor);
  const double* a = p.a.buffer->value.get() + p.a.offset + p.a_batch[static_cast<size_t>(batch)];
  const double* b = p.b.buffer->value.get() + p.b.offset + p.b_batch[static_cast<size_t>(batch)];
  for (int64_t at = 0; at < depth; at += tile_depth) {
    const Range k{at, std::min(tile_depth, depth - at)};
    left.resize(static_cast<size_t>(r.count * k.count));
    right.resize(static_cast<size_t>(n.count * k.count));
    pack(&p.a_row[static_cast<size_t>(r.begin)], r.count, &p.a_depth[static_cast<size_t>(at)], k.count, left.data(),
         [&](int64_t i) { return a[i]; });
    pack(&p.b_column[static_cast<size_t>(n.begin)], n.count, &p.b_depth[static_cast<size_t>(at)], k.count, right.data(),
         [&](int64_t i) { return b[i]; });
    multiply(left.data(), right.data(), c.data(), r, n, k, at == 0);
    if (t.with_bound) bound.add(batch, r, n, k, at == 0);
  }
  store_tile(p, t, batch, r, n, c.data(), [&](int64_t i) { return depth > 0 ? bound.at(i) : 0.0; });
}

bool holds_infinite_bound(const Value& x) {
  if (!x.has_bound()) return false;
  const Reader reader(x);
  std::atomic<bool> found{false};
  parallel_for(x.count(), 1 << 15, [&](int64_t begin, int64_t end) {
    std::vector<double> scratch(static_cast<size_t>(end - begin));
    const double* b = reader.bounds(begin, end - begin, scratch.data());
    if (std::any_of(b, b + (end - begin), [](double y) { return std::isinf(y); })) found = true;
  });
  return found;
}

}  // namespace

Result<Value> eval_contract(Context& context, const Node& node, std::span<const Value> in) {
  static const bool one_thread = (openblas_set_num_threads(1), true);
  (void)one_thread;
  auto made = make_value(context, node.dtype, node.shape, context.options.bounds);
  if (!made || made->count() == 0) return made;
  const Product p = canonical(node.as<ContractAttr>(), in[0], in[1], *made);
  const auto batches = static_cast<int64_t>(p.c_batch.size());
  const auto rows = static_cast<int64_t>(p.c_row.size());
  const auto columns = static_cast<int64_t>(p.c_column.size());
  const auto depth = static_cast<double>(p.a_depth.size());
  const int64_t row_tiles = (rows + tile_rows - 1) / tile_rows;
  const int64_t column_tiles = (columns + tile_columns - 1) / tile_columns;
  const bool anything = context.options.bounds && (holds_infinite_bound(in[0]) || holds_infinite_bound(in[1]));
  const double factor = (2 * std::sqrt(depth) + 8) * context.roundoff(node.dtype);
  const double widest = is_float(node.dtype) ? factor * largest_sum(node.dtype) : INFINITY;
  const Target target{*made, limits_of(node.dtype), context.options.bounds, anything, widest, context.overflowing};
  const double tile_flops =
      2 * depth * static_cast<double>(std::min(rows, tile_rows) * std::min(columns, tile_columns));
  const auto grain = static_cast<int64_t>(std::clamp(2e5 / std::max(tile_flops, 1.0), 1.0, 4096.0));
  context.parallel(batches * row_tiles * column_tiles, grain, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t column = tile % column_tiles * tile_columns;
      const int64_t row = tile / column_tiles % row_tiles * tile_rows;
      const Range r{row, std::min(tile_rows, rows - row)};
      const Range n{column, std::min(tile_columns, columns - column)};
      const int64_t batch = tile / column_tiles / row_tiles;
      if (node.dtype == DType::f64) {
        run_tile<double>(p, target, factor, batch, r, n);
      } else {
        run_tile<float>(p, target, factor, batch, r, n);
      }
    }
  });
  return made;
}

}  // namespace kw::graph::interpreter
