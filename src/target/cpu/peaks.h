#pragma once
#include <string>

namespace kw::target {

/// What this machine can do at best, measured on `threads` threads at once. f32; a multiply-add counts two.
struct MachinePeaks {
  std::string isa;  // instruction set measured: "avx512", "avx2" or "generic"
  int threads = 1;
  double register_flops_per_s = 0;  // FMA on registers alone
  double l1_flops_per_s = 0;        // FMA on a register tile fed from L1: the bound for matrix kernels
  double copy_bytes_per_s = 0;      // bytes read plus bytes written, arrays far larger than the last cache
  double seconds = 0;               // what measuring took
};

/// Measures with the best of many short rounds, so that a neighbour's noise costs time but not truth.
/// threads <= 0: all usable cores. Takes under 1.5 s. Falls back to smaller arrays when memory is short.
MachinePeaks measure_peaks(int threads = 0);

}  // namespace kw::target
