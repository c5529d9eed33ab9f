#include <algorithm>
#include <set>

#include "graph/aten/call.h"

/// Linear algebra, einsum, distances.
namespace kw::graph::aten {

namespace {

Values matmul(Call& c, const char* a, const char* b) { return c.matmul(c.x(a), c.x(b)); }

/// beta * self + alpha * (a @ b)
Values add_product(Call& c, const char* a, const char* b, bool sum_batch = false) {
  NodeId product = sum_batch ? c.einsum("bij", "bjk", "ik", c.x(a), c.x(b)) : c.matmul(c.x(a), c.x(b));
  product = c.scaled(product, c.number("alpha", 1));
  const double beta = c.number("beta", 1);
  return beta == 0 ? product : c.add(c.scaled(c.x("self"), beta), product);
}

Values linear(Call& c) { return c.linear(c.x("input"), c.x("weight"), c.maybe_x("bias")); }

Values outer(Call& c) { return c.einsum("i", "j", "ij", c.x("self"), c.x("vec2")); }

Values inner(Call& c) {
  const NodeId x = c.x("self"), y = c.x("other");
  if (c.rank(x) == 0 || c.rank(y) == 0) return c.mul(x, y);
  const auto n = c.shape(x).size() - 1, m = c.shape(y).size() - 1;
  Axes left = all_axes(n), right, out = left;
  left.push_back(1000);
  for (size_t i = 0; i < m; ++i) right.push_back(static_cast<int>(n + i));
  out.insert(out.end(), right.begin(), right.end());
  right.push_back(1000);
  return c.g.contract(x, left, y, right, out);
}

Values kron(Call& c) {
  NodeId x = c.x("self"), y = c.x("other");
  while (c.rank(x) < c.rank(y)) x = c.unsqueeze(x, 0);
  while (c.rank(y) < c.rank(x)) y = c.unsqueeze(y, 0);
  const int n = c.rank(x);
  Axes left, right, out;
  for (int i = 0; i < n; ++i) {
    left.push_back(2 * i), right.push_back(2 * i + 1);
    out.push_back(2 * i), out.push_back(2 * i + 1);
  }
  return c.reshape(c.g.contract(x, left, y, right, out), c.out().shape);
}

Values chain(Call& c, const char* name) {
  const Nodes xs = c.tensors(name);
  if (xs.empty()) c.refuse_argument("multiplies no matrices");
  NodeId product = xs[0];
  for (size_t i = 1; i < xs.size(); ++i) product = c.matmul(product, xs[i]);
  return product;
}

Values matrix_power(Call& c) {
  const NodeId x = c.x("self");
  const int64_t n = c.integer("n");
  if (n < 0) c.refuse_argument("inverts a matrix");
  if (n == 0) return c.expand(c.eye(c.size(x, c.rank(x) - 1), c.size(x, c.rank(x) - 1), 0, c.dtype(x)), c.shape(x));
  std::optional<NodeId> result;
  NodeId square = x;
  for (int64_t bits = n; bits > 0; bits /= 2) {
    if (bits % 2 == 1) result = result ? c.matmul(*result, square) : square;
    if (bits > 1) square = c.matmul(square, square);
  }
  return *result;
}

Values tensordot(Call& c) {
  const NodeId x = c.x("self"), y = c.x("other");
  const Shape a = c.ints("dims_self"), b = c.ints("dims_other");
  if (a.size() != b.size()) c.refuse_argument("pairs different numbers of axes");
  Axes left = all_axes(c.shape(x).size()), right, out;
  for (int i = 0; i < c.rank(y); ++i) right.push_back(c.rank(x) + i);
  for (size_t i = 0; i < a.size(); ++i) {
    right[static_cast<size_t>(c.axis(b[i], c.rank(y)))] = c.axis(a[i], c.rank(x));
  }
  for (int l : left) {
    if (std::find(right.begin(), right.end(), l) == right.end()) out.push_back(l);
  }
  for (int l : right) {
    if (l >= c.rank(x)) out.push_back(l);
  }
  return c.g.contract(x, left, y, right, out);
}

/// y[n, o] = sum_ij x1[n, i] w[o, i, j] x2[n, j] + b[o]
Values bilinear(Call& c) {
  const NodeId first = c.x("input1"), second = c.x("input2"), weight = c.x("weight");
  const int64_t rows = element_count(c.shape(first)) / c.size(first, c.rank(first) - 1);
  const NodeId a = c.reshape(first, {rows, c.size(weight, 1)}), b = c.reshape(second, {rows, c.size(weight, 2)});
  const NodeId half = c.einsum("ni", "oij", "noj", a, weight);
  NodeId y = c.reshape(c.einsum("noj", "nj", "no", half, b), c.out().shape);
  if (const auto bias = c.maybe_x("bias")) y = c.add(y, *bias);
  return y;
}

Values cross(Call& c) {
  const NodeId x = c.x("self"), y = c.x("other");
  const int axis = c.axis(c.integer("dim", -1), c.rank(x));
  const auto turned = [&](NodeId v, int64_t by) {
    return c.cat({c.slice(v, axis, by, 3), c.slice(v, axis, 0, by)}, axis);
  };
  return c.sub(c.mul(turned(x, 1), turned(y, 2)), c.mul(turned(x, 2), turned(y, 1)));
}

Values cdist(Call& c) {
  NodeId x = c.x("x1"), y = c.x("x2");
  x = c.unsqueeze(x, c.rank(x) - 1);
  y = c.unsqueeze(y, c.rank(y) - 2);
  const NodeId gap = c.sub(x, y);
  return c.norm(gap, c.number("p", 2), {c.rank(gap) - 1});
}

/// Places x's last axis on the diagonal of two new last axes.
NodeId diagonal_matrix(Call& c, NodeId x, int64_t offset) {
  const int64_t n = c.size(x, c.rank(x) - 1) + std::abs(offset);
  const int64_t down = std::max<int64_t>(0, -offset), right = std::max<int64_t>(0, offset);
  std::vector<int64_t> lo(c.shape(x).size(), 0), hi(lo);
  lo.back() = right, hi.back() = n - right - c.size(x, c.rank(x) - 1);
  NodeId spread = c.pad_or_crop(x, lo, hi, 0);
  spread = c.unsqueeze(spread, c.rank(x) - 1);
  const NodeId mask = c.eye(n, n, right - down, DType::boolean);
  return c.map(spread, mask, [](E v, E keep) { return select(keep, v, 0.0); });
}

Values diag_embed(Call& c) {
  const NodeId x = c.tensor("self");
  const int n = c.rank(x) + 1;
  const int a = c.axis(c.integer("dim1", -2), n), b = c.axis(c.integer("dim2", -1), n);
  if (a > b) c.refuse_argument("wants its new axes in order");
  const NodeId last = diagonal_matrix(c, x, c.integer("offset", 0));
  return c.move_axis(c.move_axis(last, n - 2, a), n - 1, b);
}

Values diag(Call& c) {
  const NodeId x = c.tensor("self");
  const int64_t offset = c.integer("diagonal", 0);
  if (c.rank(x) == 1) return diagonal_matrix(c, x, offset);
  const int64_t down = std::max<int64_t>(0, -offset), right = std::max<int64_t>(0, offset);
  const NodeId row = c.shifted(c.g.iota(c.out().shape[0]), static_cast<double>(down));
  return c.g.gather(x, {row, c.shifted(c.g.iota(c.out().shape[0]), static_cast<double>(right))}, {0, 1});
}

}  // namespace

Rows product_rows() {
  return {
      {"mm bmm", [](Call& c) { return matmul(c, "self", "mat2"); }},
      {"matmul __matmul__ linalg_matmul", [](Call& c) { return matmul(c, "self", "other"); }},
      {"mv", [](Call& c) { return matmul(c, "self", "vec"); }},
      {"dot", [](Call& c) { return matmul(c, "self", "tensor"); }},
      {"vdot", [](Call& c) { return matmul(c, "self", "other"); }},
      {"addmm", [](Call& c) { return add_product(c, "mat1", "mat2"); }},
      {"addmv", [](Call& c) { return add_product(c, "mat", "vec"); }},
      {"baddbmm", [](Call& c) { return add_product(c, "batch1", "batch2"); }},
      {"addbmm", [](Call& c) { return add_product(c, "batch1", "batch2", true); }},
      {"linear", linear},
      {"outer ger", outer},
      {"inner", inner},
      {"kron", kron},
      {"chain_matmul", [](Call& c) { return chain(c, "matrices"); }},
      {"linalg_multi_dot", [](Call& c) { return chain(c, "tensors"); }},
      {"matrix_power linalg_matrix_power", matrix_power},
      {"tensordot", tensordot},
      {"bilinear", bilinear},
      {"cross linalg_cross", cross},
      {"cdist _cdist_forward", cdist},
      {"diag", diag},
      {"diag_embed", diag_embed},
  };
}

}  // namespace kw::graph::aten
