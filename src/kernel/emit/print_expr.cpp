#include "kernel/emit/print_expr.h"

#include <fmt/format.h>

#include <cmath>

#include "base/result.h"

namespace kw::kernel::emit {
namespace {

using tile::Expr;
using tile::ExprNode;
using tile::Op;

struct OperatorRow {
  Op op;
  const char* scalar;
  const char* mask;  // on boolean vectors, where it differs
};
constexpr OperatorRow operators[] = {
    {Op::add, "+", nullptr},  {Op::sub, "-", nullptr},  {Op::mul, "*", nullptr},  {Op::div, "/", nullptr},
    {Op::lt, "<", nullptr},   {Op::le, "<=", nullptr},  {Op::eq, "==", nullptr},  {Op::ne, "!=", "^"},
    {Op::land, "&&", "&"},    {Op::lor, "||", "|"},     {Op::band, "&", nullptr}, {Op::bor, "|", nullptr},
    {Op::bxor, "^", nullptr}, {Op::shl, "<<", nullptr}, {Op::shr, ">>", nullptr},
};

const OperatorRow* operator_row(Op op) {
  for (const OperatorRow& row : operators)
    if (row.op == op) return &row;
  return nullptr;
}

std::string real_literal(double value, DType dtype, const Dialect& d) {
  if (std::isnan(value)) return fmt::format("{}({})", d.scalar_types.at(dtype), d.literals.at("nan"));
  if (std::isinf(value))
    return fmt::format("{}({}{})", d.scalar_types.at(dtype), value < 0 ? "-" : "", d.literals.at("inf"));
  const bool narrow = dtype != DType::f64;
  std::string text = narrow ? fmt::format("{}", static_cast<float>(value)) : fmt::format("{}", value);
  if (text == "inf" || text == "-inf") return real_literal(text[0] == '-' ? -INFINITY : INFINITY, dtype, d);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  if (narrow) text += d.literals.at("f32_suffix");
  return text[0] == '-' ? "(" + text + ")" : text;
}

}  // namespace

std::string register_name(const std::string& array, const std::vector<Expr>& index) {
  std::string name = array;
  for (const Expr& e : index) {
    check(e->op == Op::imm, "register index is not constant");
    name += fmt::format("_{}", e->integer);
  }
  return name;
}

std::string function_name(const Dialect& dialect, const std::string& name) {
  const auto found = dialect.functions.find(name);
  return found == dialect.functions.end() ? dialect.prefix + name : found->second;
}

std::string ExprPrinter::vector_suffix(DType dtype) const {
  if (dtype == DType::boolean) return wide_masks_ ? "mask64v" : "mask32v";
  return std::string(name_of(dtype)) + "v";
}

std::string ExprPrinter::type_name(tile::Type type) const {
  if (type.lanes == 1) return dialect_.scalar_types.at(type.dtype);
  if (type.dtype == DType::boolean) return dialect_.prefix + (wide_masks_ ? "i64v" : "i32v");
  return dialect_.prefix + vector_suffix(type.dtype);
}

bool ExprPrinter::is_narrow(const Expr& e) const {
  return !dialect_.narrow_index.empty() && e.type() == tile::index_type && e->lo > INT32_MIN && e->hi < INT32_MAX;
}

bool ExprPrinter::widens(const ExprNode& e) const {
  if (dialect_.narrow_index.empty() || e.type != tile::index_type) return false;
  bool narrow = e.lo > INT32_MIN && e.hi < INT32_MAX;
  for (const Expr& a : e.args) narrow = narrow && is_narrow(a);
  return !narrow;
}

std::string ExprPrinter::widened(const Expr& e) const {
  return fmt::format("{}({})", dialect_.scalar_types.at(DType::i64), print(e));
}

std::string ExprPrinter::value_type(const Expr& e) const {
  return is_narrow(e) ? dialect_.narrow_index : type_name(e.type());
}

std::string ExprPrinter::literal(const ExprNode& e) const {
  if (is_float(e.type.dtype)) return real_literal(e.real, e.type.dtype, dialect_);
  if (e.type.dtype == DType::boolean) return e.integer ? "true" : "false";
  const std::string& suffix = dialect_.literals.at("i64_suffix");
  if (e.integer == INT64_MIN) return fmt::format("(-9223372036854775807{} - 1)", suffix);
  const bool wide = e.integer > INT32_MAX || e.integer <= INT32_MIN;
  const std::string text = fmt::format("{}{}", e.integer, wide ? suffix : "");
  return e.integer < 0 ? "(" + text + ")" : text;
}

std::string ExprPrinter::integer_division(const ExprNode& e) const {
  const bool plain = e.args[0]->lo >= 0 && e.args[1]->lo > 0;
  const std::string a = print(e.args[0]), b = print(e.args[1]);
  const char* sign = e.op == Op::div ? "/" : "%";
  if (plain && widens(e)) return fmt::format("({} {} {})", widened(e.args[0]), sign, widened(e.args[1]));
  if (plain) return fmt::format("({} {} {})", a, sign, b);
  const std::string type = type_name(e.type);
  return fmt::format("{}({}({}), {}({}))", function_name(dialect_, e.op == Op::div ? "floor_div" : "remainder"), type,
                     a, type, b);
}

std::string ExprPrinter::operation(const ExprNode& e) const {
  const bool integer = !is_float(e.type.dtype);
  if ((e.op == Op::div || e.op == Op::mod) && integer) return integer_division(e);
  if (e.op == Op::min || e.op == Op::max) {
    const std::string type = type_name(e.type);
    return fmt::format("{}({}({}), {}({}))", function_name(dialect_, e.op == Op::min ? "min" : "max"), type,
                       print(e.args[0]), type, print(e.args[1]));
  }
  const OperatorRow* row = operator_row(e.op);
  check(row != nullptr, "operator without a row");
  const bool on_masks = e.type.lanes > 1 && row->mask && e.args[0].type().dtype == DType::boolean;
  if (widens(e)) return fmt::format("({} {} {})", widened(e.args[0]), row->scalar, widened(e.args[1]));
  return fmt::format("({} {} {})", print(e.args[0]), on_masks ? row->mask : row->scalar, print(e.args[1]));
}

std::string ExprPrinter::selection(const ExprNode& e) const {
  const char* form = e.args[0].type().lanes == 1 ? "({1} ? {2} : {3})" : "{0}({1}, {2}, {3})";
  return fmt::format(fmt::runtime(form), function_name(dialect_, "select"), print(e.args[0]), print(e.args[1]),
                     print(e.args[2]));
}

std::string ExprPrinter::conversion(const ExprNode& e) const {
  const std::string inner = print(e.args[0]);
  const tile::Type from = e.args[0].type();
  if (e.type.lanes == 1) {
    if (e.type.dtype == DType::boolean) return fmt::format("({} != 0)", inner);
    return fmt::format("static_cast<{}>({})", type_name(e.type), inner);
  }
  const std::string to_type = type_name(e.type);
  if (e.type.dtype == DType::boolean) return fmt::format("({} != {}{{}})", inner, type_name(from));
  if (from.dtype == DType::boolean) {
    const std::string one = fmt::format("{}({}(1))", function_name(dialect_, "splat_" + vector_suffix(e.type.dtype)),
                                        dialect_.scalar_types.at(e.type.dtype));
    return fmt::format("{}({}, {}, {}{{}})", function_name(dialect_, "select"), inner, one, to_type);
  }
  return fmt::format("{}({})", function_name(dialect_, "convert_" + vector_suffix(e.type.dtype)), inner);
}

std::string ExprPrinter::memory(const ExprNode& e) const {
  if (registers.contains(e.name)) return register_name(e.name, e.args);
  if (e.op == Op::gather)
    return fmt::format("{}({} + {}, {})", function_name(dialect_, "gather_" + vector_suffix(e.type.dtype)), e.name,
                       print(e.args[0]), print(e.args[1]));
  const std::string index = print(e.args[0]);
  if (e.type.lanes > 1)
    return fmt::format("{}({} + {})", function_name(dialect_, "load_" + vector_suffix(e.type.dtype)), e.name, index);
  if (e.stored == DType::f16 || e.stored == DType::bf16)
    return fmt::format("{}({}[{}])", function_name(dialect_, "to_f32"), e.name, index);
  if (e.stored == DType::boolean) return fmt::format("({}[{}] != 0)", e.name, index);
  return fmt::format("{}[{}]", e.name, index);
}

std::string ExprPrinter::invocation(const ExprNode& e) const {
  std::string args;
  for (const Expr& a : e.args) {
    // A literal's C++ type may be narrower than its own: overloads need the exact one.
    const bool exact = is_float(a.type().dtype) || a.type().lanes > 1;
    args += (args.empty() ? "" : ", ") + (exact ? print(a) : fmt::format("{}({})", type_name(a.type()), print(a)));
  }
  return fmt::format("{}({})", function_name(dialect_, e.name), args);
}

std::string ExprPrinter::print(const Expr& expr) const {
  const ExprNode& e = *expr;
  switch (e.op) {
    case Op::imm:
      return literal(e);
    case Op::var:
      return e.name;
    case Op::neg:
      return "(-" + print(e.args[0]) + ")";
    case Op::bnot:
      return "(~" + print(e.args[0]) + ")";
    case Op::lnot:
      return (e.type.lanes == 1 ? "(!" : "(~") + print(e.args[0]) + ")";
    case Op::select:
      return selection(e);
    case Op::cast:
      return conversion(e);
    case Op::splat:
      if (e.type.dtype == DType::boolean)
        return fmt::format("{}({} ? -1 : 0)", function_name(dialect_, wide_masks_ ? "splat_i64v" : "splat_i32v"),
                           print(e.args[0]));
      return fmt::format("{}({}({}))", function_name(dialect_, "splat_" + vector_suffix(e.type.dtype)),
                         dialect_.scalar_types.at(e.type.dtype), print(e.args[0]));
    case Op::ramp:
      return fmt::format("{}({})", function_name(dialect_, "ramp_" + vector_suffix(e.type.dtype)), print(e.args[0]));
    case Op::call:
      return invocation(e);
    case Op::load:
    case Op::gather:
      return memory(e);
    default:
      return operation(e);
  }
}

}  // namespace kw::kernel::emit
