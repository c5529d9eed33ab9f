#pragma once
#include <optional>
#include <vector>

#include "kernel/tile.h"

/// Integer index expressions as sums of coefficient * atom + constant: how tile.h simplifies them.
namespace kw::kernel::tile {

struct Term {
  Expr atom;  // a variable, or a div, mod, load ... that is no sum
  int64_t factor = 1;
};
struct Affine {
  std::vector<Term> terms;  // distinct atoms, factors not zero, in order of first appearance
  int64_t constant = 0;
};

Affine affine_of(const Expr& e);
Expr expr_of(const Affine& a);
void add_scaled(Affine& to, const Affine& from, int64_t factor);
/// Inclusive bounds, saturated.
struct Range {
  int64_t lo, hi;
};
Range range_of(const Affine& a);
/// floor(a / divisor) and a - divisor * floor(a / divisor), simplified; divisor > 0.
Expr divided(const Affine& a, int64_t divisor);
Expr remainder_of(const Affine& a, int64_t divisor);
/// Joins k*c*(x / c) + k*(x % c) to k*x wherever both parts are there.
void rejoin(Affine& a);

/// A node with its hash set, nothing simplified.
Expr raw(ExprNode node);

}  // namespace kw::kernel::tile
