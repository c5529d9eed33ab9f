#pragma once
#include <map>
#include <string>
#include <vector>

#include "kernel/tile.h"

namespace kw::kernel::emit {

/// One C-like language: all that differs between C++, MSL and CUDA C++ as table entries.
///
/// The C++ dialect rests on the prelude, which must define, overloaded for the types in brackets
/// (F = float, double, kw_f32v, kw_f64v; V = kw_f32v, kw_i32v, kw_f64v, kw_i64v; a mask of kw_f32v is a kw_i32v and of
/// kw_f64v a kw_i64v, each lane 0 or -1):
///   kw_NAME(F) for every float row NAME of graph::scalar_table ("kw_exp", "kw_rsqrt", "kw_sigmoid", "kw_pow", ...),
///   kw_max, kw_min (F; NaN-propagating, and int64_t, int32_t), kw_floor_div, kw_remainder, kw_fmod (scalars),
///   kw_select(mask, V, V), kw_is_nan(F), kw_is_inf(F) (bool or mask), kw_load_f32v(const T*) for T float, kw_f16,
///   kw_bf16; kw_load_f64v(const double*), kw_load_i32v(const int32_t*), kw_load_i64v(const int64_t*),
///   kw_load_mask32v(const unsigned char*), kw_load_mask64v(const unsigned char*), kw_store_... the same names,
///   kw_gather_f32v(const float*, int64_t stride) (and f64v, i32v, i64v),
///   kw_to_f32(kw_f16 | kw_bf16), kw_to_f16(float), kw_to_bf16(float), kw_reduce_sum/prod/max/min(V) (over lanes),
///   kw_splat_f32v(float) (and f64v, i32v, i64v), kw_ramp_i32v(int64_t), kw_convert_f32v(kw_i32v),
///   kw_convert_i32v(...).
struct Dialect {
  std::string name;                            // "cpp", "msl", "cuda"
  std::map<DType, std::string> scalar_types;   // in registers
  std::map<DType, std::string> stored_types;   // in memory
  std::map<DType, std::string> vector_suffix;  // "f32v": the type is prefix + suffix
  std::string prefix;                          // of vector types and functions: "kw_"
  std::map<tile::Space, std::string> spaces;   // qualifier of an Alloc
  std::string kernel_head;                     // "KW_KERNEL void"
  std::string global_pointer;                  // "{}*" with the type
  std::string restrict_word;
  std::vector<std::string> group_params;            // parameters added to every kernel
  std::vector<std::string> grid_index, lane_index;  // of x, y, z
  std::string barrier;                              // statement
  std::map<std::string, std::string> functions;     // IR name -> printed name, where prefix + name is not it
  bool vectors = true;                              // has machine vectors
};

const Dialect& cpp_dialect();

}  // namespace kw::kernel::emit
