#pragma once
// Math functions of device code, by libm: within a unit in the last place or two, as the device's are within theirs.
#include "traits.h"

namespace kw_cuda {

inline double inverse_erf(double x);
inline double sin_half_turns(double x) {
  const double turned = x - 2 * __builtin_rint(x / 2);
  const double near = turned > 0.5 ? 1 - turned : turned < -0.5 ? -1 - turned : turned;
  return __builtin_sin(3.14159265358979323846 * near);
}
inline double cos_half_turns(double x) {
  const double turned = x - 2 * __builtin_rint(x / 2);
  return __builtin_sin(3.14159265358979323846 * (0.5 - (turned < 0 ? -turned : turned)));
}
inline double inverse_normal(double x) { return -1.4142135623730950488 * inverse_erf(1 - 2 * x); }
inline double normal(double x) { return 0.5 * __builtin_erfc(-0.70710678118654752440 * x); }
/// Newton's steps from a rough guess.
inline double inverse_erf(double x) {
  if (!(x > -1 && x < 1)) return x == 1 ? __builtin_inf() : x == -1 ? -__builtin_inf() : __builtin_nan("");
  const double log = __builtin_log1p(-x * x), half = 2 / (3.14159265358979323846 * 0.147) + log / 2;
  const double size = __builtin_sqrt(__builtin_sqrt(half * half - log / 0.147) - half);
  double y = x < 0 ? -size : size;
  for (int i = 0; i < 4; ++i) {
    const double off = x > 0.5    ? (1 - x) - __builtin_erfc(y)
                       : x < -0.5 ? __builtin_erfc(-y) - (1 + x)
                                  : __builtin_erf(y) - x;
    y -= (x > 0.5 ? -off : off) * 0.88622692545275801365 * __builtin_exp(y * y) * (x > 0.5 ? -1 : 1);
  }
  return y;
}

template <class T>
concept Whole = std::is_integral_v<T>;

}  // namespace kw_cuda

// KW_ROW(name): namef, name of float, double and integers, and std::name.
#define KW_MATH1(ROW) \
  ROW(acos)           \
  ROW(acosh)          \
  ROW(asin)           \
  ROW(asinh)          \
  ROW(atan)           \
  ROW(atanh)          \
  ROW(cbrt)           \
  ROW(ceil)           \
  ROW(cos)            \
  ROW(cosh)           \
  ROW(erf)            \
  ROW(erfc)           \
  ROW(exp)            \
  ROW(exp2)           \
  ROW(expm1)          \
  ROW(fabs)           \
  ROW(floor)          \
  ROW(lgamma)         \
  ROW(log)            \
  ROW(log10)          \
  ROW(log1p)          \
  ROW(log2)           \
  ROW(logb)           \
  ROW(nearbyint)      \
  ROW(rint)           \
  ROW(round)          \
  ROW(sin)            \
  ROW(sinh)           \
  ROW(sqrt)           \
  ROW(tan)            \
  ROW(tanh)           \
  ROW(tgamma)         \
  ROW(trunc)
#define KW_ROW(name)                                               \
  inline float name##f(float x) { return __builtin_##name##f(x); } \
  inline float name(float x) { return __builtin_##name##f(x); }    \
  inline double name(double x) { return __builtin_##name(x); }     \
  template <kw_cuda::Whole T>                                      \
  inline double name(T x) {                                        \
    return __builtin_##name(static_cast<double>(x));               \
  }                                                                \
  namespace std {                                                  \
  using ::name;                                                    \
  using ::name##f;                                                 \
  }
KW_MATH1(KW_ROW)
#undef KW_ROW
#undef KW_MATH1

#define KW_MATH2(ROW) \
  ROW(atan2)          \
  ROW(copysign)       \
  ROW(fdim)           \
  ROW(fmax)           \
  ROW(fmin)           \
  ROW(fmod)           \
  ROW(hypot)          \
  ROW(nextafter)      \
  ROW(pow)            \
  ROW(remainder)
#define KW_ROW(name)                                                                    \
  inline float name##f(float x, float y) { return __builtin_##name##f(x, y); }          \
  inline float name(float x, float y) { return __builtin_##name##f(x, y); }             \
  inline double name(double x, double y) { return __builtin_##name(x, y); }             \
  template <class A, class B>                                                           \
    requires(std::is_arithmetic_v<A> && std::is_arithmetic_v<B> && !__is_same(A, B)) || \
            (kw_cuda::Whole<A> && __is_same(A, B))                                      \
  inline double name(A x, B y) {                                                        \
    return __builtin_##name(static_cast<double>(x), static_cast<double>(y));            \
  }                                                                                     \
  namespace std {                                                                       \
  using ::name;                                                                         \
  using ::name##f;                                                                      \
  }
KW_MATH2(KW_ROW)
#undef KW_ROW
#undef KW_MATH2
inline float pow(float x, int n) { return __builtin_powf(x, static_cast<float>(n)); }
inline float powif(float x, int n) { return __builtin_powf(x, static_cast<float>(n)); }

// Of these libm has none: in double, rounded once.
#define KW_OWN1(name, expression)                     \
  inline double name(double x) { return expression; } \
  inline float name##f(float v) {                     \
    const double x = static_cast<double>(v);          \
    return static_cast<float>(expression);            \
  }                                                   \
  inline float name(float x) { return name##f(x); }
KW_OWN1(rsqrt, 1 / __builtin_sqrt(x))
KW_OWN1(rcbrt, 1 / __builtin_cbrt(x))
KW_OWN1(exp10, __builtin_pow(10.0, x))
KW_OWN1(sinpi, kw_cuda::sin_half_turns(x))
KW_OWN1(cospi, kw_cuda::cos_half_turns(x))
KW_OWN1(erfinv, kw_cuda::inverse_erf(x))
KW_OWN1(erfcinv, kw_cuda::inverse_erf(1 - x))
KW_OWN1(erfcx, __builtin_exp(x* x) * __builtin_erfc(x))
KW_OWN1(normcdf, kw_cuda::normal(x))
KW_OWN1(normcdfinv, kw_cuda::inverse_normal(x))
#undef KW_OWN1

inline float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float fdividef(float a, float b) { return a / b; }
inline float ldexpf(float x, int n) { return __builtin_ldexpf(x, n); }
inline float ldexp(float x, int n) { return __builtin_ldexpf(x, n); }
inline double ldexp(double x, int n) { return __builtin_ldexp(x, n); }
inline float scalbnf(float x, int n) { return __builtin_ldexpf(x, n); }
inline float frexpf(float x, int* n) { return __builtin_frexpf(x, n); }
inline float frexp(float x, int* n) { return __builtin_frexpf(x, n); }
inline double frexp(double x, int* n) { return __builtin_frexp(x, n); }
inline float modff(float x, float* whole) { return __builtin_modff(x, whole); }
inline float modf(float x, float* whole) { return __builtin_modff(x, whole); }
inline double modf(double x, double* whole) { return __builtin_modf(x, whole); }
inline int ilogbf(float x) { return __builtin_ilogbf(x); }
inline int ilogb(double x) { return __builtin_ilogb(x); }
inline void sincosf(float x, float* s, float* c) { *s = __builtin_sinf(x), *c = __builtin_cosf(x); }
inline void sincos(double x, double* s, double* c) { *s = __builtin_sin(x), *c = __builtin_cos(x); }
inline void sincospif(float x, float* s, float* c) { *s = sinpif(x), *c = cospif(x); }
inline float rhypotf(float x, float y) { return 1 / __builtin_hypotf(x, y); }
inline float norm3df(float a, float b, float c) {
  const double x = static_cast<double>(a), y = static_cast<double>(b), z = static_cast<double>(c);
  return static_cast<float>(__builtin_sqrt(x * x + y * y + z * z));
}
inline float rnorm3df(float a, float b, float c) { return 1 / norm3df(a, b, c); }
inline float norm4df(float a, float b, float c, float d) {
  const double x = static_cast<double>(norm3df(a, b, c)), y = static_cast<double>(d);
  return static_cast<float>(__builtin_sqrt(x * x + y * y));
}
inline long lroundf(float x) { return __builtin_lroundf(x); }
inline long lround(double x) { return __builtin_lround(x); }
inline long lrintf(float x) { return __builtin_lrintf(x); }
inline long lrint(double x) { return __builtin_lrint(x); }
inline long long llroundf(float x) { return __builtin_llroundf(x); }
inline long long llrintf(float x) { return __builtin_llrintf(x); }
inline float nanf(const char*) { return __builtin_nanf(""); }
inline double nan(const char*) { return __builtin_nan(""); }

#define KW_TEST(name, builtin)                      \
  inline bool name(float x) { return builtin(x); }  \
  inline bool name(double x) { return builtin(x); } \
  namespace std {                                   \
  using ::name;                                     \
  }
KW_TEST(isnan, __builtin_isnan)
KW_TEST(isinf, __builtin_isinf)
KW_TEST(isfinite, __builtin_isfinite)
KW_TEST(signbit, __builtin_signbit)
#undef KW_TEST

// min, max, abs: of floats as fmin and fmax, of integers in their common type.
template <class A, class B>
  requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr auto min(A a, B b) {
  typedef decltype(true ? a : b) T;
  if constexpr (__is_same(T, float))
    return __builtin_fminf(a, b);
  else if constexpr (__is_same(T, double))
    return __builtin_fmin(a, b);
  else
    return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b);
}
template <class A, class B>
  requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr auto max(A a, B b) {
  typedef decltype(true ? a : b) T;
  if constexpr (__is_same(T, float))
    return __builtin_fmaxf(a, b);
  else if constexpr (__is_same(T, double))
    return __builtin_fmax(a, b);
  else
    return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
constexpr int abs(int x) { return x < 0 ? -x : x; }
constexpr long abs(long x) { return x < 0 ? -x : x; }
constexpr long long abs(long long x) { return x < 0 ? -x : x; }
constexpr float abs(float x) { return __builtin_fabsf(x); }
constexpr double abs(double x) { return __builtin_fabs(x); }
constexpr long labs(long x) { return x < 0 ? -x : x; }
constexpr long long llabs(long long x) { return x < 0 ? -x : x; }
constexpr unsigned umin(unsigned a, unsigned b) { return a < b ? a : b; }
constexpr unsigned umax(unsigned a, unsigned b) { return a < b ? b : a; }
namespace std {
using ::abs;
using ::fma;
using ::fmaf;
using ::frexp;
using ::ldexp;
using ::lround;
using ::modf;
using ::pow;
}  // namespace std
