#include "kernel/tile.h"

#include <bit>
#include <functional>

#include "base/result.h"
#include "kernel/affine.h"

namespace kw::kernel::tile {
namespace {

uint64_t mixed(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

bool is_index(const Expr& e) { return e->type == index_type; }
bool is_constant(const Expr& e) { return e->op == Op::imm; }

Expr truth(bool value) {
  ExprNode node;
  node.type = bool_type;
  node.integer = value;
  node.lo = node.hi = value;
  return raw(std::move(node));
}

bool is_comparison(Op op) { return op == Op::lt || op == Op::le || op == Op::eq || op == Op::ne; }

Expr plain_binary(Op op, Expr a, Expr b) {
  ExprNode node;
  node.op = op;
  node.type = is_comparison(op) ? Type{DType::boolean, a.type().lanes} : a.type();
  node.args = {std::move(a), std::move(b)};
  return raw(std::move(node));
}

/// Comparison of scalar indices, decided where the ranges allow it.
Expr compared(Op op, const Expr& a, const Expr& b) {
  Affine d = affine_of(a);
  add_scaled(d, affine_of(b), -1);
  rejoin(d);
  const Range r = range_of(d);
  const bool none = r.lo > 0 || r.hi < 0;  // a == b is impossible
  const bool only = r.lo == 0 && r.hi == 0;
  if (op == Op::lt && r.hi < 0) return truth(true);
  if (op == Op::lt && r.lo >= 0) return truth(false);
  if (op == Op::le && r.hi <= 0) return truth(true);
  if (op == Op::le && r.lo > 0) return truth(false);
  if (op == Op::eq && (none || only)) return truth(only);
  if (op == Op::ne && (none || only)) return truth(none);
  return plain_binary(op, a, b);
}

Expr index_minmax(Op op, const Expr& a, const Expr& b) {
  const Expr less = compared(Op::le, a, b);
  if (is_constant(less)) return (less->integer != 0) == (op == Op::min) ? a : b;
  ExprNode node;
  node.op = op;
  node.type = index_type;
  node.args = {a, b};
  node.lo = op == Op::min ? std::min(a->lo, b->lo) : std::max(a->lo, b->lo);
  node.hi = op == Op::min ? std::min(a->hi, b->hi) : std::max(a->hi, b->hi);
  return raw(std::move(node));
}

Expr index_binary(Op op, const Expr& a, const Expr& b) {
  Affine sum = affine_of(a);
  switch (op) {
    case Op::add:
    case Op::sub:
      add_scaled(sum, affine_of(b), op == Op::add ? 1 : -1);
      rejoin(sum);
      return expr_of(sum);
    case Op::mul: {
      if (is_constant(a)) return is_constant(b) ? Expr(a->integer * b->integer) : index_binary(op, b, a);
      if (!is_constant(b)) return plain_binary(op, a, b);
      Affine product;
      add_scaled(product, sum, b->integer);
      return expr_of(product);
    }
    case Op::div:
      return is_constant(b) && b->integer > 0 ? divided(sum, b->integer) : plain_binary(op, a, b);
    case Op::mod:
      return is_constant(b) && b->integer > 0 ? remainder_of(sum, b->integer) : plain_binary(op, a, b);
    case Op::min:
    case Op::max:
      return index_minmax(op, a, b);
    default:
      return is_comparison(op) ? compared(op, a, b) : plain_binary(op, a, b);
  }
}

Expr logic(Op op, const Expr& a, const Expr& b) {
  const bool is_and = op == Op::land;
  for (const auto& [x, y] : {std::pair{a, b}, std::pair{b, a}})
    if (is_constant(x)) return (x->integer != 0) == is_and ? y : x;
  return same(a, b) ? a : plain_binary(op, a, b);
}

/// `parent` with new arguments, simplified again.
Expr rebuilt(const Expr& parent, std::vector<Expr> args) {
  const Op op = parent->op;
  if (op == Op::select) return select(args[0], args[1], args[2]);
  if (op >= Op::add && op <= Op::lor && op != Op::lnot) return binary(op, args[0], args[1]);
  ExprNode node = *parent;
  node.args = std::move(args);
  return raw(std::move(node));
}

}  // namespace

Expr raw(ExprNode node) {
  uint64_t hash = mixed(static_cast<uint64_t>(node.op) + 17, static_cast<uint64_t>(node.type.dtype));
  hash = mixed(hash, static_cast<uint64_t>(node.type.lanes));
  hash = mixed(hash, static_cast<uint64_t>(node.integer) ^ std::bit_cast<uint64_t>(node.real));
  hash = mixed(hash, std::hash<std::string>{}(node.name));
  for (const Expr& e : node.args) hash = mixed(hash, e->hash);
  node.hash = hash;
  return Expr(std::make_shared<const ExprNode>(std::move(node)));
}

Expr::Expr(int64_t value) {
  ExprNode node;
  node.type = index_type;
  node.integer = node.lo = node.hi = value;
  *this = raw(std::move(node));
}

Type Expr::type() const { return node_->type; }

bool Expr::is_constant(int64_t value) const {
  return node_ && node_->op == Op::imm && !is_float(node_->type.dtype) && node_->integer == value;
}

bool same(const Expr& a, const Expr& b) {
  if (&*a == &*b) return true;
  if (a->hash != b->hash || a->op != b->op || a->type != b->type || a->integer != b->integer || a->name != b->name ||
      a->stored != b->stored || std::bit_cast<uint64_t>(a->real) != std::bit_cast<uint64_t>(b->real) ||
      a->args.size() != b->args.size())
    return false;
  for (size_t i = 0; i < a->args.size(); ++i)
    if (!same(a->args[i], b->args[i])) return false;
  return true;
}

Expr imm(double value, Type type) {
  ExprNode node;
  node.type = {type.dtype, 1};
  if (is_float(type.dtype)) {
    node.real = value;
  } else {
    node.integer = static_cast<int64_t>(value);
    node.lo = node.hi = node.integer;
  }
  return splat(raw(std::move(node)), type.lanes);
}

Expr var(std::string name, Type type) {
  ExprNode node;
  node.op = Op::var;
  node.type = type;
  node.name = std::move(name);
  return raw(std::move(node));
}

Expr index_var_in(std::string name, int64_t lo, int64_t hi_inclusive) {
  if (lo == hi_inclusive) return Expr(lo);
  ExprNode node;
  node.op = Op::var;
  node.type = index_type;
  node.name = std::move(name);
  node.lo = lo;
  node.hi = hi_inclusive;
  return raw(std::move(node));
}

Expr index_var(std::string name, int64_t extent) { return index_var_in(std::move(name), 0, extent - 1); }

Expr binary(Op op, Expr a, Expr b) {
  if (a.type().lanes != b.type().lanes) {
    const int lanes = std::max(a.type().lanes, b.type().lanes);
    a = splat(a, lanes);
    b = splat(b, lanes);
  }
  if (op == Op::land || op == Op::lor) return logic(op, a, b);
  return is_index(a) && is_index(b) ? index_binary(op, a, b) : plain_binary(op, a, b);
}

Expr operator+(Expr a, Expr b) { return binary(Op::add, std::move(a), std::move(b)); }
Expr operator-(Expr a, Expr b) { return binary(Op::sub, std::move(a), std::move(b)); }
Expr operator*(Expr a, Expr b) { return binary(Op::mul, std::move(a), std::move(b)); }
Expr operator/(Expr a, Expr b) { return binary(Op::div, std::move(a), std::move(b)); }
Expr operator%(Expr a, Expr b) { return binary(Op::mod, std::move(a), std::move(b)); }
Expr operator<(Expr a, Expr b) { return binary(Op::lt, std::move(a), std::move(b)); }
Expr operator>=(Expr a, Expr b) { return binary(Op::le, std::move(b), std::move(a)); }
Expr operator&&(Expr a, Expr b) { return binary(Op::land, std::move(a), std::move(b)); }
Expr min_of(Expr a, Expr b) { return binary(Op::min, std::move(a), std::move(b)); }
Expr max_of(Expr a, Expr b) { return binary(Op::max, std::move(a), std::move(b)); }

Expr unary(Op op, Expr a) {
  if (op == Op::lnot && is_constant(a)) return truth(a->integer == 0);
  ExprNode node;
  node.op = op;
  node.type = a.type();
  node.args = {std::move(a)};
  return raw(std::move(node));
}

Expr select(Expr condition, const Expr& a, const Expr& b) {
  if (is_constant(condition)) return condition->integer ? a : b;
  const int lanes = std::max({condition.type().lanes, a.type().lanes, b.type().lanes});
  ExprNode node;
  node.op = Op::select;
  node.type = {a.type().dtype, lanes};
  node.lo = std::min(a->lo, b->lo);
  node.hi = std::max(a->hi, b->hi);
  node.args = {std::move(condition), splat(a, lanes), splat(b, lanes)};
  return raw(std::move(node));
}

Expr cast(Expr a, DType dtype) {
  if (a.type().dtype == dtype) return a;
  ExprNode node;
  node.op = Op::cast;
  node.type = {dtype, a.type().lanes};
  node.lo = dtype == DType::i64 ? a->lo : node.lo;
  node.hi = dtype == DType::i64 ? a->hi : node.hi;
  node.args = {std::move(a)};
  return raw(std::move(node));
}

Expr splat(Expr a, int lanes) {
  if (a.type().lanes == lanes) return a;
  check(a.type().lanes == 1, "splat of a vector");
  ExprNode node;
  node.op = Op::splat;
  node.type = {a.type().dtype, lanes};
  node.args = {std::move(a)};
  return raw(std::move(node));
}

Expr ramp(Expr a, Type type) {
  ExprNode node;
  node.op = Op::ramp;
  node.type = type;
  node.args = {std::move(a)};
  return raw(std::move(node));
}

Expr call(std::string name, Type type, std::vector<Expr> args) {
  ExprNode node;
  node.op = Op::call;
  node.type = type;
  node.name = std::move(name);
  for (Expr& e : args) node.args.push_back(splat(std::move(e), type.lanes));
  return raw(std::move(node));
}

Expr load(std::string array, DType stored, std::vector<Expr> indices, int lanes) {
  ExprNode node;
  node.op = Op::load;
  node.type = {stored == DType::f16 || stored == DType::bf16 ? DType::f32 : stored, lanes};
  node.stored = stored;
  node.name = std::move(array);
  node.args = std::move(indices);
  return raw(std::move(node));
}

Expr gather(std::string array, DType stored, Expr base, Expr stride, int lanes) {
  ExprNode node = *load(std::move(array), stored, {std::move(base), std::move(stride)}, lanes);
  node.op = Op::gather;
  return raw(std::move(node));
}

Expr substitute(const Expr& e, const std::string& name, const Expr& value) {
  if (e->op == Op::var) return e->name == name ? value : e;
  if (!mentions(e, name)) return e;
  std::vector<Expr> args;
  for (const Expr& a : e->args) args.push_back(substitute(a, name, value));
  return rebuilt(e, std::move(args));
}

bool mentions(const Expr& e, const std::string& name) {
  if (e->op == Op::var) return e->name == name;
  for (const Expr& a : e->args)
    if (mentions(a, name)) return true;
  return false;
}

Stride stride_of(const Expr& e, const std::string& name) {
  Stride stride{true, 0};
  for (const Term& t : affine_of(e).terms) {
    if (t.atom->op == Op::var && t.atom->name == name)
      stride.step += t.factor;
    else if (mentions(t.atom, name))
      stride.known = false;
  }
  return stride;
}

int64_t divisor_of(const Expr& e) {
  const Affine a = affine_of(e);
  int64_t divisor = 64;
  auto limit = [&](int64_t x) {
    while (x % divisor != 0) divisor /= 2;
  };
  limit(a.constant);
  for (const Term& t : a.terms) limit(t.factor);
  return divisor;
}

std::string to_text(const Expr& e) {
  static const char* const names[] = {"imm", "var", "+",   "-",      "*",    "/",     "%",    "min",  "max",  "<",
                                      "<=",  "==",  "!=",  "&&",     "||",   "!",     "&",    "|",    "^",    "~",
                                      "<<",  ">>",  "neg", "select", "cast", "splat", "ramp", "call", "load", "gather"};
  if (e->op == Op::imm) return is_float(e->type.dtype) ? std::to_string(e->real) : std::to_string(e->integer);
  if (e->op == Op::var) return e->name;
  std::string text = std::string("(") + names[static_cast<size_t>(e->op)];
  if (!e->name.empty()) text += " " + e->name;
  for (const Expr& a : e->args) text += " " + to_text(a);
  return text + ")";
}

For loop(Bind bind, std::string name, Expr begin, Expr end, Block body, Expr step) {
  return {bind,           std::move(name), std::move(begin),
          std::move(end), std::move(step), std::make_shared<Block>(std::move(body))};
}

If branch(Expr condition, Block then, Block otherwise) {
  If result{std::move(condition), std::make_shared<Block>(std::move(then)), nullptr};
  if (!otherwise.empty()) result.otherwise = std::make_shared<Block>(std::move(otherwise));
  return result;
}

}  // namespace kw::kernel::tile
