#pragma once
#include <map>
#include <string>

#include "kernel/emit/dialect.h"

namespace kw::kernel::emit {

/// Prints expressions of one function.
class ExprPrinter {
 public:
  /// wide_masks: boolean vectors are as wide as f64 and i64 lanes (else as f32 and i32 lanes).
  ExprPrinter(const Dialect& dialect, bool wide_masks) : dialect_(dialect), wide_masks_(wide_masks) {}
  std::string print(const tile::Expr& e) const;
  std::string type_name(tile::Type type) const;
  /// The type of a variable that holds `e`: narrower than type_name where the dialect has a narrow index type and the
  /// known range fits.
  std::string value_type(const tile::Expr& e) const;
  bool is_narrow(const tile::Expr& e) const;
  /// "f32v", "mask32v": the tail of vector type and function names.
  std::string vector_suffix(DType dtype) const;
  /// Registers of arrays: Alloc'd names whose indices become part of the name.
  std::map<std::string, bool> registers;

 private:
  std::string literal(const tile::ExprNode& e) const;
  std::string operation(const tile::ExprNode& e) const;
  std::string selection(const tile::ExprNode& e) const;
  std::string conversion(const tile::ExprNode& e) const;
  std::string memory(const tile::ExprNode& e) const;
  std::string invocation(const tile::ExprNode& e) const;
  std::string integer_division(const tile::ExprNode& e) const;
  /// Whether an operation on i64 must not be computed in the narrow type.
  bool widens(const tile::ExprNode& e) const;
  std::string widened(const tile::Expr& e) const;
  const Dialect& dialect_;
  bool wide_masks_;
};

/// "acc_3_1".
std::string register_name(const std::string& array, const std::vector<tile::Expr>& index);
std::string function_name(const Dialect& dialect, const std::string& name);

}  // namespace kw::kernel::emit
