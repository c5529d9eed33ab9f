#pragma once
// Barriers, and what lanes of a warp do together. A lane that is read without being there holds poison.
#include "../lanes.h"
#include "half_math.h"

namespace kw_cuda {

using kw_emu::get_slot;
using kw_emu::poison;
using kw_emu::set_slot;
constexpr unsigned all_lanes = 0xffffffffu;

template <class T>
concept Exchangeable =
    (std::is_arithmetic_v<T> && sizeof(T) <= 8) || std::is_same_v<T, __half> || std::is_same_v<T, __half2> ||
    std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __nv_bfloat162>;

KW_EMU_UNSEEN inline unsigned lane_index() { return kw_emu_current.thread->lane; }

/// The value that a lane brings, the lane whose value it wants.
template <class T>
struct Wish {
  T value;
  int lane;
};
template <class T>
KW_EMU_UNSEEN inline void shuffle(uint32_t active, char* slots, uint32_t stride) {
  T values[32];
  for (int i = 0; i < 32; ++i) values[i] = active >> i & 1 ? get_slot<Wish<T>>(slots, stride, i).value : poison<T>();
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) {
      const int lane = get_slot<Wish<T>>(slots, stride, i).lane;
      set_slot(slots, stride, i, Wish<T>{values[lane & 31], lane});
    }
}
template <class T>
KW_MEETING T exchange(unsigned mask, T value, int lane, KwEmuSite site) {
  Wish<T> wish{value, lane};
  kw_emu_warp(&wish, sizeof wish, shuffle<T>, KW_EMU_OP_SHUFFLE, mask, site);
  return wish.value;
}
// The lane to read, in segments of `width` lanes; the own one where it would lie outside.
KW_EMU_UNSEEN inline int lane_at(int source, int width) {
  const int self = static_cast<int>(lane_index());
  return (self & ~(width - 1)) | (source & (width - 1));
}
KW_EMU_UNSEEN inline int lane_up(unsigned delta, int width) {
  const int self = static_cast<int>(lane_index());
  return (self & (width - 1)) < static_cast<int>(delta) ? self : self - static_cast<int>(delta);
}
KW_EMU_UNSEEN inline int lane_down(unsigned delta, int width) {
  const int self = static_cast<int>(lane_index());
  return (self & (width - 1)) + static_cast<int>(delta) >= width ? self : self + static_cast<int>(delta);
}
KW_EMU_UNSEEN inline int lane_xor(int bits, int width) {
  const int self = static_cast<int>(lane_index()), other = self ^ bits;
  return other >= (self & ~(width - 1)) + width ? self : other & 31;
}

KW_EMU_UNSEEN inline void ballot(uint32_t active, char* slots, uint32_t stride) {
  uint32_t votes = 0;
  for (int i = 0; i < 32; ++i)
    if ((active >> i & 1) && get_slot<uint32_t>(slots, stride, i)) votes |= 1u << i;
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) set_slot(slots, stride, i, votes);
}
KW_EMU_UNSEEN inline void arrived(uint32_t active, char* slots, uint32_t stride) {
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) set_slot(slots, stride, i, active);
}
/// Two words: the value in, the mask of those with the same out in the first.
KW_EMU_UNSEEN inline void match(uint32_t active, char* slots, uint32_t stride) {
  unsigned long long values[32];
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) values[i] = get_slot<unsigned long long>(slots, stride, i);
  for (int i = 0; i < 32; ++i) {
    if (!(active >> i & 1)) continue;
    unsigned long long same = 0;
    for (int k = 0; k < 32; ++k)
      if ((active >> k & 1) && values[k] == values[i]) same |= 1ull << k;
    set_slot(slots, stride, i, same);
  }
}

struct Sum {
  template <class T>
  static T of(T a, T b) {
    return T(a + b);
  }
};
struct Least {
  template <class T>
  static T of(T a, T b) {
    return b < a ? b : a;
  }
};
struct Most {
  template <class T>
  static T of(T a, T b) {
    return a < b ? b : a;
  }
};
struct And {
  template <class T>
  static T of(T a, T b) {
    return T(a & b);
  }
};
struct Or {
  template <class T>
  static T of(T a, T b) {
    return T(a | b);
  }
};
struct Xor {
  template <class T>
  static T of(T a, T b) {
    return T(a ^ b);
  }
};
/// Pairwise over the lanes that are there.
template <class Op, class T>
KW_EMU_UNSEEN inline void reduce(uint32_t active, char* slots, uint32_t stride) {
  T values[32];
  int count = 0;
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) values[count++] = get_slot<T>(slots, stride, i);
  for (int step = 1; step < count; step *= 2)
    for (int i = 0; i + step < count; i += 2 * step) values[i] = Op::of(values[i], values[i + step]);
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) set_slot(slots, stride, i, values[0]);
}
template <class Op, class T>
KW_MEETING T reduced(unsigned mask, T value, KwEmuSite site) {
  kw_emu_warp(&value, sizeof value, reduce<Op, T>, KW_EMU_OP_REDUCE, mask, site);
  return value;
}
KW_MEETING unsigned votes(unsigned mask, bool vote, KwEmuSite site) {
  unsigned value = vote;
  kw_emu_warp(&value, sizeof value, ballot, KW_EMU_OP_VOTE, mask, site);
  return value;
}
template <class T>
KW_MEETING unsigned matching(unsigned mask, T value, KwEmuSite site) {
  static_assert(sizeof(T) <= 8);
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  kw_emu_warp(&bits, sizeof bits, match, KW_EMU_OP_VOTE, mask, site);
  return static_cast<unsigned>(bits);
}

// Threads that have ended need not come; both spaces of memory are in order behind it.
constexpr unsigned block_barrier = 1 | 2 | 8;
KW_MEETING void barrier(KwEmuSite site) { kw_emu_threadgroup_barrier(block_barrier, site); }

inline KwEmuGroupSlot votes_slot = {4, 4, 4, 0, "votes of a block", __FILE__, 0};
KW_EMU_UNSEEN inline unsigned* votes_of_block() { return static_cast<unsigned*>(kw_emu_group_variable(&votes_slot)); }
KW_EMU_UNSEEN inline void set_votes(unsigned value) { *votes_of_block() = value; }
KW_EMU_UNSEEN inline void add_votes(unsigned value) { *votes_of_block() += value; }
KW_EMU_UNSEEN inline unsigned get_votes() { return *votes_of_block(); }
/// How many threads of the block say yes; threads of a block take turns, so the sum needs no atomics.
KW_MEETING unsigned count_votes(bool vote, KwEmuSite site) {
  barrier(site);
  set_votes(0);
  barrier(site);
  add_votes(vote);
  barrier(site);
  return get_votes();
}

}  // namespace kw_cuda

KW_MEETING void __syncthreads(KW_HERE) { kw_cuda::barrier(site); }
KW_MEETING int __syncthreads_count(int vote, KW_HERE) {
  return static_cast<int>(kw_cuda::count_votes(vote != 0, site));
}
KW_MEETING int __syncthreads_or(int vote, KW_HERE) { return kw_cuda::count_votes(vote != 0, site) != 0; }
KW_MEETING int __syncthreads_and(int vote, KW_HERE) { return kw_cuda::count_votes(vote == 0, site) == 0; }
KW_MEETING void __syncwarp(unsigned mask = kw_cuda::all_lanes, KW_HERE) {
  kw_emu_warp(nullptr, 0, nullptr, KW_EMU_OP_VOTE, mask, site);
}
inline void __threadfence(KW_HERE) { kw_emu_fence(3, 3, site); }
inline void __threadfence_block(KW_HERE) { kw_emu_fence(3, 2, site); }
inline void __threadfence_system(KW_HERE) { kw_emu_fence(3, 3, site); }
inline void __nanosleep(unsigned) {}

template <kw_cuda::Exchangeable T>
KW_MEETING T __shfl_sync(unsigned mask, T value, int source, int width = 32, KW_HERE) {
  return kw_cuda::exchange(mask, value, kw_cuda::lane_at(source, width), site);
}
template <kw_cuda::Exchangeable T>
KW_MEETING T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, KW_HERE) {
  return kw_cuda::exchange(mask, value, kw_cuda::lane_up(delta, width), site);
}
template <kw_cuda::Exchangeable T>
KW_MEETING T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, KW_HERE) {
  return kw_cuda::exchange(mask, value, kw_cuda::lane_down(delta, width), site);
}
template <kw_cuda::Exchangeable T>
KW_MEETING T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, KW_HERE) {
  return kw_cuda::exchange(mask, value, kw_cuda::lane_xor(bits, width), site);
}

KW_MEETING unsigned __ballot_sync(unsigned mask, int vote, KW_HERE) { return kw_cuda::votes(mask, vote != 0, site); }
KW_MEETING int __any_sync(unsigned mask, int vote, KW_HERE) { return kw_cuda::votes(mask, vote != 0, site) != 0; }
KW_MEETING int __all_sync(unsigned mask, int vote, KW_HERE) { return kw_cuda::votes(mask, vote == 0, site) == 0; }
KW_MEETING unsigned __activemask(KW_HERE) {
  unsigned here = 0;
  kw_emu_simd(&here, sizeof here, kw_cuda::arrived, KW_EMU_OP_VOTE, site);
  return here;
}
template <class T>
KW_MEETING unsigned __match_any_sync(unsigned mask, T value, KW_HERE) {
  return kw_cuda::matching(mask, value, site);
}
template <class T>
KW_MEETING unsigned __match_all_sync(unsigned mask, T value, int* all, KW_HERE) {
  const unsigned same = kw_cuda::matching(mask, value, site);
  *all = same == mask;
  return *all ? mask : 0;
}

#define KW_WARP_REDUCE(name, Op, T) \
  KW_MEETING T name(unsigned mask, T value, KW_HERE) { return kw_cuda::reduced<kw_cuda::Op>(mask, value, site); }
KW_WARP_REDUCE(__reduce_add_sync, Sum, int)
KW_WARP_REDUCE(__reduce_add_sync, Sum, unsigned)
KW_WARP_REDUCE(__reduce_min_sync, Least, int)
KW_WARP_REDUCE(__reduce_min_sync, Least, unsigned)
KW_WARP_REDUCE(__reduce_max_sync, Most, int)
KW_WARP_REDUCE(__reduce_max_sync, Most, unsigned)
KW_WARP_REDUCE(__reduce_and_sync, And, unsigned)
KW_WARP_REDUCE(__reduce_or_sync, Or, unsigned)
KW_WARP_REDUCE(__reduce_xor_sync, Xor, unsigned)
#undef KW_WARP_REDUCE
