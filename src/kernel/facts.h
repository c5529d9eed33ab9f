#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace kw::kernel {

/// The vectors of an instruction set.
struct IsaRow {
  std::string_view isa;
  int vector_bytes, vector_registers;
};
inline constexpr IsaRow isa_table[] = {{"avx512", 64, 32}, {"avx2", 32, 16}, {"neon", 16, 32}, {"scalar", 16, 16}};

/// What a schedule needs to know of a machine.
struct Facts {
  std::string isa = "avx2";     // "avx512", "avx2", "neon", "scalar"; "msl" on Apple GPUs
  std::string dialect = "cpp";  // of the kernels: "cpp" or "msl"
  int threads = 1;
  int vector_bytes = 32;
  int vector_registers = 16;
  int64_t l1_bytes = 32 << 10, l2_bytes = 1 << 20, l3_bytes = 8 << 20;  // per core, per core, shared
  double flops_per_s = 1e11;                                            // f32 FMA with operands in L1, all threads
  double bytes_per_s = 1e10;                                            // copy, read plus written, all threads
  double launch_s = 1e-6;                                               // waking the pool and joining it
  int f32_lanes() const { return vector_bytes / 4; }
  /// Takes the name, and the vectors that the table has for it.
  void set_isa(std::string_view name) {
    isa = name;
    for (const IsaRow& row : isa_table)
      if (row.isa == name) vector_bytes = row.vector_bytes, vector_registers = row.vector_registers;
  }
};

}  // namespace kw::kernel
