// What generated code calls.
#include <cstring>

#include "emulator/runtime/abi.h"
#include "emulator/runtime/profile.h"
#include "emulator/runtime/scheduler.h"

using kw::emulator::Follower;
using kw::emulator::Meeting;
using kw::emulator::running_follower;
using kw::emulator::running_scheduler;
using kw::emulator::Scheduler;

namespace {

#if defined(__x86_64__) || defined(__aarch64__)
/// Where the lane waits: the calls from the kernel's entry inwards, told by return addresses. A frame is {the caller's
/// frame, return address}; the frame of a fiber's first function has no caller. Generated code keeps its frames.
inline Meeting meeting_at(void* const* frame) {
  constexpr int deepest = 32;
  Meeting meeting{reinterpret_cast<uintptr_t>(frame[1]), 0};
  const auto* at = static_cast<void* const*>(frame[0]);
  for (int depth = 0; depth < deepest; ++depth) {
    const auto* caller = static_cast<void* const*>(*at);
    if (!caller || !*caller) break;  // `at` is the entry's frame, `caller` that of the fiber's first function
    meeting.inner = meeting.inner * 31 + meeting.outer;
    meeting.outer = reinterpret_cast<uintptr_t>(at[1]);
    at = caller;
  }
  return meeting;
}
#define KW_MEETING_HERE meeting_at(static_cast<void* const*>(__builtin_frame_address(0)))
#else
#define KW_MEETING_HERE (Meeting{reinterpret_cast<uintptr_t>(__builtin_return_address(0)), 0})
#endif

inline void touch(const void* address, uint64_t bytes, bool write, void* pc) {
  Follower* follower = running_follower;
  if (!follower) return;
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (bytes <= 64)
    follower->access(at, static_cast<uint32_t>(bytes), write, reinterpret_cast<uintptr_t>(pc));
  else
    follower->access_range(at, bytes, write, reinterpret_cast<uintptr_t>(pc));
}

}  // namespace

extern "C" {

void kw_emu_threadgroup_barrier(kw_emu_u32 flags, KwEmuSite site) {
  running_scheduler->threadgroup_barrier(flags, site);
}

void kw_emu_simdgroup_barrier(kw_emu_u32 flags, KwEmuSite site) {
  running_scheduler->simd(nullptr, 0, nullptr, {0, flags, 0}, site, KW_MEETING_HERE);
}

void kw_emu_simd(void* value, kw_emu_u32 bytes, KwEmuCombine combine, kw_emu_u32 kind, KwEmuSite site) {
  running_scheduler->simd(value, bytes, combine, {kind, 0, 0}, site, KW_MEETING_HERE);
}

void kw_emu_warp(void* value, kw_emu_u32 bytes, KwEmuCombine combine, kw_emu_u32 kind, kw_emu_u32 mask,
                 KwEmuSite site) {
  running_scheduler->simd(value, bytes, combine, {kind, 3, mask}, site, KW_MEETING_HERE);
}

void kw_emu_fence(kw_emu_u32, kw_emu_u32, KwEmuSite) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

kw_emu_u32 kw_emu_live_lanes(void) { return running_scheduler->live_lanes(); }

int kw_emu_next_thread(void) { return running_scheduler->next_thread(); }

void* kw_emu_group_variable_slow(KwEmuGroupSlot* slot) {
  using kw::emulator::GroupArena;
  Scheduler& scheduler = *running_scheduler;
  const uint32_t offset = scheduler.launch().arena->place(slot);
  if (offset == GroupArena::capacity_bytes) scheduler.out_of_group_memory(*slot);
  return kw_emu_current.group_memory + offset;
}

void kw_emu_atomic(const volatile void* address, kw_emu_u32 bytes, kw_emu_u32 kind, KwEmuSite) {
  Follower* follower = running_follower;
  if (!follower) return;
  // The caller is a function of metal_stdlib that is not inlined; its caller is the user's code.
  const auto* frame = static_cast<void* const*>(__builtin_frame_address(0));
  const auto* atomic_frame = static_cast<void* const*>(frame[0]);
  follower->atomic(reinterpret_cast<uintptr_t>(address), bytes, kind, reinterpret_cast<uintptr_t>(atomic_frame[1]));
}

void kw_emu_block(kw_emu_u32 block, kw_emu_u32 flops, kw_emu_u32 instructions) {
  if (auto* profile = kw::emulator::profile_here()) profile->block(block, flops, instructions);
}

#define KW_TOUCH(bytes)                                                                                       \
  void __asan_load##bytes##_noabort(const void* at) { touch(at, bytes, false, __builtin_return_address(0)); } \
  void __asan_store##bytes##_noabort(void* at) { touch(at, bytes, true, __builtin_return_address(0)); }
KW_TOUCH(1)
KW_TOUCH(2)
KW_TOUCH(4)
KW_TOUCH(8)
KW_TOUCH(16)
#undef KW_TOUCH

void __asan_loadN_noabort(const void* at, size_t bytes) { touch(at, bytes, false, __builtin_return_address(0)); }
void __asan_storeN_noabort(void* at, size_t bytes) { touch(at, bytes, true, __builtin_return_address(0)); }
void __asan_handle_no_return(void) {}

void* __asan_memcpy(void* to, const void* from, size_t bytes) {
  touch(from, bytes, false, __builtin_return_address(0));
  touch(to, bytes, true, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
void* __asan_memmove(void* to, const void* from, size_t bytes) {
  touch(from, bytes, false, __builtin_return_address(0));
  touch(to, bytes, true, __builtin_return_address(0));
  return std::memmove(to, from, bytes);
}
void* __asan_memset(void* to, int value, size_t bytes) {
  touch(to, bytes, true, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}

}  // extern "C"
