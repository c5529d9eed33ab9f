#include "kernel/emit/dialect.h"

namespace kw::kernel::emit {
namespace {

Dialect make_cpp() {
  using tile::Space;
  Dialect d;
  d.name = "cpp";
  d.prefix = "kw_";
  d.scalar_types = {{DType::f16, "float"},      {DType::bf16, "float"},   {DType::f32, "float"},
                    {DType::f64, "double"},     {DType::boolean, "bool"}, {DType::u8, "unsigned char"},
                    {DType::i8, "signed char"}, {DType::i16, "short"},    {DType::i32, "int32_t"},
                    {DType::i64, "int64_t"}};
  d.stored_types = d.scalar_types;
  d.stored_types[DType::f16] = "kw_f16";
  d.stored_types[DType::bf16] = "kw_bf16";
  d.stored_types[DType::boolean] = "unsigned char";
  d.spaces = {
      {Space::global, "static "}, {Space::shared, "alignas(64) "}, {Space::local, "alignas(64) "}, {Space::reg, ""}};
  d.kernel_head = "KW_KERNEL void";
  d.pointer_qualifier = "* __restrict ";
  d.group_param = "KwGroup group";
  d.grid_index = {"group.x", "group.y", "group.z"};
  d.lane_index = "0";
  d.barriers = {};  // one thread runs a group
  d.vector_hint = "#pragma GCC ivdep";
  d.literals = {{"inf", "__builtin_inf()"}, {"nan", "__builtin_nan(\"\")"}, {"f32_suffix", "f"}};
  return d;
}

}  // namespace

const Dialect& cpp_dialect() {
  static const Dialect dialect = make_cpp();
  return dialect;
}

}  // namespace kw::kernel::emit
