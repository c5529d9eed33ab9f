#include "emulator/stdlib/stdlib.h"

namespace kw::emulator {

std::span<const std::string_view> stdlib_names() {
  static constexpr std::string_view names[] = {
      "metal_stdlib",        "metal_algorithm",       "metal_array",     "metal_assert",
      "metal_atomic",        "metal_command_buffer",  "metal_common",    "metal_compute",
      "metal_config",        "metal_extended_vector", "metal_geometric", "metal_graphics",
      "metal_integer",       "metal_limits",          "metal_logging",   "metal_math",
      "metal_matrix",        "metal_numeric",         "metal_pack",      "metal_packed_vector",
      "metal_quadgroup",     "metal_relational",      "metal_simdgroup", "metal_simdgroup_matrix",
      "metal_stdint",        "metal_tensor",          "metal_tuple",     "metal_type_traits",
      "metal_types",         "metal_uniform",         "metal_utility",   "simd/simd.h",
      "TargetConditionals.h"};
  return names;
}

std::span<const std::string_view> cuda_header_names() {
  static constexpr std::string_view names[] = {"cuda_runtime.h",
                                               "cuda_runtime_api.h",
                                               "device_launch_parameters.h",
                                               "cuda.h",
                                               "vector_types.h",
                                               "vector_functions.h",
                                               "device_functions.h",
                                               "device_atomic_functions.h",
                                               "math_constants.h",
                                               "math_functions.h",
                                               "cuda_fp16.h",
                                               "cuda_bf16.h",
                                               "mma.h",
                                               "sm_30_intrinsics.h",
                                               "cooperative_groups.h",
                                               "cooperative_groups/reduce.h",
                                               "cooperative_groups/scan.h",
                                               "assert.h",
                                               "cassert",
                                               "cfloat",
                                               "climits",
                                               "cmath",
                                               "cstddef",
                                               "cstdint",
                                               "cstdio",
                                               "cstdlib",
                                               "cstring",
                                               "float.h",
                                               "limits",
                                               "limits.h",
                                               "math.h",
                                               "stddef.h",
                                               "stdint.h",
                                               "stdio.h",
                                               "string.h",
                                               "type_traits",
                                               "utility",
                                               "algorithm"};
  return names;
}

}  // namespace kw::emulator
