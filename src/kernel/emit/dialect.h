#pragma once
#include <array>
#include <map>
#include <string>
#include <vector>

#include "kernel/tile.h"

namespace kw::kernel::emit {

/// One C-like language: all that differs between C++, MSL and CUDA C++ as table entries. A call "exp" prints as
/// prefix + "exp" unless `functions` says otherwise.
///
/// The C++ dialect rests on the prelude, which must define, overloaded for the types in brackets
/// (F = float, double, kw_f32v, kw_f64v; V = kw_f32v, kw_i32v, kw_f64v, kw_i64v; the mask of a kw_f32v is a kw_i32v and
/// that of a kw_f64v a kw_i64v, each lane 0 or -1):
///   kw_NAME(F) for every float row NAME of graph's scalar table ("kw_exp", "kw_rsqrt", "kw_sigmoid", "kw_pow", ...);
///   kw_max, kw_min (F: NaN-propagating; int64_t, int32_t); kw_floor_div, kw_remainder (sign of the divisor), kw_fmod
///   (float, double, int64_t, int32_t); kw_is_nan(F), kw_is_inf(F) (bool or mask);
///   kw_round_f16(F), kw_round_bf16(F): to that type and back; kw_to_f32(kw_f16 | kw_bf16), kw_to_f16,
///   kw_to_bf16(float); kw_select(mask, V, V); kw_load_f32v(const T*) for T float, kw_f16, kw_bf16; kw_load_f64v(const
///   double*), kw_load_i32v(const int32_t*), kw_load_i64v(const int64_t*), kw_load_mask32v and kw_load_mask64v(const
///   unsigned char*); kw_store_f32v(T*, kw_f32v) and so on with the same names (masks store 0 or 1);
///   kw_gather_f32v(const float*, int64_t stride), and f64v, i32v, i64v;
///   kw_splat_f32v(float), and f64v, i32v, i64v; kw_splat_mask32v(bool), kw_splat_mask64v(bool); kw_ramp_i64v(int64_t);
///   kw_convert_f32v(kw_i32v), kw_convert_i32v(kw_f32v) (towards zero), kw_convert_f64v(kw_i64v), kw_convert_i64v;
///   kw_reduce_sum, _prod, _max, _min(V): over lanes, to a scalar.
struct Dialect {
  std::string name;                           // "cpp", "msl", "cuda"
  std::string prefix;                         // of functions and vector types
  std::map<DType, std::string> scalar_types;  // in registers
  std::map<DType, std::string> stored_types;  // in memory
  std::map<tile::Space, std::string> spaces;  // qualifier of an Alloc, with a blank after it
  std::string kernel_head;                    // "KW_KERNEL void"
  std::string pointer_qualifier;              // after the '*', with blanks
  std::string global_space;                   // before a pointer's type: "device " in MSL
  std::string scalar_param;                   // fmt of a scalar parameter's type and name
  std::string param_suffix;                   // fmt of what follows a parameter, by its number
  std::string group_attribute;                // fmt of what precedes a kernel, by its threads a group; or empty
  std::string group_param;                    // last parameter of a kernel
  std::array<std::string, 3> grid_index;      // group coordinates
  std::string lane_index;                     // position in a simdgroup
  std::string simd_index;                     // number of the simdgroup in its group
  std::string thread_index;                   // number of the thread in its group
  /// Parameters that a kernel has where its body uses them: name, declaration.
  std::vector<std::pair<std::string, std::string>> coordinates;
  std::string narrow_index;  // type of indices that are known to fit into 32 bits; empty: as all i64
  std::map<DType, std::string> fragment_types;
  std::map<tile::Space, std::string> barriers;   // statements
  std::string vector_hint;                       // line before a loop bound to vector
  std::map<std::string, std::string> functions;  // IR name -> printed name
  std::map<std::string, std::string> literals;   // "inf", "nan", "f32_suffix"
};

const Dialect& cpp_dialect();
const Dialect& msl_dialect();
/// "cpp" or "msl".
const Dialect& dialect_of(const std::string& name);

}  // namespace kw::kernel::emit
