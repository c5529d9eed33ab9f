#include "runtime/isa.h"

namespace kw::runtime {

#if defined(__x86_64__)
// Each set is what the compiler may use under the flags of that variant (x86-64-v4 without VL-only extras, x86-64-v3).
bool isa_runs(std::string_view isa) {
  if (isa.empty() || isa == "scalar") return true;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (isa == "avx2") return avx2;
  return isa == "avx512" && avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#elif defined(__aarch64__)
bool isa_runs(std::string_view isa) { return isa.empty() || isa == "scalar" || isa == "neon"; }
#else
bool isa_runs(std::string_view isa) { return isa.empty() || isa == "scalar"; }
#endif

std::string_view best_isa() {
  for (std::string_view isa : {std::string_view("avx512"), std::string_view("avx2"), std::string_view("neon")})
    if (isa_runs(isa)) return isa;
  return "scalar";
}

}  // namespace kw::runtime
