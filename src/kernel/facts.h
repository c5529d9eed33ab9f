#pragma once
#include <cstdint>
#include <string>

namespace kw::kernel {

/// What a schedule needs to know of a machine.
struct Facts {
  std::string isa = "avx2";  // "avx512", "avx2", "neon", "scalar"
  int threads = 1;
  int vector_bytes = 32;
  int vector_registers = 16;
  int64_t l1_bytes = 32 << 10, l2_bytes = 1 << 20, l3_bytes = 8 << 20;  // per core, per core, shared
  double flops_per_s = 1e11;                                            // f32 FMA with operands in L1, all threads
  double bytes_per_s = 1e10;                                            // copy, read plus written, all threads
  double launch_s = 1e-6;                                               // waking the pool and joining it
  int f32_lanes() const { return vector_bytes / 4; }
};

}  // namespace kw::kernel
