#pragma once
// What the front end would make of a few kernels, written by hand: tests of the runtime alone.
#include "src/emulator/runtime/abi.h"

typedef unsigned uint;

template <class T, class Op>
struct Reduce {
  KW_EMU_UNSEEN static void run(kw_emu_u32 active, char* slots, kw_emu_u32 stride) {
    T total = Op::first;
    for (kw_emu_u32 left = active; left; left &= left - 1)
      total = Op::of(total, *(T*)(slots + __builtin_ctz(left) * stride));
    for (kw_emu_u32 left = active; left; left &= left - 1) *(T*)(slots + __builtin_ctz(left) * stride) = total;
  }
};
struct Add {
  static constexpr int first = 0;
  template <class T>
  static T of(T a, T b) {
    return a + b;
  }
};
template <class T>
__attribute__((always_inline)) inline T simd_sum(T value, KwEmuSite site = KwEmuSite::here()) {
  kw_emu_simd(&value, sizeof value, Reduce<T, Add>::run, KW_EMU_OP_REDUCE, site);
  return value;
}
__attribute__((always_inline)) inline void barrier(KwEmuSite site = KwEmuSite::here()) {
  kw_emu_threadgroup_barrier(2, site);
}
__attribute__((always_inline)) inline uint grid_x() {
  return kw_emu_current.group->origin[0] + kw_emu_current.thread->position[0];
}
__attribute__((always_inline)) inline uint local() { return kw_emu_current.thread->index; }
__attribute__((always_inline)) inline uint lane() { return kw_emu_current.thread->lane; }
__attribute__((always_inline)) inline uint simdgroup() { return kw_emu_current.thread->simdgroup; }

#define GROUP_ARRAY(T, name, count)                                                        \
  static KwEmuGroupSlot name##_slot = {                                                    \
      sizeof(T) * (count), alignof(T), kw_emu_granule<T>(), __LINE__, #name, __FILE__, 0}; \
  T(&name)[count] = *(T(*)[count])kw_emu_group_variable(&name##_slot)

#define ENTRY(kernel, ...)                            \
  static void entry_##kernel(const KwEmuArgs* args) { \
    do {                                              \
      kernel(__VA_ARGS__);                            \
    } while (kw_emu_next_thread());                   \
  }
#define BUFFER(T, index) ((T*)args->buffer[index])
