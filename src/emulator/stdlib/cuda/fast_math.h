#pragma once
// Intrinsics. The approximate ones lose what the device's lose: they go through base 2 in float, sine and cosine
// through turns and an absolute error.
#include "integer.h"
#include "math.h"

inline float __fdividef(float a, float b) {
  return __builtin_fabsf(b) > 0x1p126f && __builtin_isfinite(b) ? (__builtin_isfinite(a) ? 0 * a : __builtin_nanf(""))
                                                                : a * (1.0f / b);
}
inline float __exp2f(float x) { return __builtin_exp2f(x); }
inline float __expf(float x) { return __builtin_exp2f(x * 1.4426950408889634f); }
inline float __exp10f(float x) { return __builtin_exp2f(x * 3.3219280948873624f); }
inline float __log2f(float x) { return __builtin_log2f(x); }
inline float __logf(float x) { return __builtin_log2f(x) * 0.69314718055994531f; }
inline float __log10f(float x) { return __builtin_log2f(x) * 0.30102999566398120f; }
inline float __powf(float x, float y) { return __builtin_exp2f(y * __builtin_log2f(x)); }
inline float __tanhf(float x) { return __builtin_rintf(__builtin_tanhf(x) * 0x1p13f) * 0x1p-13f; }
namespace kw_cuda {
/// Of an angle, in turns that are rounded to float, with 22 bits behind the point.
inline float rounded_sine(float x, double shift) {
  if (!__builtin_isfinite(x)) return __builtin_nanf("");
  const float turns = x * 0.15915494309189534f;
  const double part = static_cast<double>(turns - __builtin_rintf(turns));
  return static_cast<float>(__builtin_rint(__builtin_sin(6.28318530717958648 * (part + shift)) * 0x1p22) * 0x1p-22);
}
}  // namespace kw_cuda
inline float __sinf(float x) { return kw_cuda::rounded_sine(x, 0); }
inline float __cosf(float x) { return kw_cuda::rounded_sine(x, 0.25); }
inline float __tanf(float x) { return __sinf(x) * (1.0f / __cosf(x)); }
inline void __sincosf(float x, float* s, float* c) { *s = __sinf(x), *c = __cosf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }

// Rounding stated. The directed ones step from the nearest towards where they point, where that is not exact.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline float __frsqrt_rn(float a) { return static_cast<float>(1 / __builtin_sqrt(static_cast<double>(a))); }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return __builtin_sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
namespace kw_cuda {
enum class Way { zero, down, up };
/// `exact` holds the true value, or what is on its side of every float.
inline float directed(double exact, Way way) {
  const float near = static_cast<float>(exact);
  const double back = static_cast<double>(near);
  if (back == exact || back != back) return near;
  const bool too_large = back > exact;
  const bool wants_less = way == Way::down || (way == Way::zero && exact > 0);
  if (too_large == wants_less) return __builtin_nextafterf(near, wants_less ? -__builtin_inff() : __builtin_inff());
  return near;
}
inline double wide(float x) { return static_cast<double>(x); }
}  // namespace kw_cuda
#define KW_DIRECTED(way, name)                                                                                    \
  inline float __fadd_##way(float a, float b) {                                                                   \
    return kw_cuda::directed(kw_cuda::wide(a) + kw_cuda::wide(b), kw_cuda::Way::name);                            \
  }                                                                                                               \
  inline float __fmul_##way(float a, float b) {                                                                   \
    return kw_cuda::directed(kw_cuda::wide(a) * kw_cuda::wide(b), kw_cuda::Way::name);                            \
  }                                                                                                               \
  inline float __fdiv_##way(float a, float b) {                                                                   \
    return kw_cuda::directed(kw_cuda::wide(a) / kw_cuda::wide(b), kw_cuda::Way::name);                            \
  }                                                                                                               \
  inline float __double2float_##way(double x) { return kw_cuda::directed(x, kw_cuda::Way::name); }                \
  inline float __int2float_##way(int x) { return kw_cuda::directed(static_cast<double>(x), kw_cuda::Way::name); } \
  inline float __uint2float_##way(unsigned x) { return kw_cuda::directed(static_cast<double>(x), kw_cuda::Way::name); }
KW_DIRECTED(rz, zero)
KW_DIRECTED(rd, down)
KW_DIRECTED(ru, up)
#undef KW_DIRECTED

namespace kw_cuda {
/// What lies outside saturates, NaN gives 0 (32 bits) as on the device.
template <class T>
inline T to_whole(double x) {
  typedef std::numeric_limits<T> L;
  if (x != x) return sizeof(T) == 8 ? static_cast<T>(1ull << 63) : T(0);
  if (x >= static_cast<double>(L::max())) return L::max();
  if (x <= static_cast<double>(L::min())) return L::min();
  return static_cast<T>(x);
}
}  // namespace kw_cuda
#define KW_TO_WHOLE(way, round)                                                                                \
  inline int __float2int_##way(float x) { return kw_cuda::to_whole<int>(round(kw_cuda::wide(x))); }            \
  inline unsigned __float2uint_##way(float x) { return kw_cuda::to_whole<unsigned>(round(kw_cuda::wide(x))); } \
  inline long long __float2ll_##way(float x) { return kw_cuda::to_whole<long long>(round(kw_cuda::wide(x))); } \
  inline unsigned long long __float2ull_##way(float x) {                                                       \
    return kw_cuda::to_whole<unsigned long long>(round(kw_cuda::wide(x)));                                     \
  }                                                                                                            \
  inline int __double2int_##way(double x) { return kw_cuda::to_whole<int>(round(x)); }                         \
  inline unsigned __double2uint_##way(double x) { return kw_cuda::to_whole<unsigned>(round(x)); }              \
  inline long long __double2ll_##way(double x) { return kw_cuda::to_whole<long long>(round(x)); }
KW_TO_WHOLE(rn, __builtin_rint)
KW_TO_WHOLE(rz, __builtin_trunc)
KW_TO_WHOLE(rd, __builtin_floor)
KW_TO_WHOLE(ru, __builtin_ceil)
#undef KW_TO_WHOLE
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
inline double __int2double_rn(int x) { return static_cast<double>(x); }
inline double __uint2double_rn(unsigned x) { return static_cast<double>(x); }
inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
