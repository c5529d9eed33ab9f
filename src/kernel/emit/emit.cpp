#include "kernel/emit/emit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>

#include "base/result.h"
#include "kernel/emit/print_expr.h"
#include "kernel/spec.h"

namespace kw::kernel::emit {
namespace {

using namespace tile;

bool has_wide_vector(const Expr& e) {
  if (e.type().lanes > 1 && (e.type().dtype == DType::f64 || e.type().dtype == DType::i64)) return true;
  for (const Expr& a : e->args)
    if (has_wide_vector(a)) return true;
  return false;
}

bool has_wide_vector(const Block& block);
bool has_wide_vector(const Stmt& stmt) {
  auto child = [](const std::shared_ptr<Block>& b) { return b && has_wide_vector(*b); };
  if (auto* s = std::get_if<For>(&stmt.base())) return child(s->body);
  if (auto* s = std::get_if<If>(&stmt.base())) return child(s->then) || child(s->otherwise);
  if (auto* s = std::get_if<Let>(&stmt.base())) return has_wide_vector(s->value);
  if (auto* s = std::get_if<Assign>(&stmt.base())) return has_wide_vector(s->value);
  if (auto* s = std::get_if<Store>(&stmt.base())) return has_wide_vector(s->value);
  if (auto* s = std::get_if<LaneReduce>(&stmt.base())) return has_wide_vector(s->value);
  return false;
}
bool has_wide_vector(const Block& block) {
  for (const Stmt& s : block)
    if (has_wide_vector(s)) return true;
  return false;
}

class Printer {
 public:
  Printer(const Function& function, const Dialect& dialect)
      : function_(function), d_(dialect), exprs_(dialect, has_wide_vector(function.body)) {}

  std::string text() {
    block(function_.body);
    line("}");
    return head() + out_;
  }

 private:
  /// After the body: it tells which coordinates are used.
  std::string head() const {
    std::vector<std::string> params;
    for (const Param& p : function_.params) {
      const std::string suffix = d_.param_suffix;
      params.push_back(param(p) + (suffix.empty() ? "" : fmt::format(fmt::runtime(suffix), params.size())));
    }
    if (!d_.group_param.empty()) params.push_back(d_.group_param);
    for (const auto& [name, declaration] : d_.coordinates)
      if (out_.find(name) != std::string::npos) params.push_back(declaration);
    const std::string attribute =
        d_.group_attribute.empty() ? "" : fmt::format(fmt::runtime(d_.group_attribute), function_.group);
    return fmt::format("{}{} {}({}) {{\n", attribute, d_.kernel_head, function_.name, fmt::join(params, ", "));
  }

  std::string param(const Param& p) const {
    if (!p.array) return fmt::format(fmt::runtime(d_.scalar_param), d_.scalar_types.at(p.dtype), p.name);
    return fmt::format("{}{}{}{}{}", d_.global_space, p.written ? "" : "const ", d_.stored_types.at(p.dtype),
                       d_.pointer_qualifier, p.name);
  }

  void line(const std::string& text) {
    out_.append(static_cast<size_t>(2 * depth_), ' ');
    out_ += text + "\n";
  }

  /// The expression with unrolled variables put in.
  Expr bound(Expr e) const {
    for (const auto& [name, value] : unrolled_) e = substitute(e, name, Expr(value));
    return e;
  }
  std::vector<Expr> bound(std::vector<Expr> list) const {
    for (Expr& e : list) e = bound(e);
    return list;
  }
  std::string print(const Expr& e) const { return exprs_.print(bound(e)); }

  void block(const Block& statements) {
    ++depth_;
    for (const Stmt& s : statements) std::visit([this](const auto& x) { write(x); }, s.base());
    --depth_;
  }

  void write(const For& f) {
    if (f.bind == Bind::grid) return write_grid(f);
    if (f.bind == Bind::unroll) return write_unrolled(f);
    if (f.bind == Bind::block || f.bind == Bind::simd || f.bind == Bind::lane) return write_shared_out(f);
    if (f.bind == Bind::vector && !d_.vector_hint.empty()) line(d_.vector_hint);
    const std::string step = f.step.is_constant(1) ? "++" + f.var : f.var + " += " + print(f.step);
    line(fmt::format("for ({0} {1} = {2}; {1} < {3}; {4}) {{", counter_type(f), f.var, print(f.begin), print(f.end),
                     step));
    block(*f.body);
    line("}");
  }

  std::string counter_type(const For& f) const {
    const bool narrow = exprs_.is_narrow(f.begin) && exprs_.is_narrow(f.end);
    return narrow ? d_.narrow_index : d_.scalar_types.at(DType::i64);
  }

  /// Turns that the threads (or simdgroups, or lanes) of a group share: no loop where each has one at most.
  void write_shared_out(const For& f) {
    const int width = f.bind == Bind::block ? function_.group : f.bind == Bind::lane ? 32 : function_.group / 32;
    const std::string& mine = f.bind == Bind::block  ? d_.thread_index
                              : f.bind == Bind::lane ? d_.lane_index
                                                     : d_.simd_index;
    check(f.step.is_constant(1), "a loop that is shared out has another step");
    if (f.begin.is_constant(0) && f.end->op == Op::imm && f.end->integer <= width) {
      line(f.end->integer == width ? "{" : fmt::format("if ({} < {}) {{", mine, f.end->integer));
      ++depth_;
      line(fmt::format("const {} {} = {};", counter_type(f), f.var, mine));
      --depth_;
    } else {
      const std::string from = f.begin.is_constant(0) ? mine : fmt::format("{} + {}", print(f.begin), mine);
      line(fmt::format("for ({0} {1} = {2}; {1} < {3}; {1} += {4}) {{", counter_type(f), f.var, from, print(f.end),
                       width));
    }
    block(*f.body);
    line("}");
  }

  void write_grid(const For& f) {
    check(grid_ < d_.grid_index.size(), "more than three grid loops");
    const std::string index = d_.grid_index[grid_++];
    const bool plain = f.begin.is_constant(0) && f.step.is_constant(1);
    const std::string value = plain ? index : fmt::format("{} + {} * {}", print(f.begin), print(f.step), index);
    line(fmt::format("const {} {} = {};", counter_type(f), f.var, value));
    --depth_;
    block(*f.body);
    ++depth_;
  }

  void write_unrolled(const For& f) {
    const int64_t begin = bound(f.begin)->integer, end = bound(f.end)->integer, step = bound(f.step)->integer;
    for (int64_t i = begin; i < end; i += step) {
      unrolled_.emplace_back(f.var, i);
      const bool scoped = declares(*f.body);
      if (scoped) line("{");
      depth_ -= scoped ? 0 : 1;
      block(*f.body);
      depth_ += scoped ? 0 : 1;
      if (scoped) line("}");
      unrolled_.pop_back();
    }
  }

  static bool declares(const Block& b) {
    for (const Stmt& s : b)
      if (std::holds_alternative<Let>(s.base()) || std::holds_alternative<Alloc>(s.base()) ||
          std::holds_alternative<LaneReduce>(s.base()))
        return true;
    return false;
  }

  void write(const Alloc& a) {
    if (a.space == Space::fragment) return write_registers(a, d_.fragment_types.at(a.type.dtype));
    const std::string type = exprs_.type_name(a.type);
    if (a.space == Space::reg || a.shape.empty()) return write_registers(a, type);
    int64_t count = 1;
    for (int64_t n : a.shape) count *= n;
    const std::string stored = a.type.lanes == 1 ? d_.stored_types.at(a.type.dtype) : type;
    line(fmt::format("{}{} {}[{}];", d_.spaces.at(a.space), stored, a.name, count));
  }

  void write_registers(const Alloc& a, const std::string& type) {
    exprs_.registers[a.name] = true;
    std::vector<Expr> index(a.shape.size(), Expr(0));
    std::function<void(size_t)> each = [&](size_t axis) {
      if (axis == a.shape.size()) return line(fmt::format("{} {};", type, register_name(a.name, index)));
      for (int64_t i = 0; i < a.shape[axis]; ++i) {
        index[axis] = Expr(i);
        each(axis + 1);
      }
    };
    each(0);
  }

  void write(const Let& l) {
    line(fmt::format("const {} {} = {};", exprs_.value_type(bound(l.value)), l.name, print(l.value)));
  }

  void write(const Assign& a) { line(fmt::format("{} = {};", register_name(a.name, bound(a.index)), print(a.value))); }

  void write(const Store& s) {
    const std::string index = print(s.index.at(0)), value = print(s.value);
    const Type type = s.value.type();
    if (type.lanes > 1)
      return line(fmt::format("{}({} + {}, {});", function_name(d_, "store_" + exprs_.vector_suffix(type.dtype)),
                              s.array, index, value));
    const bool half = s.stored == DType::f16 || s.stored == DType::bf16;
    const std::string rounded =
        half ? fmt::format("{}({})", function_name(d_, s.stored == DType::f16 ? "to_f16" : "to_bf16"), value) : value;
    line(fmt::format("{}[{}] = {};", s.array, index, rounded));
  }

  void write(const If& i) {
    const Expr condition = bound(i.condition);
    if (condition->op == Op::imm) {
      const auto& taken = condition->integer ? i.then : i.otherwise;
      if (!taken) return;
      line("{");
      block(*taken);
      return line("}");
    }
    line(fmt::format("if ({}) {{", exprs_.print(condition)));
    block(*i.then);
    if (i.otherwise) {
      line("} else {");
      block(*i.otherwise);
    }
    line("}");
  }

  void write(const Mma& m) {
    const std::string acc = register_name(m.acc, bound(m.acc_index));
    line(fmt::format("simdgroup_multiply_accumulate({0}, {1}, {2}, {0});", acc, register_name(m.a, bound(m.a_index)),
                     register_name(m.b, bound(m.b_index))));
  }
  void write(const FragmentFill& f) {
    line(fmt::format("{} = make_filled_simdgroup_matrix<float, 8, 8>({});", register_name(f.name, bound(f.index)),
                     print(imm(f.value, {DType::f32, 1}))));
  }
  void write(const FragmentAdd& a) {
    const std::string to = register_name(a.to, bound(a.index)), from = register_name(a.from, bound(a.index));
    for (int i : {0, 1}) line(fmt::format("{0}.thread_elements()[{2}] += {1}.thread_elements()[{2}];", to, from, i));
  }
  void write(const FragmentLoad& l) {
    const char* tail = l.transposed ? ", ulong2(0, 0), true" : "";
    line(fmt::format("simdgroup_load({}, {} + {}, {}{});", register_name(l.name, bound(l.index)), l.array,
                     print(l.place), l.row_step, tail));
  }
  void write(const FragmentStore& s) {
    line(fmt::format("simdgroup_store({}, {} + {}, {});", register_name(s.name, bound(s.index)), s.array,
                     print(s.place), s.row_step));
  }
  void write(const AsyncCopy& c) {
    line(fmt::format("{}({} + {}, {} + {}, {});", function_name(d_, "async_copy"), c.to, print(c.to_index), c.from,
                     print(c.from_index), print(c.count)));
  }
  void write(const Wait& w) { line(fmt::format("{}({});", function_name(d_, "wait"), w.pending)); }
  void write(const Barrier& b) {
    const auto found = d_.barriers.find(b.space);
    if (found != d_.barriers.end()) line(found->second);
  }
  void write(const LaneReduce& r) {
    static const char* const names[] = {"reduce_sum", "reduce_prod", "reduce_max", "reduce_min"};
    check(static_cast<size_t>(r.op) < 4, "lane reduction without a row");
    line(fmt::format("const {} {} = {}({});", d_.scalar_types.at(r.value.type().dtype), r.name,
                     function_name(d_, names[static_cast<size_t>(r.op)]), print(r.value)));
  }
  void write(const Atomic& a) {
    line(fmt::format("{}(&{}[{}], {});", function_name(d_, "atomic"), a.array, print(a.index), print(a.value)));
  }
  void write(const CallStmt& c) {
    std::string args;
    for (const Expr& e : c.args) args += (args.empty() ? "" : ", ") + print(e);
    line(fmt::format("{}({});", c.function, args));
  }

  const Function& function_;
  const Dialect& d_;
  ExprPrinter exprs_;
  std::string out_;
  int depth_ = 0;
  size_t grid_ = 0;
  std::vector<std::pair<std::string, int64_t>> unrolled_;
};

}  // namespace

std::string emit(const Function& function, const Dialect& dialect) {
  const std::string fault = find_fault(function);
  check(fault.empty(), ("tile function " + function.name + ": " + fault).c_str());
  return Printer(function, dialect).text();
}

}  // namespace kw::kernel::emit
