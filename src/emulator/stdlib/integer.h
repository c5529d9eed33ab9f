#pragma once
// metal_integer and metal_pack.
#include "math.h"

namespace kw_emu {

template <class T>
inline constexpr bool negative_possible = T(-1) < T(0);
template <class T>
using wide = conditional_t<negative_possible<T>, __int128, unsigned __int128>;
template <class T>
using unsigned_of = __make_unsigned(T);

template <class T>
constexpr T saturated(wide<T> value) {
  const wide<T> low = metal::numeric_limits<T>::min(), high = metal::numeric_limits<T>::max();
  return static_cast<T>(value < low ? low : value > high ? high : value);
}
template <class T>
constexpr T bits_reversed(T x) {
  unsigned_of<T> from = static_cast<unsigned_of<T>>(x), to = 0;
  for (size_t i = 0; i < sizeof(T) * 8; ++i, from >>= 1) to = static_cast<unsigned_of<T>>((to << 1) | (from & 1));
  return static_cast<T>(to);
}
template <class T>
constexpr T zeros_before(T x) {
  return x ? static_cast<T>(__builtin_clzll(static_cast<ulong>(static_cast<unsigned_of<T>>(x))) - (64 - sizeof(T) * 8))
           : static_cast<T>(sizeof(T) * 8);
}
template <class T>
constexpr T zeros_behind(T x) {
  return x ? static_cast<T>(__builtin_ctzll(static_cast<ulong>(static_cast<unsigned_of<T>>(x))))
           : static_cast<T>(sizeof(T) * 8);
}
template <class T>
constexpr T rotated(T x, T by) {
  const unsigned bits = sizeof(T) * 8, shift = static_cast<unsigned>(by) % bits;
  const auto u = static_cast<unsigned_of<T>>(x);
  return shift ? static_cast<T>((u << shift) | (u >> (bits - shift))) : x;
}
template <class T>
constexpr T field(T x, uint offset, uint bits) {
  if (bits == 0) return 0;
  const uint size = sizeof(T) * 8;
  const auto up = static_cast<T>(static_cast<unsigned_of<T>>(x) << (size - bits - offset));
  return static_cast<T>(up >> (size - bits));
}
template <class T>
constexpr T with_field(T base, T insert, uint offset, uint bits) {
  const auto ones =
      bits >= sizeof(T) * 8 ? static_cast<unsigned_of<T>>(~0ull) : static_cast<unsigned_of<T>>((1ull << bits) - 1);
  const auto mask = static_cast<unsigned_of<T>>(ones << offset);
  return static_cast<T>((static_cast<unsigned_of<T>>(base) & ~mask) |
                        ((static_cast<unsigned_of<T>>(insert) << offset) & mask));
}

}  // namespace kw_emu

namespace metal {

#define KW_INTEGER1(name, expression)                                  \
  template <kw_emu::IntegralValue A>                                   \
  constexpr auto name(const A& a) {                                    \
    typedef kw_emu::element_of<A> T;                                   \
    return kw_emu::each<T, T>([](T x) -> T { return expression; }, a); \
  }
#define KW_INTEGER2(name, expression)                                          \
  template <kw_emu::IntegralValue A, kw_emu::IntegralValue B>                  \
    requires kw_emu::Fits<A, B>                                                \
  constexpr auto name(const A& a, const B& b) {                                \
    typedef kw_emu::common_element<A, B> T;                                    \
    typedef kw_emu::wide<T> W;                                                 \
    return kw_emu::each<T, T>([](T x, T y) -> T { return expression; }, a, b); \
  }
#define KW_INTEGER3(name, expression)                                                  \
  template <kw_emu::IntegralValue A, kw_emu::IntegralValue B, kw_emu::IntegralValue C> \
    requires kw_emu::Fits<A, B, C>                                                     \
  constexpr auto name(const A& a, const B& b, const C& c) {                            \
    typedef kw_emu::common_element<A, B, C> T;                                         \
    typedef kw_emu::wide<T> W;                                                         \
    return kw_emu::each<T, T>([](T x, T y, T z) -> T { return expression; }, a, b, c); \
  }
KW_INTEGER1(clz, kw_emu::zeros_before(x))
KW_INTEGER1(ctz, kw_emu::zeros_behind(x))
KW_INTEGER1(popcount, T(__builtin_popcountll(static_cast<ulong>(static_cast<kw_emu::unsigned_of<T>>(x)))))
KW_INTEGER1(reverse_bits, kw_emu::bits_reversed(x))
KW_INTEGER2(absdiff, T(x > y ? W(x) - W(y) : W(y) - W(x)))
KW_INTEGER2(addsat, kw_emu::saturated<T>(W(x) + W(y)))
KW_INTEGER2(subsat, !kw_emu::negative_possible<T> && x < y ? T(0) : kw_emu::saturated<T>(W(x) - W(y)))
KW_INTEGER2(hadd, T((W(x) + W(y)) >> 1))
KW_INTEGER2(rhadd, T((W(x) + W(y) + 1) >> 1))
KW_INTEGER2(mulhi, T((W(x) * W(y)) >> (sizeof(T) * 8)))
KW_INTEGER2(mul24, T(int(uint(x) << 8) >> 8) * T(int(uint(y) << 8) >> 8))
KW_INTEGER2(rotate, kw_emu::rotated(x, y))
KW_INTEGER3(madhi, T(((W(x) * W(y)) >> (sizeof(T) * 8)) + z))
KW_INTEGER3(madsat, kw_emu::saturated<T>(W(x) * W(y) + W(z)))
KW_INTEGER3(mad24, T(T(int(uint(x) << 8) >> 8) * T(int(uint(y) << 8) >> 8) + z))
#undef KW_INTEGER1
#undef KW_INTEGER2
#undef KW_INTEGER3

template <kw_emu::IntegralValue A>
constexpr auto extract_bits(const A& a, uint offset, uint bits) {
  typedef kw_emu::element_of<A> T;
  return kw_emu::each<T, T>([=](T x) { return kw_emu::field(x, offset, bits); }, a);
}
template <kw_emu::IntegralValue A>
constexpr auto insert_bits(const A& base, const A& insert, uint offset, uint bits) {
  typedef kw_emu::element_of<A> T;
  return kw_emu::each<T, T>([=](T x, T y) { return kw_emu::with_field(x, y, offset, bits); }, base, insert);
}

#define KW_UNPACK(name, N, Bits, Type, scale, low)                                                        \
  inline float##N unpack_##name##_to_float(Bits packed) {                                                 \
    float##N made(0.0f);                                                                                  \
    for (int i = 0; i < N; ++i) {                                                                         \
      const float part = static_cast<float>(static_cast<Type>(packed >> (i * 8 * sizeof(Type)))) / scale; \
      made.kw_ref(i) = part < low ? low : part;                                                           \
    }                                                                                                     \
    return made;                                                                                          \
  }                                                                                                       \
  inline Bits pack_float_to_##name(float##N value) {                                                      \
    Bits made = 0;                                                                                        \
    for (int i = 0; i < N; ++i) {                                                                         \
      const float held = value.kw_at(i) > 1 ? 1 : value.kw_at(i) > low ? value.kw_at(i) : low;            \
      const Type part = static_cast<Type>(static_cast<int>(__builtin_rintf(held * scale)));               \
      made |= static_cast<Bits>(static_cast<Bits>(static_cast<kw_emu::unsigned_of<Type>>(part))           \
                                << (i * 8 * sizeof(Type)));                                               \
    }                                                                                                     \
    return made;                                                                                          \
  }
KW_UNPACK(unorm4x8, 4, uint, uchar, 255.0f, 0.0f)
KW_UNPACK(snorm4x8, 4, uint, int8_t, 127.0f, -1.0f)
KW_UNPACK(unorm2x16, 2, uint, ushort, 65535.0f, 0.0f)
KW_UNPACK(snorm2x16, 2, uint, short, 32767.0f, -1.0f)
#undef KW_UNPACK

}  // namespace metal
