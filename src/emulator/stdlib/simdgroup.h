#pragma once
// metal_compute and metal_simdgroup: barriers, and what lanes of a simdgroup or quadgroup do together. Lanes that do
// not take part hold poison, as on chips where they hold whatever was there.
#include "integer.h"
#include "lanes.h"

namespace kw_emu {

// Operators as types with a static function, so that a combiner is a plain function.
struct Sum {
  template <class T>
  static T of(T a, T b) {
    return T(a + b);
  }
  static constexpr int identity = 0;
};
struct Product {
  template <class T>
  static T of(T a, T b) {
    return T(a * b);
  }
  static constexpr int identity = 1;
};
struct Larger {
  template <class T>
  static T of(T a, T b) {
    if constexpr (Vector<T>)
      return metal::max(a, b);
    else
      return larger(a, b);
  }
};
struct Smaller {
  template <class T>
  static T of(T a, T b) {
    if constexpr (Vector<T>)
      return metal::min(a, b);
    else
      return smaller(a, b);
  }
};
// Of floating values, the bits: one header of many asks for it.
template <class T>
using Bits = conditional_t<sizeof(T) == 2, uint16_t, uint32_t>;
struct And {
  template <class T>
  static T of(T a, T b) {
    if constexpr (floating<T>)
      return metal::as_type<T>(Bits<T>(metal::as_type<Bits<T>>(a) & metal::as_type<Bits<T>>(b)));
    else
      return T(a & b);
  }
};
struct Or {
  template <class T>
  static T of(T a, T b) {
    if constexpr (floating<T>)
      return metal::as_type<T>(Bits<T>(metal::as_type<Bits<T>>(a) | metal::as_type<Bits<T>>(b)));
    else
      return T(a | b);
  }
};
struct Xor {
  template <class T>
  static T of(T a, T b) {
    if constexpr (floating<T>)
      return metal::as_type<T>(Bits<T>(metal::as_type<Bits<T>>(a) ^ metal::as_type<Bits<T>>(b)));
    else
      return T(a ^ b);
  }
};

/// Pairwise, neighbours first, over groups of `width` lanes; lanes that are not there are left out.
template <class Op, class T, int width>
KW_EMU_UNSEEN inline void reduce(uint32_t active, char* slots, uint32_t stride) {
  T values[32];
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) values[i] = get_slot<T>(slots, stride, i);
  uint32_t there = active;
  for (int step = 1; step < width; step *= 2)
    for (int i = 0; i < 32; i += 2 * step) {
      if (!(there >> (i + step) & 1)) continue;
      values[i] = there >> i & 1 ? Op::of(values[i], values[i + step]) : values[i + step];
      there |= 1u << i;
    }
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) set_slot(slots, stride, i, values[i / width * width]);
}

template <class Op, class T, int width, bool inclusive>
KW_EMU_UNSEEN inline void scan(uint32_t active, char* slots, uint32_t stride) {
  for (int first = 0; first < 32; first += width) {
    T running = T(Op::identity);
    for (int i = first; i < first + width; ++i) {
      if (!(active >> i & 1)) continue;
      const T next = Op::of(running, get_slot<T>(slots, stride, i));
      set_slot(slots, stride, i, inclusive ? next : running);
      running = next;
    }
  }
}

/// A value and the lane whose value is wanted; second: out of `other` instead of `value`.
template <class T>
struct Wish {
  T value;
  int lane;
};
template <class T>
struct FilledWish {
  T value, other;
  short lane;
  bool second;
};
template <class T>
KW_EMU_UNSEEN inline void shuffle(uint32_t active, char* slots, uint32_t stride) {
  T values[32];
  for (int i = 0; i < 32; ++i) values[i] = active >> i & 1 ? get_slot<Wish<T>>(slots, stride, i).value : poison<T>();
  for (int i = 0; i < 32; ++i) {
    if (!(active >> i & 1)) continue;
    const int lane = get_slot<Wish<T>>(slots, stride, i).lane;
    set_slot(slots, stride, i, Wish<T>{lane >= 0 && lane < 32 ? values[lane] : poison<T>(), lane});
  }
}
template <class T>
KW_EMU_UNSEEN inline void shuffle_filled(uint32_t active, char* slots, uint32_t stride) {
  FilledWish<T> wishes[32];
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) wishes[i] = get_slot<FilledWish<T>>(slots, stride, i);
  for (int i = 0; i < 32; ++i) {
    if (!(active >> i & 1)) continue;
    const int lane = wishes[i].lane;
    T result = poison<T>();
    if (active >> lane & 1) result = wishes[i].second ? wishes[lane].other : wishes[lane].value;
    set_slot(slots, stride, i, result);  // `value` stands first
  }
}
template <class T>
KW_EMU_UNSEEN inline void first_of(uint32_t active, char* slots, uint32_t stride) {
  const T value = get_slot<T>(slots, stride, __builtin_ctz(active));
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) set_slot(slots, stride, i, value);
}
template <class T>
KW_EMU_UNSEEN inline void first_of_quad(uint32_t active, char* slots, uint32_t stride) {
  for (int quad = 0; quad < 32; quad += 4) {
    const uint32_t there = active >> quad & 15;
    if (!there) continue;
    const T value = get_slot<T>(slots, stride, quad + __builtin_ctz(there));
    for (int i = quad; i < quad + 4; ++i)
      if (active >> i & 1) set_slot(slots, stride, i, value);
  }
}
template <int width>
KW_EMU_UNSEEN inline void ballot(uint32_t active, char* slots, uint32_t stride) {
  uint32_t votes = 0;
  for (int i = 0; i < 32; ++i)
    if ((active >> i & 1) && get_slot<uint32_t>(slots, stride, i)) votes |= 1u << i;
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) set_slot(slots, stride, i, width == 32 ? votes : votes >> (i / 4 * 4) & 15u);
}
KW_EMU_UNSEEN inline void arrived(uint32_t active, char* slots, uint32_t stride) {
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) set_slot(slots, stride, i, active);
}

/// Metal's functions of simdgroups and quadgroups take values of 32 bits at most, and vectors of them.
template <class T>
inline constexpr bool exchangeable = !scalar<element_of<T>> || sizeof(element_of<T>) <= 4;
template <class T>
KW_MEETING T meet(T value, KwEmuCombine combine, uint32_t kind, KwEmuSite site) {
  static_assert(sizeof(T) <= 64, "a value that lanes exchange has at most 64 bytes");
  kw_emu_simd(&value, sizeof(T), combine, kind, site);
  return value;
}
template <class T>
KW_MEETING T fetch(T value, int lane, KwEmuSite site) {
  static_assert(exchangeable<T>, "simdgroup functions take no 64-bit values: exchange two halves");
  return meet(Wish<T>{value, lane}, &shuffle<T>, KW_EMU_OP_SHUFFLE, site).value;
}
inline int lane() { return static_cast<int>(kw_emu_current.thread->lane); }

}  // namespace kw_emu

namespace metal {

enum class mem_flags {
  mem_none = 0,
  mem_device = 1,
  mem_threadgroup = 2,
  mem_texture = 4,
  mem_threadgroup_imageblock = 8,
  mem_object_data = 16
};
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }
constexpr mem_flags operator&(mem_flags a, mem_flags b) { return mem_flags(int(a) & int(b)); }

KW_MEETING void threadgroup_barrier(mem_flags flags, KW_HERE) {
  kw_emu_threadgroup_barrier(static_cast<uint32_t>(flags), site);
}
KW_MEETING void simdgroup_barrier(mem_flags flags, KW_HERE) {
  kw_emu_simdgroup_barrier(static_cast<uint32_t>(flags), site);
}

#define KW_REDUCE(name, Op)                                                                 \
  template <class T>                                                                        \
  KW_MEETING T simd_##name(T value, KW_HERE) {                                              \
    static_assert(kw_emu::exchangeable<T>, "simdgroup functions take no 64-bit values");    \
    return kw_emu::meet(value, &kw_emu::reduce<kw_emu::Op, T, 32>, KW_EMU_OP_REDUCE, site); \
  }                                                                                         \
  template <class T>                                                                        \
  KW_MEETING T quad_##name(T value, KW_HERE) {                                              \
    return kw_emu::meet(value, &kw_emu::reduce<kw_emu::Op, T, 4>, KW_EMU_OP_REDUCE, site);  \
  }
KW_REDUCE(sum, Sum)
KW_REDUCE(product, Product)
KW_REDUCE(max, Larger)
KW_REDUCE(min, Smaller)
KW_REDUCE(and, And)
KW_REDUCE(or, Or)
KW_REDUCE(xor, Xor)
#undef KW_REDUCE

#define KW_SCAN(name, Op, inclusive)                                                                 \
  template <class T>                                                                                 \
  KW_MEETING T simd_prefix_##name(T value, KW_HERE) {                                                \
    return kw_emu::meet(value, &kw_emu::scan<kw_emu::Op, T, 32, inclusive>, KW_EMU_OP_REDUCE, site); \
  }                                                                                                  \
  template <class T>                                                                                 \
  KW_MEETING T quad_prefix_##name(T value, KW_HERE) {                                                \
    return kw_emu::meet(value, &kw_emu::scan<kw_emu::Op, T, 4, inclusive>, KW_EMU_OP_REDUCE, site);  \
  }
KW_SCAN(inclusive_sum, Sum, true)
KW_SCAN(exclusive_sum, Sum, false)
KW_SCAN(inclusive_product, Product, true)
KW_SCAN(exclusive_product, Product, false)
#undef KW_SCAN

#define KW_SHUFFLES(group, width)                                                                                  \
  template <class T>                                                                                               \
  KW_MEETING T group##_shuffle(T value, ushort lane, KW_HERE) {                                                    \
    return kw_emu::fetch(value, kw_emu::lane() / width * width + lane, site);                                      \
  }                                                                                                                \
  template <class T>                                                                                               \
  KW_MEETING T group##_broadcast(T value, ushort lane, KW_HERE) {                                                  \
    return kw_emu::fetch(value, kw_emu::lane() / width * width + lane, site);                                      \
  }                                                                                                                \
  template <class T>                                                                                               \
  KW_MEETING T group##_shuffle_xor(T value, ushort mask, KW_HERE) {                                                \
    return kw_emu::fetch(value, kw_emu::lane() ^ mask, site);                                                      \
  }                                                                                                                \
  template <class T>                                                                                               \
  KW_MEETING T group##_shuffle_down(T value, ushort delta, KW_HERE) {                                              \
    const int place = kw_emu::lane() % width + delta;                                                              \
    return kw_emu::fetch(value, place < width ? kw_emu::lane() + delta : -1, site);                                \
  }                                                                                                                \
  template <class T>                                                                                               \
  KW_MEETING T group##_shuffle_up(T value, ushort delta, KW_HERE) {                                                \
    const int place = kw_emu::lane() % width - delta;                                                              \
    return kw_emu::fetch(value, place >= 0 ? kw_emu::lane() - delta : -1, site);                                   \
  }                                                                                                                \
  template <class T>                                                                                               \
  KW_MEETING T group##_shuffle_rotate_down(T value, ushort delta, KW_HERE) {                                       \
    const int lane = kw_emu::lane();                                                                               \
    return kw_emu::fetch(value, lane / width * width + (lane + delta) % width, site);                              \
  }                                                                                                                \
  template <class T>                                                                                               \
  KW_MEETING T group##_shuffle_rotate_up(T value, ushort delta, KW_HERE) {                                         \
    const int lane = kw_emu::lane();                                                                               \
    return kw_emu::fetch(value, lane / width * width + (lane + width - delta % width) % width, site);              \
  }                                                                                                                \
  template <class T>                                                                                               \
  KW_MEETING T group##_shuffle_and_fill_down(T value, T filling, ushort delta, ushort modulo = width, KW_HERE) {   \
    const int lane = kw_emu::lane(), place = lane % modulo + delta;                                                \
    const kw_emu::FilledWish<T> wish = {value, filling, short(lane / modulo * modulo + place % modulo),            \
                                        place >= modulo};                                                          \
    return kw_emu::meet(wish, &kw_emu::shuffle_filled<T>, KW_EMU_OP_SHUFFLE, site).value;                          \
  }                                                                                                                \
  template <class T>                                                                                               \
  KW_MEETING T group##_shuffle_and_fill_up(T value, T filling, ushort delta, ushort modulo = width, KW_HERE) {     \
    const int lane = kw_emu::lane(), place = lane % modulo - delta;                                                \
    const kw_emu::FilledWish<T> wish = {value, filling, short(lane / modulo * modulo + (place + modulo) % modulo), \
                                        place < 0};                                                                \
    return kw_emu::meet(wish, &kw_emu::shuffle_filled<T>, KW_EMU_OP_SHUFFLE, site).value;                          \
  }
KW_SHUFFLES(simd, 32)
KW_SHUFFLES(quad, 4)
#undef KW_SHUFFLES

template <class T>
KW_MEETING T simd_broadcast_first(T value, KW_HERE) {
  return kw_emu::meet(value, &kw_emu::first_of<T>, KW_EMU_OP_SHUFFLE, site);
}
template <class T>
KW_MEETING T quad_broadcast_first(T value, KW_HERE) {
  return kw_emu::meet(value, &kw_emu::first_of_quad<T>, KW_EMU_OP_SHUFFLE, site);
}

struct simd_vote {
  typedef ulong vote_t;
  explicit constexpr simd_vote(vote_t votes) : votes_(votes) {}
  explicit constexpr operator vote_t() const { return votes_; }
  constexpr bool all() const { return votes_ == 0xffffffffull; }
  constexpr bool any() const { return votes_ != 0; }
  vote_t votes_;
};
struct quad_vote {
  typedef uint vote_t;
  explicit constexpr quad_vote(vote_t votes) : votes_(votes) {}
  explicit constexpr operator vote_t() const { return votes_; }
  constexpr bool all() const { return votes_ == 15u; }
  constexpr bool any() const { return votes_ != 0; }
  vote_t votes_;
};
KW_MEETING simd_vote simd_ballot(bool vote, KW_HERE) {
  return simd_vote(kw_emu::meet(uint32_t(vote), &kw_emu::ballot<32>, KW_EMU_OP_VOTE, site));
}
KW_MEETING quad_vote quad_ballot(bool vote, KW_HERE) {
  return quad_vote(kw_emu::meet(uint32_t(vote), &kw_emu::ballot<4>, KW_EMU_OP_VOTE, site));
}
KW_MEETING bool simd_any(bool vote, KW_HERE) {
  return kw_emu::meet(uint32_t(vote), &kw_emu::reduce<kw_emu::Or, uint32_t, 32>, KW_EMU_OP_VOTE, site) != 0;
}
KW_MEETING bool simd_all(bool vote, KW_HERE) {
  return kw_emu::meet(uint32_t(vote), &kw_emu::reduce<kw_emu::And, uint32_t, 32>, KW_EMU_OP_VOTE, site) != 0;
}
KW_MEETING bool quad_any(bool vote, KW_HERE) {
  return kw_emu::meet(uint32_t(vote), &kw_emu::reduce<kw_emu::Or, uint32_t, 4>, KW_EMU_OP_VOTE, site) != 0;
}
KW_MEETING bool quad_all(bool vote, KW_HERE) {
  return kw_emu::meet(uint32_t(vote), &kw_emu::reduce<kw_emu::And, uint32_t, 4>, KW_EMU_OP_VOTE, site) != 0;
}
KW_MEETING simd_vote simd_active_threads_mask(KW_HERE) {
  return simd_vote(kw_emu::meet(uint32_t(1), &kw_emu::arrived, KW_EMU_OP_VOTE, site));
}
KW_MEETING bool simd_is_first(KW_HERE) {
  const uint32_t active = kw_emu::meet(uint32_t(1), &kw_emu::arrived, KW_EMU_OP_VOTE, site);
  return __builtin_ctz(active) == kw_emu::lane();
}
inline bool simd_is_helper_thread() { return false; }

}  // namespace metal

// The compiler's own names for these.
inline ushort __metal_get_thread_index_in_simdgroup(ushort) { return static_cast<ushort>(kw_emu::lane()); }
inline ushort __metal_get_simdgroup_size(ushort) { return 32; }
#define KW_PRIVATE_SIMD(name)                        \
  template <class... A>                              \
  KW_MEETING auto __metal_simd_##name(A... values) { \
    return metal::simd_##name(values...);            \
  }
KW_PRIVATE_SIMD(sum)
KW_PRIVATE_SIMD(product)
KW_PRIVATE_SIMD(max)
KW_PRIVATE_SIMD(min)
KW_PRIVATE_SIMD(and)
KW_PRIVATE_SIMD(or)
KW_PRIVATE_SIMD(xor)
KW_PRIVATE_SIMD(prefix_inclusive_sum)
KW_PRIVATE_SIMD(prefix_exclusive_sum)
KW_PRIVATE_SIMD(prefix_inclusive_product)
KW_PRIVATE_SIMD(prefix_exclusive_product)
#undef KW_PRIVATE_SIMD
// Data as these headers pass it: the bits of a value in a ushort or so.
#define KW_PRIVATE_SHUFFLE(name)                         \
  template <class T>                                     \
  KW_MEETING T __metal_simd_##name(T value, ushort by) { \
    return metal::simd_##name(value, by);                \
  }
KW_PRIVATE_SHUFFLE(broadcast)
KW_PRIVATE_SHUFFLE(shuffle)
KW_PRIVATE_SHUFFLE(shuffle_xor)
KW_PRIVATE_SHUFFLE(shuffle_up)
KW_PRIVATE_SHUFFLE(shuffle_down)
KW_PRIVATE_SHUFFLE(shuffle_rotate_up)
KW_PRIVATE_SHUFFLE(shuffle_rotate_down)
#undef KW_PRIVATE_SHUFFLE
template <class T>
KW_MEETING T __metal_simd_shuffle_and_fill_up(T value, T filling, ushort delta, ushort modulo) {
  return metal::simd_shuffle_and_fill_up(value, filling, delta, modulo);
}
template <class T>
KW_MEETING T __metal_simd_shuffle_and_fill_down(T value, T filling, ushort delta, ushort modulo) {
  return metal::simd_shuffle_and_fill_down(value, filling, delta, modulo);
}
