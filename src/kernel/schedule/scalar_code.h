#pragma once
#include <functional>
#include <vector>

#include "graph/scalar.h"
#include "kernel/tile.h"

namespace kw::kernel::schedule {

/// The type that a value of `dtype` has in registers (f32 for f16 and bf16).
DType compute_dtype(DType dtype);

/// Tile expressions for the steps of a scalar expression.
struct ScalarCoder {
  /// i64 steps are computed as i32: where all i64 values are known to be small and lanes are those of f32.
  bool narrow = false;
  /// Gives an expression a name (a Let) so that it is computed once.
  std::function<tile::Expr(tile::Expr)> name_it;
  tile::Expr code(const graph::ScalarExpr& expr, const std::vector<tile::Expr>& args) const;
  DType register_dtype(DType dtype) const;
  tile::Expr converted(tile::Expr x, DType to) const;

 private:
  tile::Expr step(const graph::ScalarStep& s, const std::vector<tile::Expr>& values,
                  const std::vector<tile::Expr>& args) const;
  tile::Expr operation(graph::ScalarOp op, DType dtype, std::vector<tile::Expr> x) const;
};

/// Rough cost of an expression in flops of a vector unit: 1 for arithmetic, 15 for exp and its like.
double expr_cost(const graph::ScalarExpr& expr);

}  // namespace kw::kernel::schedule
