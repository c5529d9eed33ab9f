#pragma once
// Scalar types of Metal on the host: sizes, half with a rounding after every operation, bfloat, and what tells them
// apart.
#include "abi.h"

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef long intptr_t;
typedef unsigned long uintptr_t;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;

struct bfloat;

namespace kw_emu {

template <class A, class B>
inline constexpr bool same = __is_same(A, B);
template <bool c, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool c, class A, class B>
struct conditional {
  typedef A type;
};
template <class A, class B>
struct conditional<false, A, B> {
  typedef B type;
};
template <bool c, class A, class B>
using conditional_t = typename conditional<c, A, B>::type;

template <class T>
inline constexpr bool integral = __is_integral(__remove_cv(T));
template <class T>
inline constexpr bool narrow_float = same<__remove_cv(T), half> || same<__remove_cv(T), bfloat>;
template <class T>
inline constexpr bool floating = same<__remove_cv(T), float> || narrow_float<T>;
template <class T>
inline constexpr bool scalar = integral<T> || floating<T>;
template <class T>
concept Scalar = scalar<T>;
template <class T>
concept Integral = integral<T>;
template <class T>
concept ScalarButBfloat = scalar<T> && !same<__remove_cv(T), bfloat>;

/// The bits of a float as bfloat, to nearest, ties to even; a NaN stays one.
constexpr uint16_t bfloat_bits(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// From a double in one rounding: a float between, with its last bit sticky where it is not exact.
constexpr uint16_t bfloat_bits_of_double(double value) {
  const float near = static_cast<float>(value);
  const double back = near;
  uint32_t bits = __builtin_bit_cast(uint32_t, near);
  if (back != value && (bits & 0x7fffffffu) < 0x7f800000u && (bits & 0xffffu) == 0x8000u)
    bits += ((back < value) == (value > 0)) ? 1 : -1;
  return bfloat_bits(__builtin_bit_cast(float, bits));
}

}  // namespace kw_emu

/// Converts to float by itself; from float and half only when asked, from integers by itself, as in Metal.
struct bfloat {
  uint16_t bits_;

  bfloat() = default;
  template <kw_emu::Integral T>
  constexpr bfloat(T value) : bits_(kw_emu::bfloat_bits_of_double(static_cast<double>(value))) {}
  explicit constexpr bfloat(float value) : bits_(kw_emu::bfloat_bits(value)) {}
  explicit constexpr bfloat(double value) : bits_(kw_emu::bfloat_bits_of_double(value)) {}
  explicit constexpr bfloat(half value) : bits_(kw_emu::bfloat_bits(static_cast<float>(value))) {}

  constexpr float to_float() const { return __builtin_bit_cast(float, static_cast<uint32_t>(bits_) << 16); }
  // A template, so that no further conversion follows it: `c ? x : 0` stays a bfloat.
  template <class T>
    requires kw_emu::same<T, float>
  constexpr operator T() const {
    return to_float();
  }
  template <class T>
    requires(kw_emu::integral<T> && !kw_emu::same<T, bool>) || kw_emu::same<T, half> || kw_emu::same<T, double>
  explicit constexpr operator T() const {
    return static_cast<T>(to_float());
  }
  template <class T>
    requires kw_emu::same<T, bool>
  explicit constexpr operator T() const {
    return to_float() != 0;
  }
  // As a volatile object, for memory shared without order.
  template <class B>
    requires kw_emu::same<B, bfloat>
  constexpr bfloat(const volatile B& other) : bits_(other.bits_) {}
  template <class B>
    requires kw_emu::same<B, bfloat>
  constexpr void operator=(const B& other) volatile {
    bits_ = other.bits_;
  }

  constexpr bfloat& operator++() { return *this = bfloat(to_float() + 1.0f); }
  constexpr bfloat& operator--() { return *this = bfloat(to_float() - 1.0f); }
  constexpr bfloat operator++(int) {
    const bfloat old = *this;
    ++*this;
    return old;
  }
  constexpr bfloat operator--(int) {
    const bfloat old = *this;
    --*this;
    return old;
  }
};

namespace kw_emu {
/// What arithmetic of a bfloat and a T gives: bfloat with bfloat and integers, float with float and half.
template <class T>
using with_bfloat = conditional_t<integral<T> || same<T, bfloat>, bfloat, float>;
template <class T>
constexpr float as_float(T value) {
  if constexpr (same<T, bfloat>)
    return value.to_float();
  else if constexpr (integral<T>)
    return bfloat(value).to_float();
  else
    return static_cast<float>(value);
}
}  // namespace kw_emu

#define KW_BFLOAT_ARITHMETIC(op)                                                                    \
  constexpr bfloat operator op(bfloat a, bfloat b) { return bfloat(a.to_float() op b.to_float()); } \
  template <kw_emu::ScalarButBfloat T>                                                              \
  constexpr kw_emu::with_bfloat<T> operator op(bfloat a, T b) {                                     \
    return kw_emu::with_bfloat<T>(a.to_float() op kw_emu::as_float(b));                             \
  }                                                                                                 \
  template <kw_emu::ScalarButBfloat T>                                                              \
  constexpr kw_emu::with_bfloat<T> operator op(T a, bfloat b) {                                     \
    return kw_emu::with_bfloat<T>(kw_emu::as_float(a) op b.to_float());                             \
  }                                                                                                 \
  template <kw_emu::Scalar T>                                                                       \
  constexpr bfloat& operator op##=(bfloat& a, T b) {                                                \
    return a = bfloat(a.to_float() op kw_emu::as_float(b));                                         \
  }
KW_BFLOAT_ARITHMETIC(+)
KW_BFLOAT_ARITHMETIC(-)
KW_BFLOAT_ARITHMETIC(*)
KW_BFLOAT_ARITHMETIC(/)
#undef KW_BFLOAT_ARITHMETIC
#define KW_BFLOAT_COMPARISON(op)                                                          \
  constexpr bool operator op(bfloat a, bfloat b) { return a.to_float() op b.to_float(); } \
  template <kw_emu::ScalarButBfloat T>                                                    \
  constexpr bool operator op(bfloat a, T b) {                                             \
    return a.to_float() op kw_emu::as_float(b);                                           \
  }                                                                                       \
  template <kw_emu::ScalarButBfloat T>                                                    \
  constexpr bool operator op(T a, bfloat b) {                                             \
    return kw_emu::as_float(a) op b.to_float();                                           \
  }
KW_BFLOAT_COMPARISON(<)
KW_BFLOAT_COMPARISON(>)
KW_BFLOAT_COMPARISON(<=)
KW_BFLOAT_COMPARISON(>=)
KW_BFLOAT_COMPARISON(==)
KW_BFLOAT_COMPARISON(!=)
#undef KW_BFLOAT_COMPARISON
constexpr bfloat operator-(bfloat a) { return __builtin_bit_cast(bfloat, static_cast<uint16_t>(a.bits_ ^ 0x8000u)); }
constexpr bfloat operator+(bfloat a) { return a; }
