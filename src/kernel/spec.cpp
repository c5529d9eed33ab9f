#include "kernel/spec.h"

#include <map>
#include <optional>

namespace kw::kernel::tile {
namespace {

/// What a name stands for.
struct Meaning {
  enum Kind { variable, global, array, registers, fragments } kind = variable;
  Type type;
  std::vector<int64_t> shape;
  bool written = true;
};

class Checker {
 public:
  std::string function(const Function& f) {
    for (const Param& p : f.params) {
      if (!p.array && p.written) return "scalar parameter " + p.name + " is written";
      define(p.name, {p.array ? Meaning::global : Meaning::variable, {p.dtype, 1}, {}, p.written});
    }
    block(f.body, true);
    return fault_;
  }

 private:
  void fail(std::string text) {
    if (fault_.empty()) fault_ = std::move(text);
  }
  void require(bool condition, const std::string& text) {
    if (!condition) fail(text);
  }

  void define(const std::string& name, Meaning meaning) {
    require(!name.empty(), "a name is empty");
    require(!names_.contains(name), name + " is defined twice");
    names_[name] = std::move(meaning);
  }
  const Meaning* find(const std::string& name) {
    const auto found = names_.find(name);
    if (found == names_.end()) fail(name + " is used before it is defined");
    return found == names_.end() ? nullptr : &found->second;
  }

  void index(const Expr& e, const std::string& what) {
    if (!e) return fail(what + " has no index");
    expr(e);
    require(e.type() == index_type, "index of " + what + " is no scalar i64");
  }

  /// Whether `e` is a constant once unrolled loops are expanded.
  bool is_static(const Expr& e) const {
    if (e->op == Op::var) return unrolled_.contains(e->name);
    if (e->op == Op::load || e->op == Op::gather || e->op == Op::call) return false;
    for (const Expr& a : e->args)
      if (!is_static(a)) return false;
    return true;
  }

  void place(const std::string& name, const std::vector<Expr>& indices, int lanes) {
    const Meaning* m = find(name);
    if (!m) return;
    for (const Expr& e : indices) index(e, name);
    if (m->kind == Meaning::registers) {
      require(indices.size() == m->shape.size(), "wrong rank of register array " + name);
      for (size_t i = 0; i < indices.size() && i < m->shape.size(); ++i) {
        require(is_static(indices[i]), "register array " + name + " is indexed by a variable");
        const bool inside =
            indices[i]->op != Op::imm || (indices[i]->integer >= 0 && indices[i]->integer < m->shape[i]);
        require(inside, "register array " + name + " is indexed out of range");
      }
      require(m->type.lanes == lanes, "lanes of register array " + name);
      return;
    }
    require(m->kind != Meaning::variable, name + " is no array");
    require(indices.size() == 1, name + " needs one flat index");
    if (m->kind != Meaning::array || indices.size() != 1) return;
    int64_t count = 1;
    for (int64_t n : m->shape) count *= n;
    const bool known = indices[0]->lo != INT64_MIN && indices[0]->hi != INT64_MAX;
    require(!known || (indices[0]->lo >= 0 && indices[0]->hi + lanes <= count),
            "local array " + name + " out of range");
  }

  void memory(const Expr& e) {
    const Meaning* m = find(e->name);
    if (!m) return;
    if (m->kind == Meaning::registers) return place(e->name, e->args, e->type.lanes);
    require(m->type.dtype == e->stored, "load of another dtype than " + e->name + " holds");
    if (e->op == Op::load) return place(e->name, e->args, e->type.lanes);
    require(e->args.size() == 2, "gather needs base and stride");
    for (const Expr& a : e->args) index(a, e->name);
  }

  void expr(const Expr& e) {
    if (!e) return fail("an expression is missing");
    if (e->op == Op::load || e->op == Op::gather) return memory(e);
    for (const Expr& a : e->args) expr(a);
    if (e->op == Op::var) return variable(e);
    for (const Expr& a : e->args)
      require(a.type().lanes == e.type().lanes || e->op == Op::splat || e->op == Op::ramp ||
                  (e->op == Op::select && &a == &e->args[0] && a.type().lanes == 1),
              "lanes differ in " + to_text(e));
    if (e->op == Op::select) {
      require(e->args[0].type().dtype == DType::boolean, "condition is no boolean in " + to_text(e));
      require(e->args[1].type() == e->args[2].type(), "branches differ in " + to_text(e));
    }
    if (e->op >= Op::add && e->op <= Op::ne)
      require(e->args[0].type() == e->args[1].type(), "operands differ in " + to_text(e));
  }

  void variable(const Expr& e) {
    const Meaning* m = find(e->name);
    if (!m) return;
    const bool scalar = m->kind == Meaning::variable || (m->kind == Meaning::registers && m->shape.empty());
    require(scalar, e->name + " is no variable");
    require(m->type == e.type(), "type of variable " + e->name);
  }

  void block(const Block& statements, bool top = false) {
    const auto outer = names_;
    for (const Stmt& s : statements) {
      if (const auto* f = std::get_if<For>(&s.base()); f && f->bind == Bind::grid) {
        require(top, "grid loop inside another statement");
        require(++grids_ <= 3, "more than three grid loops");
        loop(*f, true);
      } else {
        std::visit([this](const auto& x) { check(x); }, s.base());
      }
    }
    names_ = outer;
  }

  void loop(const For& f, bool top) {
    for (const Expr* e : {&f.begin, &f.end, &f.step}) index(*e, "loop " + f.var);
    const bool unrolled = f.bind == Bind::unroll;
    if (unrolled)
      require(is_static(f.begin) && is_static(f.end) && is_static(f.step), "unrolled loop " + f.var + " varies");
    if (!f.body) return fail("loop " + f.var + " has no body");
    const auto outer = names_;
    define(f.var, {Meaning::variable, index_type, {}, false});
    if (unrolled) unrolled_[f.var] = true;
    block(*f.body, top);
    unrolled_.erase(f.var);
    names_ = outer;
  }
  void check(const For& f) { loop(f, false); }

  void check(const Alloc& a) {
    const bool reg = a.space == Space::reg || a.shape.empty();
    for (int64_t n : a.shape) require(n > 0, "extent of " + a.name);
    const Meaning::Kind kind = reg ? Meaning::registers : Meaning::array;
    define(a.name, {a.space == Space::fragment ? Meaning::fragments : kind, a.type, a.shape, true});
  }
  void check(const Let& l) {
    expr(l.value);
    if (l.value) define(l.name, {Meaning::variable, l.value.type(), {}, false});
  }
  void check(const Assign& a) {
    expr(a.value);
    const Meaning* m = find(a.name);
    if (!m || !a.value) return;
    require(m->kind == Meaning::registers, "assignment to " + a.name + ", which is no register");
    require(m->type == a.value.type(), "type assigned to " + a.name);
    place(a.name, a.index, a.value.type().lanes);
  }
  void check(const Store& s) {
    expr(s.value);
    const Meaning* m = find(s.array);
    if (!m || !s.value) return;
    require(m->written, "store to " + s.array + ", which is read only");
    require(m->kind != Meaning::registers, "store to register array " + s.array);
    require(m->type.dtype == s.stored, "store of another dtype than " + s.array + " holds");
    const bool half = s.stored == DType::f16 || s.stored == DType::bf16;
    require(s.value.type().dtype == (half ? DType::f32 : s.stored), "type stored to " + s.array);
    place(s.array, s.index, s.value.type().lanes);
  }
  void check(const If& i) {
    expr(i.condition);
    if (i.condition) require(i.condition.type() == bool_type, "condition of an If is no scalar boolean");
    if (!i.then) return fail("an If has no body");
    block(*i.then);
    if (i.otherwise) block(*i.otherwise);
  }
  void fragment(const std::string& name, const std::vector<Expr>& index) {
    const Meaning* m = find(name);
    if (!m) return;
    require(m->kind == Meaning::fragments, name + " is no fragment");
    require(index.size() == m->shape.size(), "wrong rank of fragment array " + name);
    for (const Expr& e : index) require(is_static(e), "fragment array " + name + " is indexed by a variable");
  }
  void check(const Mma& m) { fragment(m.acc, m.acc_index), fragment(m.a, m.a_index), fragment(m.b, m.b_index); }
  void check(const FragmentFill& f) { fragment(f.name, f.index); }
  void check(const FragmentAdd& a) { fragment(a.to, a.index), fragment(a.from, a.index); }
  void check(const FragmentLoad& l) {
    fragment(l.name, l.index);
    index(l.place, l.array);
    require(l.row_step >= 8, "row step of a fragment of " + l.array);
    find(l.array);
  }
  void check(const FragmentStore& s) {
    fragment(s.name, s.index);
    index(s.place, s.array);
    find(s.array);
  }
  void check(const AsyncCopy& c) {
    find(c.to), find(c.from);
    index(c.to_index, c.to), index(c.from_index, c.from), index(c.count, c.to);
  }
  void check(const Wait& w) { require(w.pending >= 0, "negative wait"); }
  void check(const Barrier& b) { require(b.space != Space::reg, "barrier of registers"); }
  void check(const LaneReduce& r) {
    expr(r.value);
    if (r.value) define(r.name, {Meaning::variable, {r.value.type().dtype, 1}, {}, false});
  }
  void check(const Atomic& a) {
    expr(a.value);
    place(a.array, {a.index}, 1);
  }
  void check(const CallStmt& c) {
    require(!c.function.empty(), "call without a name");
    for (const Expr& e : c.args)
      if (const Meaning* m = e->op == Op::var ? find(e->name) : nullptr; !m) expr(e);
  }

  std::map<std::string, Meaning> names_;
  std::map<std::string, bool> unrolled_;
  std::string fault_;
  int grids_ = 0;
};

}  // namespace

std::string find_fault(const Function& function) { return Checker().function(function); }

}  // namespace kw::kernel::tile
