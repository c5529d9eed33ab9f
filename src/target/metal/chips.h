#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "target/target.h"

namespace kw::target {

/// What is known of an Apple chip's GPU, from public measurements and specifications; nothing of it is measured here.
struct Chip {
  std::string_view name;  // as --chip takes it
  std::string_view title;
  int cores;
  double clock_hz;           // of the GPU
  double bytes_per_s;        // of its memory, by specification
  double efficiency;         // share of the peak flops that dense arithmetic reaches
  double memory_efficiency;  // share of bytes_per_s that a copy reaches
  /// 128 lanes a core, one fused multiply-add each a cycle; half precision has the same rate.
  double flops_per_s() const { return 256.0 * cores * clock_hz; }
};

/// All chips, in the order in which they came.
const std::vector<Chip>& chips();
/// The chip of that name, or nullptr.
const Chip* find_chip(std::string_view name);
std::vector<std::string> chip_names();

/// Limits that hold on every chip.
struct MetalLimits {
  static constexpr int simd_width = 32, group_threads = 1024, buffers = 31;
  static constexpr int64_t threadgroup_bytes = 32 << 10, core_threadgroup_bytes = 60 << 10;
  static constexpr int core_simdgroups = 96, busy_simdgroups = 24;  // most resident; enough to hide latencies
};

/// What schedules ask of the chip.
Facts facts_of(const Chip& chip);

}  // namespace kw::target
