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

}  // namespace kw::emulator
