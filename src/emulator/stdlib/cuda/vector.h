#pragma once
// Vector types: plain structs of CUDA's alignments, without operators.
#include "traits.h"

#define KW_VECTORS(name, T, two, four)                                  \
  struct name##1 { T x; };                                              \
  struct __attribute__((aligned(two))) name##2 { T x, y; };             \
  struct name##3 { T x, y, z; };                                        \
  struct __attribute__((aligned(four))) name##4 { T x, y, z, w; };      \
  constexpr name##1 make_##name##1(T x) { return {x}; }                 \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
KW_VECTORS(char, signed char, 2, 4)
KW_VECTORS(uchar, unsigned char, 2, 4)
KW_VECTORS(short, short, 4, 8)
KW_VECTORS(ushort, unsigned short, 4, 8)
KW_VECTORS(int, int, 8, 16)
KW_VECTORS(uint, unsigned int, 8, 16)
KW_VECTORS(long, long, 16, 16)
KW_VECTORS(ulong, unsigned long, 16, 16)
KW_VECTORS(longlong, long long, 16, 16)
KW_VECTORS(ulonglong, unsigned long long, 16, 16)
KW_VECTORS(float, float, 8, 16)
KW_VECTORS(double, double, 16, 16)
#undef KW_VECTORS

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int a = 1, unsigned int b = 1, unsigned int c = 1) : x(a), y(b), z(c) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

namespace kw_cuda {
KW_EMU_UNSEEN inline uint3 thread_index() {
  const kw_emu_u32(&at)[3] = kw_emu_current.thread->position;
  return {at[0], at[1], at[2]};
}
KW_EMU_UNSEEN inline uint3 block_index() {
  const kw_emu_u32(&at)[3] = kw_emu_current.group->position;
  return {at[0], at[1], at[2]};
}
KW_EMU_UNSEEN inline dim3 block_size() {
  const kw_emu_u32(&size)[3] = kw_emu_current.group->dispatch_size;
  return {size[0], size[1], size[2]};
}
KW_EMU_UNSEEN inline dim3 grid_size() {
  const kw_emu_u32(&size)[3] = kw_emu_current.group->groups;
  return {size[0], size[1], size[2]};
}
/// Where the runtime places the group's first argument.
KW_EMU_UNSEEN inline void* dynamic_memory() { return kw_emu_current.group_memory; }
}  // namespace kw_cuda
