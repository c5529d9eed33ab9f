#pragma once
// What <cuda_fp16.h> and <cuda_bf16.h> offer: arithmetic, functions, conversions.
#include "half.h"

typedef __half half;
typedef __half2 half2;
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

// Operators and what both types offer under one name. Of a product and a sum in one, one rounding.
#define KW_NARROW_OPERATOR(T, op)                                                                 \
  constexpr T operator op(const T& a, const T& b) { return T(a.kw_float() op b.kw_float()); }     \
  constexpr T& operator op##=(T& a, const T& b) { return a = a op b; }                            \
  constexpr T##2 operator op(const T##2 & a, const T##2 & b) { return {a.x op b.x, a.y op b.y}; } \
  constexpr T##2 & operator op##=(T##2 & a, const T##2 & b) { return a = a op b; }
#define KW_NARROW_COMPARISON(T, op, name)                                                                      \
  constexpr bool operator op(const T& a, const T& b) { return a.kw_float() op b.kw_float(); }                  \
  constexpr bool __h##name(const T& a, const T& b) { return a.kw_float() op b.kw_float(); }                    \
  constexpr bool __h##name##u(const T& a, const T& b) {                                                        \
    return !(a.kw_float() == a.kw_float()) || !(b.kw_float() == b.kw_float()) || a.kw_float() op b.kw_float(); \
  }                                                                                                            \
  constexpr T##2 __h##name##2(const T##2 & a, const T##2 & b) {                                                \
    return {T(a.x op b.x ? 1.0f : 0.0f), T(a.y op b.y ? 1.0f : 0.0f)};                                         \
  }                                                                                                            \
  constexpr bool __hb##name##2(const T##2 & a, const T##2 & b) { return (a.x op b.x) && (a.y op b.y); }
#define KW_NARROW_FUNCTION(T, name, expression) \
  inline T h##name(const T a) {                 \
    const float x = a.kw_float();               \
    return T(expression);                       \
  }                                             \
  inline T##2 h2##name(const T##2 a) { return {h##name(a.x), h##name(a.y)}; }
#define KW_NARROW_BINARY(T, name, op)                                                              \
  constexpr T __h##name(const T& a, const T& b) { return a op b; }                                 \
  constexpr T __h##name##_rn(const T& a, const T& b) { return a op b; }                            \
  inline T __h##name##_sat(const T& a, const T& b) { return T(__saturatef((a op b).kw_float())); } \
  constexpr T##2 __h##name##2(const T##2 & a, const T##2 & b) { return a op b; }                   \
  constexpr T##2 __h##name##2_rn(const T##2 & a, const T##2 & b) { return a op b; }

#define KW_NARROW_MATH(T)                                                                                        \
  KW_NARROW_OPERATOR(T, +)                                                                                       \
  KW_NARROW_OPERATOR(T, -)                                                                                       \
  KW_NARROW_OPERATOR(T, *)                                                                                       \
  KW_NARROW_OPERATOR(T, /)                                                                                       \
  KW_NARROW_COMPARISON(T, ==, eq)                                                                                \
  KW_NARROW_COMPARISON(T, !=, ne)                                                                                \
  KW_NARROW_COMPARISON(T, <, lt)                                                                                 \
  KW_NARROW_COMPARISON(T, <=, le)                                                                                \
  KW_NARROW_COMPARISON(T, >, gt)                                                                                 \
  KW_NARROW_COMPARISON(T, >=, ge)                                                                                \
  KW_NARROW_BINARY(T, add, +)                                                                                    \
  KW_NARROW_BINARY(T, sub, -)                                                                                    \
  KW_NARROW_BINARY(T, mul, *)                                                                                    \
  constexpr T __hdiv(const T& a, const T& b) { return a / b; }                                                   \
  constexpr T##2 __h2div(const T##2 & a, const T##2 & b) { return a / b; }                                       \
  constexpr T operator-(const T& a) { return T(-a.kw_float()); }                                                 \
  constexpr T operator+(const T& a) { return a; }                                                                \
  constexpr T##2 operator-(const T##2 & a) { return {-a.x, -a.y}; }                                              \
  constexpr T& operator++(T& a) { return a = a + T(1.0f); }                                                      \
  constexpr T& operator--(T& a) { return a = a - T(1.0f); }                                                      \
  constexpr T __hneg(const T& a) { return -a; }                                                                  \
  constexpr T##2 __hneg2(const T##2 & a) { return -a; }                                                          \
  constexpr T __habs(const T& a) { return T(__builtin_fabsf(a.kw_float())); }                                    \
  constexpr T##2 __habs2(const T##2 & a) { return {__habs(a.x), __habs(a.y)}; }                                  \
  constexpr T __hmax(const T& a, const T& b) { return T(__builtin_fmaxf(a.kw_float(), b.kw_float())); }          \
  constexpr T __hmin(const T& a, const T& b) { return T(__builtin_fminf(a.kw_float(), b.kw_float())); }          \
  constexpr T __hmax_nan(const T& a, const T& b) { return a != a ? a : b != b ? b : __hmax(a, b); }              \
  constexpr T __hmin_nan(const T& a, const T& b) { return a != a ? a : b != b ? b : __hmin(a, b); }              \
  constexpr T##2 __hmax2(const T##2 & a, const T##2 & b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }        \
  constexpr T##2 __hmin2(const T##2 & a, const T##2 & b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }        \
  constexpr bool __hisnan(const T& a) { return a != a; }                                                         \
  constexpr T __hfma(const T& a, const T& b, const T& c) {                                                       \
    const double x = static_cast<double>(a.kw_float()), y = static_cast<double>(b.kw_float());                   \
    return T(kw_cuda::odd_fma(x, y, static_cast<double>(c.kw_float())));                                         \
  }                                                                                                              \
  inline T __hfma_sat(const T& a, const T& b, const T& c) { return T(__saturatef(__hfma(a, b, c).kw_float())); } \
  constexpr T __hfma_relu(const T& a, const T& b, const T& c) { return __hmax_nan(__hfma(a, b, c), T(0.0f)); }   \
  constexpr T##2 __hfma2(const T##2 & a, const T##2 & b, const T##2 & c) {                                       \
    return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};                                                       \
  }                                                                                                              \
  KW_NARROW_FUNCTION(T, exp, __builtin_expf(x))                                                                  \
  KW_NARROW_FUNCTION(T, exp2, __builtin_exp2f(x))                                                                \
  KW_NARROW_FUNCTION(T, exp10, exp10f(x))                                                                        \
  KW_NARROW_FUNCTION(T, log, __builtin_logf(x))                                                                  \
  KW_NARROW_FUNCTION(T, log2, __builtin_log2f(x))                                                                \
  KW_NARROW_FUNCTION(T, log10, __builtin_log10f(x))                                                              \
  KW_NARROW_FUNCTION(T, sin, __builtin_sinf(x))                                                                  \
  KW_NARROW_FUNCTION(T, cos, __builtin_cosf(x))                                                                  \
  KW_NARROW_FUNCTION(T, tanh, __builtin_tanhf(x))                                                                \
  KW_NARROW_FUNCTION(T, sqrt, __builtin_sqrtf(x))                                                                \
  KW_NARROW_FUNCTION(T, rsqrt, rsqrtf(x))                                                                        \
  KW_NARROW_FUNCTION(T, rcp, 1.0f / x)                                                                           \
  KW_NARROW_FUNCTION(T, floor, __builtin_floorf(x))                                                              \
  KW_NARROW_FUNCTION(T, ceil, __builtin_ceilf(x))                                                                \
  KW_NARROW_FUNCTION(T, rint, __builtin_rintf(x))                                                                \
  KW_NARROW_FUNCTION(T, trunc, __builtin_truncf(x))
KW_NARROW_MATH(__half)
KW_NARROW_MATH(__nv_bfloat16)
constexpr int __hisinf(const __half& a) { return __builtin_isinf(a.kw_float()) ? (a.kw_float() > 0 ? 1 : -1) : 0; }
constexpr int __hisinf(const __nv_bfloat16& a) {
  return __builtin_isinf(a.kw_float()) ? (a.kw_float() > 0 ? 1 : -1) : 0;
}

namespace kw_cuda {
/// Directed rounding to a narrow type: from the nearest, a step of its bits where that went too far.
template <class T>
inline T narrow_directed(float x, Way way) {
  const T near(x);
  const float back = near.kw_float();
  if (back == x || back != back) return near;
  const bool wants_less = way == Way::down || (way == Way::zero && x > 0);
  if ((back > x) != wants_less) return near;
  const unsigned short bits = __builtin_bit_cast(unsigned short, near);
  if (back == 0) return __builtin_bit_cast(T, static_cast<unsigned short>(wants_less ? 0x8001 : 1));
  return __builtin_bit_cast(T, static_cast<unsigned short>((back > 0) == wants_less ? bits - 1 : bits + 1));
}
}  // namespace kw_cuda

// Conversions, whose names carry the type's: half, and bfloat16 with a 1 between the pairs.
#define KW_CONVERSIONS(T, name)                                                                        \
  constexpr T __float2##name(float x) { return T(x); }                                                 \
  constexpr T __float2##name##_rn(float x) { return T(x); }                                            \
  inline T __float2##name##_rz(float x) { return kw_cuda::narrow_directed<T>(x, kw_cuda::Way::zero); } \
  inline T __float2##name##_rd(float x) { return kw_cuda::narrow_directed<T>(x, kw_cuda::Way::down); } \
  inline T __float2##name##_ru(float x) { return kw_cuda::narrow_directed<T>(x, kw_cuda::Way::up); }   \
  constexpr T __double2##name(double x) { return T(x); }                                               \
  constexpr T __int2##name##_rn(int x) { return T(x); }                                                \
  constexpr T __uint2##name##_rn(unsigned x) { return T(x); }                                          \
  constexpr T __short2##name##_rn(short x) { return T(x); }                                            \
  constexpr T __ushort2##name##_rn(unsigned short x) { return T(x); }                                  \
  constexpr T __ll2##name##_rn(long long x) { return T(x); }                                           \
  constexpr float __##name##2float(T x) { return x.kw_float(); }                                       \
  inline int __##name##2int_rn(T x) { return __float2int_rn(x.kw_float()); }                           \
  inline int __##name##2int_rz(T x) { return __float2int_rz(x.kw_float()); }                           \
  inline int __##name##2int_rd(T x) { return __float2int_rd(x.kw_float()); }                           \
  inline int __##name##2int_ru(T x) { return __float2int_ru(x.kw_float()); }                           \
  inline unsigned __##name##2uint_rn(T x) { return __float2uint_rn(x.kw_float()); }                    \
  inline unsigned __##name##2uint_rz(T x) { return __float2uint_rz(x.kw_float()); }                    \
  constexpr unsigned short __##name##_as_ushort(T x) { return __builtin_bit_cast(unsigned short, x); } \
  constexpr short __##name##_as_short(T x) { return __builtin_bit_cast(short, x); }                    \
  constexpr T __ushort_as_##name(unsigned short x) { return __builtin_bit_cast(T, x); }                \
  constexpr T __short_as_##name(short x) { return __builtin_bit_cast(T, x); }
#define KW_PAIRS(T, pair, low2, name, name2)                                      \
  constexpr T##2 __float2##name2##_rn(float x) { return {T(x), T(x)}; }           \
  constexpr T##2 __floats2##name2##_rn(float x, float y) { return {T(x), T(y)}; } \
  constexpr T##2 __float22##name2##_rn(float2 v) { return {T(v.x), T(v.y)}; }     \
  constexpr T##2 make_##pair(T x, T y) { return {x, y}; }                         \
  constexpr T##2 __##low2##2##name2(T x) { return {x, x}; }                       \
  constexpr T##2 __##low2##s2##name2(T x, T y) { return {x, y}; }                 \
  constexpr T __low2##name(T##2 v) { return v.x; }                                \
  constexpr T __high2##name(T##2 v) { return v.y; }                               \
  constexpr T##2 __low2##name2(T##2 v) { return {v.x, v.x}; }                     \
  constexpr T##2 __high2##name2(T##2 v) { return {v.y, v.y}; }                    \
  constexpr T##2 __lows2##name2(T##2 a, T##2 b) { return {a.x, b.x}; }            \
  constexpr T##2 __highs2##name2(T##2 a, T##2 b) { return {a.y, b.y}; }           \
  constexpr T##2 __lowhigh2highlow(T##2 v) { return {v.y, v.x}; }                 \
  constexpr float __low2float(T##2 v) { return v.x.kw_float(); }                  \
  constexpr float __high2float(T##2 v) { return v.y.kw_float(); }
KW_CONVERSIONS(__half, half)
KW_CONVERSIONS(__nv_bfloat16, bfloat16)
KW_PAIRS(__half, half2, half, half, half2)
KW_PAIRS(__nv_bfloat16, bfloat162, bfloat16, bfloat16, bfloat162)
constexpr float2 __half22float2(__half2 v) { return {v.x.kw_float(), v.y.kw_float()}; }
constexpr float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x.kw_float(), v.y.kw_float()}; }
#undef KW_NARROW_OPERATOR
#undef KW_NARROW_COMPARISON
#undef KW_NARROW_FUNCTION
#undef KW_NARROW_BINARY
#undef KW_NARROW_MATH
#undef KW_CONVERSIONS
#undef KW_PAIRS
