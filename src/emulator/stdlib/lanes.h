#pragma once
// What lanes leave for each other when they meet: see kw_emu_simd. For every dialect.
#include "abi.h"

#define KW_MEETING __attribute__((always_inline, convergent)) inline
#define KW_HERE KwEmuSite site = KwEmuSite::here()

namespace kw_emu {

template <class T>
struct Held {
  alignas(T) char bytes[sizeof(T)];
};
template <class T>
KW_EMU_UNSEEN inline T get_slot(const char* slots, kw_emu_u32 stride, int lane) {
  T value;
  __builtin_memcpy(&value, slots + lane * stride, sizeof(T));
  return value;
}
template <class T>
KW_EMU_UNSEEN inline void set_slot(char* slots, kw_emu_u32 stride, int lane, const T& value) {
  __builtin_memcpy(slots + lane * stride, &value, sizeof(T));
}
template <class T>
KW_EMU_UNSEEN inline T poison() {
  T value;
  char bytes[sizeof(T)];
  for (__SIZE_TYPE__ i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<char>(KW_EMU_POISON16 >> (i % 2 * 8));
  if constexpr (sizeof(T) == 1) bytes[0] = static_cast<char>(KW_EMU_POISON16);
  __builtin_memcpy(&value, bytes, sizeof(T));
  return value;
}

}  // namespace kw_emu
