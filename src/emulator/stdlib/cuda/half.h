#pragma once
// __half and __nv_bfloat16: two bytes, a true rounding after every operation.
#include "fast_math.h"

namespace kw_cuda {

/// To float so that a second rounding to 13 bits or fewer gives what one would: the last bit says "not exact".
constexpr float odd_float(double x) {
  const float near = static_cast<float>(x);
  const double back = static_cast<double>(near);
  const unsigned bits = __builtin_bit_cast(unsigned, near);
  if (back == x || back != back || (bits & 1u)) return near;
  return __builtin_bit_cast(float, bits + ((back < x) == (x > 0) ? 1u : ~0u));
}
/// a * b + c where a * b is exact in double, with the same last bit.
constexpr double odd_fma(double a, double b, double c) {
  const double product = a * b, sum = product + c;
  if (!__builtin_isfinite(sum)) return sum;
  const double other = sum - product, error = (product - (sum - other)) + (c - other);
  const unsigned long long bits = __builtin_bit_cast(unsigned long long, sum);
  if (error == 0 || (bits & 1u)) return sum;
  return __builtin_bit_cast(double, bits + ((error > 0) == (sum > 0) ? 1ull : ~0ull));
}
constexpr unsigned short bfloat_bits(float x) {
  const unsigned bits = __builtin_bit_cast(unsigned, x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/// How two bytes stand for a number. `Bits` is the type that holds them.
struct HalfCode {
  typedef _Float16 Bits;
  static constexpr Bits of(float x) { return static_cast<_Float16>(x); }
  static constexpr float value(Bits x) { return static_cast<float>(x); }
  static constexpr int digits = 11;
};
struct BfloatCode {
  typedef unsigned short Bits;
  static constexpr Bits of(float x) { return bfloat_bits(x); }
  static constexpr float value(Bits x) { return __builtin_bit_cast(float, static_cast<unsigned>(x) << 16); }
  static constexpr int digits = 8;
};

template <class T>
concept Number = std::is_arithmetic_v<T>;

}  // namespace kw_cuda

struct __half_raw {
  unsigned short x;
};
struct __nv_bfloat16_raw {
  unsigned short x;
};

// From any number by itself, to float by itself, as in CUDA's headers.
#define KW_NARROW(name, code)                                                                       \
  struct __attribute__((aligned(2))) name {                                                         \
    code::Bits kw_bits;                                                                             \
    name() = default;                                                                               \
    constexpr name(float x) : kw_bits(code::of(x)) {}                                               \
    constexpr name(double x) : kw_bits(code::of(kw_cuda::odd_float(x))) {}                          \
    template <kw_cuda::Number T>                                                                    \
      requires std::is_integral_v<T>                                                                \
    constexpr name(T x) : kw_bits(code::of(kw_cuda::odd_float(static_cast<double>(x)))) {}          \
    constexpr name(name##_raw raw) : kw_bits(__builtin_bit_cast(code::Bits, raw.x)) {}              \
    constexpr operator float() const { return code::value(kw_bits); }                               \
    constexpr operator name##_raw() const { return {__builtin_bit_cast(unsigned short, kw_bits)}; } \
    template <kw_cuda::Number T>                                                                    \
    constexpr name& operator=(T x) {                                                                \
      return *this = name(x);                                                                       \
    }                                                                                               \
    constexpr float kw_float() const { return code::value(kw_bits); }                               \
  };                                                                                                \
  struct __attribute__((aligned(4))) name##2 {                                                      \
    name x, y;                                                                                      \
    name##2() = default;                                                                            \
    constexpr name##2(name a, name b) : x(a), y(b) {}                                               \
  };
KW_NARROW(__half, kw_cuda::HalfCode)
KW_NARROW(__nv_bfloat16, kw_cuda::BfloatCode)
#undef KW_NARROW
