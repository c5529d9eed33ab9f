#include "kernel/affine.h"

#include <algorithm>
#include <numeric>

#include "base/result.h"

namespace kw::kernel::tile {
namespace {

constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
constexpr int64_t highest = std::numeric_limits<int64_t>::max();

int64_t saturated(__int128 x) { return x < lowest ? lowest : x > highest ? highest : static_cast<int64_t>(x); }

int64_t scaled_bound(int64_t bound, int64_t factor) {
  if (bound == lowest || bound == highest) return (bound > 0) == (factor > 0) ? highest : lowest;
  return saturated(static_cast<__int128>(bound) * factor);
}

int64_t sum_bound(int64_t a, int64_t b) {
  if (a == lowest || a == highest) return a;
  if (b == lowest || b == highest) return b;
  return saturated(static_cast<__int128>(a) + b);
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

void add_term(Affine& to, const Expr& atom, int64_t factor) {
  if (factor == 0) return;
  for (size_t i = 0; i < to.terms.size(); ++i) {
    if (!same(to.terms[i].atom, atom)) continue;
    to.terms[i].factor += factor;
    if (to.terms[i].factor == 0) to.terms.erase(to.terms.begin() + static_cast<std::ptrdiff_t>(i));
    return;
  }
  to.terms.push_back({atom, factor});
}

Expr atom_node(Op op, const Expr& a, int64_t divisor) {
  ExprNode node;
  node.op = op;
  node.type = index_type;
  node.args = {a, Expr(divisor)};
  const bool bounded = a->lo != lowest && a->hi != highest;
  node.lo = op == Op::mod ? 0 : bounded ? floor_div(a->lo, divisor) : lowest;
  node.hi = op == Op::mod ? divisor - 1 : bounded ? floor_div(a->hi, divisor) : highest;
  if (op == Op::mod && a->lo >= 0) node.hi = std::min(node.hi, a->hi);
  return raw(std::move(node));
}

/// The single atom of `a` if it is just that.
const Expr* lone_atom(const Affine& a) {
  return a.terms.size() == 1 && a.terms[0].factor == 1 && a.constant == 0 ? &a.terms[0].atom : nullptr;
}

int64_t divisor_in(const Expr& e) { return e->args[1]->integer; }
bool is_const_op(const Expr& e, Op op) { return e->op == op && e->args[1]->op == Op::imm; }

/// Greatest common divisor of the factors; 0 when there are none.
int64_t common_factor(const Affine& a) {
  int64_t g = 0;
  for (const Term& t : a.terms) g = std::gcd(g, t.factor);
  return g;
}

Affine without_factor(const Affine& a, int64_t g) {
  Affine r;
  for (const Term& t : a.terms) r.terms.push_back({t.atom, t.factor / g});
  r.constant = floor_div(a.constant, g);
  return r;
}

bool inside_one_block(const Affine& a, int64_t divisor, int64_t* block) {
  const Range r = range_of(a);
  if (r.lo == lowest || r.hi == highest) return false;
  *block = floor_div(r.lo, divisor);
  return *block == floor_div(r.hi, divisor);
}

/// a = g * high + low with 0 <= low < g for some g > 1 that divides `divisor`: then high / (divisor / g) is the
/// quotient, whatever low is.
struct Digits {
  int64_t g = 1;
  Affine high, low;
};
Digits digits_of(const Affine& a, int64_t divisor) {
  for (const Term& t : a.terms) {
    const int64_t g = std::gcd(t.factor, divisor);
    if (g <= 1) continue;
    Digits d{g, {}, {}};
    for (const Term& u : a.terms) (u.factor % g == 0 ? d.high : d.low).terms.push_back(u);
    d.low.constant = a.constant;
    const Range r = range_of(d.low);
    if (d.low.terms.empty() || r.lo < 0 || r.hi >= g) continue;
    d.high = without_factor(d.high, g);
    return d;
  }
  return {};
}

/// floor(a / divisor) where no term is a multiple of divisor.
Expr divided_rest(const Affine& a, int64_t divisor) {
  int64_t block = 0;
  if (inside_one_block(a, divisor, &block)) return Expr(block);
  const int64_t g = std::gcd(common_factor(a), divisor);
  if (g > 1) return divided(without_factor(a, g), divisor / g);
  if (const Digits d = digits_of(a, divisor); d.g > 1) return divided(d.high, divisor / d.g);
  if (const Expr* atom = lone_atom(a)) {
    if (is_const_op(*atom, Op::div)) return divided(affine_of((*atom)->args[0]), divisor_in(*atom) * divisor);
    if (is_const_op(*atom, Op::mod) && divisor_in(*atom) % divisor == 0)
      return remainder_of(affine_of(divided(affine_of((*atom)->args[0]), divisor)), divisor_in(*atom) / divisor);
  }
  return atom_node(Op::div, expr_of(a), divisor);
}

}  // namespace

void add_scaled(Affine& to, const Affine& from, int64_t factor) {
  for (const Term& t : from.terms) add_term(to, t.atom, t.factor * factor);
  to.constant += from.constant * factor;
}

Affine affine_of(const Expr& e) {
  Affine a;
  if (e->op == Op::imm) {
    a.constant = e->integer;
  } else if (e->op == Op::add || e->op == Op::sub) {
    a = affine_of(e->args[0]);
    add_scaled(a, affine_of(e->args[1]), e->op == Op::add ? 1 : -1);
  } else if (e->op == Op::mul && e->args[1]->op == Op::imm) {
    add_scaled(a, affine_of(e->args[0]), e->args[1]->integer);
  } else {
    a.terms.push_back({e, 1});
  }
  return a;
}

Range range_of(const Affine& a) {
  Range r{a.constant, a.constant};
  for (const Term& t : a.terms) {
    const int64_t low = t.factor > 0 ? t.atom->lo : t.atom->hi, high = t.factor > 0 ? t.atom->hi : t.atom->lo;
    r.lo = sum_bound(r.lo, scaled_bound(low, t.factor));
    r.hi = sum_bound(r.hi, scaled_bound(high, t.factor));
  }
  return r;
}

Expr expr_of(const Affine& a) {
  auto node = [](Op op, const Expr& x, const Expr& y, Range r) {
    ExprNode n;
    n.op = op;
    n.type = index_type;
    n.args = {x, y};
    n.lo = r.lo;
    n.hi = r.hi;
    return raw(std::move(n));
  };
  Expr sum;
  Affine so_far;
  for (const Term& t : a.terms) {
    const bool minus = static_cast<bool>(sum) && t.factor < 0;
    const int64_t factor = minus ? -t.factor : t.factor;
    const Range range = range_of(Affine{{{t.atom, factor}}, 0});
    const Expr scaled = factor == 1 ? t.atom : node(Op::mul, t.atom, Expr(factor), range);
    so_far.terms.push_back(t);
    sum = sum ? node(minus ? Op::sub : Op::add, sum, scaled, range_of(so_far)) : scaled;
  }
  if (!sum) return Expr(a.constant);
  if (a.constant == 0) return sum;
  const bool minus = a.constant < 0 && a.constant != lowest;
  return node(minus ? Op::sub : Op::add, sum, Expr(minus ? -a.constant : a.constant), range_of(a));
}

Expr divided(const Affine& a, int64_t divisor) {
  check(divisor > 0, "division of an index by zero");
  if (divisor == 1) return expr_of(a);
  int64_t block = 0;
  if (inside_one_block(a, divisor, &block)) return Expr(block);
  Affine whole, rest;
  for (const Term& t : a.terms) {
    const bool multiple = t.factor % divisor == 0;
    add_term(multiple ? whole : rest, t.atom, multiple ? t.factor / divisor : t.factor);
  }
  whole.constant = floor_div(a.constant, divisor);
  rest.constant = a.constant - whole.constant * divisor;
  add_scaled(whole, affine_of(divided_rest(rest, divisor)), 1);
  rejoin(whole);
  return expr_of(whole);
}

Expr remainder_of(const Affine& a, int64_t divisor) {
  check(divisor > 0, "remainder of an index by zero");
  if (divisor == 1) return Expr(0);
  Affine rest;
  for (const Term& t : a.terms)
    if (t.factor % divisor != 0) add_term(rest, t.atom, t.factor);
  rest.constant = a.constant;
  int64_t block = 0;
  if (inside_one_block(rest, divisor, &block)) {
    rest.constant -= block * divisor;
    return expr_of(rest);
  }
  rest.constant = a.constant - floor_div(a.constant, divisor) * divisor;
  if (inside_one_block(rest, divisor, &block)) {
    rest.constant -= block * divisor;
    return expr_of(rest);
  }
  const int64_t g = std::gcd(common_factor(rest), divisor);
  if (g > 1) {
    const int64_t low = rest.constant % g;
    Affine result;
    add_scaled(result, affine_of(remainder_of(without_factor(rest, g), divisor / g)), g);
    result.constant += low;
    return expr_of(result);
  }
  if (const Digits d = digits_of(rest, divisor); d.g > 1) {
    Affine result = d.low;
    add_scaled(result, affine_of(remainder_of(d.high, divisor / d.g)), d.g);
    return expr_of(result);
  }
  if (const Expr* atom = lone_atom(rest); atom && is_const_op(*atom, Op::mod) && divisor_in(*atom) % divisor == 0)
    return remainder_of(affine_of((*atom)->args[0]), divisor);
  return atom_node(Op::mod, expr_of(rest), divisor);
}

void rejoin(Affine& a) {
  for (bool changed = true; changed;) {
    changed = false;
    for (const Term& t : a.terms) {
      if (!is_const_op(t.atom, Op::mod)) continue;
      const Expr x = t.atom->args[0];
      const int64_t c = divisor_in(t.atom), k = t.factor;
      const Affine quotient = affine_of(divided_rest(affine_of(x), c));
      const Expr* q = lone_atom(quotient);
      if (!q) continue;
      const auto found = std::find_if(a.terms.begin(), a.terms.end(),
                                      [&](const Term& o) { return o.factor == k * c && same(o.atom, *q); });
      if (found == a.terms.end()) continue;
      const Expr mod = t.atom, div = found->atom;
      add_term(a, mod, -k);
      add_term(a, div, -k * c);
      add_scaled(a, affine_of(x), k);
      changed = true;
      break;
    }
  }
}

}  // namespace kw::kernel::tile
