#include "kernel/emit/dialect.h"

#include "base/result.h"

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
  d.scalar_param = "{} {}";
  d.group_param = "KwGroup group";
  d.grid_index = {"group.x", "group.y", "group.z"};
  d.lane_index = "0";
  d.barriers = {};  // one thread runs a group
  d.vector_hint = "#pragma GCC ivdep";
  d.literals = {{"inf", "__builtin_inf()"}, {"nan", "__builtin_nan(\"\")"}, {"f32_suffix", "f"}, {"i64_suffix", "ll"}};
  return d;
}

Dialect make_msl() {
  using tile::Space;
  Dialect d;
  d.name = "msl";
  d.prefix = "kw_";
  d.scalar_types = {{DType::f16, "float"},    {DType::bf16, "float"}, {DType::f32, "float"},
                    {DType::boolean, "bool"}, {DType::u8, "uchar"},   {DType::i8, "char"},
                    {DType::i16, "short"},    {DType::i32, "int"},    {DType::i64, "long"}};
  d.stored_types = d.scalar_types;
  d.stored_types[DType::f16] = "half";
  d.stored_types[DType::bf16] = "bfloat";
  d.stored_types[DType::boolean] = "uchar";
  d.spaces = {{Space::shared, "threadgroup "}, {Space::local, ""}, {Space::reg, ""}};
  d.kernel_head = "kernel void";
  d.pointer_qualifier = "* ";
  d.global_space = "device ";
  d.scalar_param = "constant {}& {}";
  d.param_suffix = " [[buffer({})]]";
  d.group_attribute = "[[max_total_threads_per_threadgroup({})]] ";
  d.coordinates = {{"kw_group", "uint3 kw_group [[threadgroup_position_in_grid]]"},
                   {"kw_thread", "uint kw_thread [[thread_index_in_threadgroup]]"},
                   {"kw_simdgroup", "uint kw_simdgroup [[simdgroup_index_in_threadgroup]]"},
                   {"kw_lane", "uint kw_lane [[thread_index_in_simdgroup]]"}};
  d.grid_index = {"int(kw_group.x)", "int(kw_group.y)", "int(kw_group.z)"};
  d.lane_index = "int(kw_lane)";
  d.simd_index = "int(kw_simdgroup)";
  d.thread_index = "int(kw_thread)";
  d.narrow_index = "int";
  d.barriers = {{Space::local, "simdgroup_barrier(mem_flags::mem_threadgroup);"},
                {Space::shared, "threadgroup_barrier(mem_flags::mem_threadgroup);"},
                {Space::global, "threadgroup_barrier(mem_flags::mem_device);"}};
  d.literals = {{"inf", "INFINITY"}, {"nan", "NAN"}, {"f32_suffix", "f"}, {"i64_suffix", "l"}};
  d.fragment_types = {
      {DType::f32, "simdgroup_float8x8"}, {DType::f16, "simdgroup_half8x8"}, {DType::bf16, "simdgroup_bfloat8x8"}};
  // Named so that a library built with fast math computes them no worse.
  for (const char* name : {"exp",  "exp2", "log",  "log2", "log10", "sqrt", "rsqrt", "sin",  "cos",   "tan",  "asin",
                           "acos", "atan", "sinh", "cosh", "tanh",  "pow",  "atan2", "fmod", "floor", "ceil", "trunc"})
    d.functions[name] = std::string("precise::") + name;
  d.functions["fma"] = "fma";
  d.functions["round"] = "precise::rint";
  d.functions["to_f32"] = "float";
  d.functions["to_f16"] = "half";
  d.functions["to_bf16"] = "bfloat";
  d.functions["reduce_sum"] = "simd_sum";
  d.functions["reduce_prod"] = "simd_product";
  d.functions["reduce_max"] = "kw_simd_max";
  d.functions["reduce_min"] = "kw_simd_min";
  return d;
}

}  // namespace

const Dialect& cpp_dialect() {
  static const Dialect dialect = make_cpp();
  return dialect;
}

const Dialect& msl_dialect() {
  static const Dialect dialect = make_msl();
  return dialect;
}

const Dialect& dialect_of(const std::string& name) {
  check(name == "cpp" || name == "msl", "no such dialect");
  return name == "msl" ? msl_dialect() : cpp_dialect();
}

}  // namespace kw::kernel::emit
