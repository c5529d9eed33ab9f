#pragma once
// The runtime's side of abi.h with one operating-system thread for each lane: slow, and without checks, but scheduled
// by someone else. One simdgroup; all lanes must come to every meeting.
#include <barrier>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "emulator/runtime/abi.h"

namespace thread_runtime {

inline constexpr int lanes = 32;
inline std::barrier<> meeting(lanes);
inline char slots[lanes * 64];
inline char group_memory[32768];
inline uint32_t group_used = 0;
inline std::mutex group_mutex;

/// Runs `entry` once on 32 threads of one threadgroup at position (2, 1, 0) of a 3x2x1 grid of threadgroups.
inline void run(KwEmuEntry entry, const KwEmuArgs& args) {
  static const KwEmuGroup group = {{2, 1, 0}, {16, 4, 0}, {8, 4, 1}, {8, 4, 1}, {3, 2, 1}, {24, 8, 1}, 1, 1};
  std::memset(group_memory, 0x7e, sizeof group_memory);
  std::vector<std::thread> threads;
  for (uint32_t lane = 0; lane < lanes; ++lane)
    threads.emplace_back([&, lane] {
      const KwEmuThread self = {{lane % 8, lane / 8, 0}, lane, lane, 0};
      kw_emu_current = {&self, &group, group_memory};
      entry(&args);
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace thread_runtime

extern "C" {
__thread KwEmuCurrent kw_emu_current __attribute__((tls_model("initial-exec")));
int kw_emu_next_thread() { return 0; }
uint32_t kw_emu_live_lanes() { return 0xffffffffu; }
void kw_emu_fence(uint32_t, uint32_t, KwEmuSite) {}
void kw_emu_atomic(const volatile void*, uint32_t, uint32_t, KwEmuSite) {}
void kw_emu_block(uint32_t, uint32_t, uint32_t) {}
void kw_emu_threadgroup_barrier(uint32_t, KwEmuSite) { thread_runtime::meeting.arrive_and_wait(); }
void kw_emu_simdgroup_barrier(uint32_t, KwEmuSite) { thread_runtime::meeting.arrive_and_wait(); }
void kw_emu_simd(void* value, uint32_t bytes, KwEmuCombine combine, uint32_t, KwEmuSite) {
  using namespace thread_runtime;
  const uint32_t lane = kw_emu_current.thread->lane;
  std::memcpy(slots + lane * 64, value, bytes);
  meeting.arrive_and_wait();
  if (lane == 0) combine(0xffffffffu, slots, 64);
  meeting.arrive_and_wait();
  std::memcpy(value, slots + lane * 64, bytes);
  meeting.arrive_and_wait();
}
void* kw_emu_group_variable_slow(KwEmuGroupSlot* slot) {
  using namespace thread_runtime;
  const std::scoped_lock lock(group_mutex);
  if (!slot->offset_plus_one) {
    const uint32_t at = (group_used + slot->align - 1) / slot->align * slot->align;
    group_used = at + slot->bytes;
    slot->offset_plus_one = at + 1;
  }
  return group_memory + slot->offset_plus_one - 1;
}
}
