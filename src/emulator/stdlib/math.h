#pragma once
// metal_math, metal_common, metal_relational, metal_geometric: element by element, in float, rounded to the type.
#include "vector.h"

namespace kw_emu {

/// What a math function of arguments of these types gives: float unless all are half.
template <class... V>
struct MathElement {
  typedef conditional_t<(same<element_of<V>, half> && ...), half, float> type;
};
template <class... V>
using math_element = typename MathElement<V...>::type;
template <class V>
concept Floating = Value<V> && floating<element_of<V>>;
template <class V>
concept IntegralValue = Value<V> && integral<element_of<V>>;
/// Math on mixed arguments: at least one is floating, the others may be scalars of any kind.
template <class... V>
concept MathArguments = (Value<V> && ...) && (floating<element_of<V>> || ...) && Fits<V...> &&
                        ((floating<element_of<V>> || count_of<V> == 0) && ...);

template <class T, int N>
struct ResultOf {
  typedef metal::vec<T, N> type;
};
template <class T>
struct ResultOf<T, 0> {
  typedef T type;
};
template <class T, int N>
using result_of = typename ResultOf<T, N>::type;

/// f on each element of the arguments, each converted to A; the results as T.
template <class T, class A, class F, class... V>
constexpr auto each(F f, const V&... values) {
  if constexpr (widest<V...> == 0) {
    return static_cast<T>(f(static_cast<A>(values)...));
  } else {
    metal::vec<T, widest<V...>> made(T{});
    for (int i = 0; i < widest<V...>; ++i) made.kw_ref(i) = static_cast<T>(f(static_cast<A>(at(values, i))...));
    return made;
  }
}

constexpr float pi = 3.14159265358979323846f;
inline float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float exp10(float x) { return static_cast<float>(__builtin_pow(10.0, static_cast<double>(x))); }
inline float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x == x ? x : 0.0f; }
inline float fract(float x) {
  const float part = x - __builtin_floorf(x);
  return part < 1.0f ? part : 0x1.fffffep-1f;
}
inline float saturate(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
// sin(pi x) through the nearest half turn, so that whole arguments give exact zeros.
inline float sinpi(float x) {
  const double turned = static_cast<double>(x) - 2 * __builtin_rint(static_cast<double>(x) / 2);
  const double near = turned > 0.5 ? 1 - turned : turned < -0.5 ? -1 - turned : turned;
  return static_cast<float>(__builtin_sin(3.14159265358979323846 * near));
}
inline float cospi(float x) {
  const double turned = static_cast<double>(x) - 2 * __builtin_rint(static_cast<double>(x) / 2);
  return static_cast<float>(__builtin_sin(3.14159265358979323846 * (0.5 - (turned < 0 ? -turned : turned))));
}
inline float tanpi(float x) { return sinpi(x) / cospi(x); }
inline float divide(float a, float b) { return a / b; }
inline float median3(float a, float b, float c) {
  return __builtin_fmaxf(__builtin_fminf(a, b), __builtin_fminf(__builtin_fmaxf(a, b), c));
}
inline float max3(float a, float b, float c) { return __builtin_fmaxf(__builtin_fmaxf(a, b), c); }
inline float min3(float a, float b, float c) { return __builtin_fminf(__builtin_fminf(a, b), c); }
inline float mix(float a, float b, float t) { return a + (b - a) * t; }
inline float step(float edge, float x) { return x < edge ? 0.0f : 1.0f; }
inline float smoothstep(float a, float b, float x) {
  const float t = saturate((x - a) / (b - a));
  return t * t * (3 - 2 * t);
}
inline float clamp(float x, float low, float high) { return __builtin_fminf(__builtin_fmaxf(x, low), high); }

}  // namespace kw_emu

// KW_MATH1(name, function of float), ...2, ...3: every row becomes metal::name, metal::fast::name,
// metal::precise::name and the compiler's own __metal_name.
#define KW_MATH_TABLE(ROW1, ROW2, ROW3) \
  ROW1(acos, __builtin_acosf)           \
  ROW1(acosh, __builtin_acoshf)         \
  ROW1(asin, __builtin_asinf)           \
  ROW1(asinh, __builtin_asinhf)         \
  ROW1(atan, __builtin_atanf)           \
  ROW1(atanh, __builtin_atanhf)         \
  ROW1(ceil, __builtin_ceilf)           \
  ROW1(cos, __builtin_cosf)             \
  ROW1(cosh, __builtin_coshf)           \
  ROW1(cospi, kw_emu::cospi)            \
  ROW1(exp, __builtin_expf)             \
  ROW1(exp2, __builtin_exp2f)           \
  ROW1(exp10, kw_emu::exp10)            \
  ROW1(fabs, __builtin_fabsf)           \
  ROW1(floor, __builtin_floorf)         \
  ROW1(fract, kw_emu::fract)            \
  ROW1(log, __builtin_logf)             \
  ROW1(log2, __builtin_log2f)           \
  ROW1(log10, __builtin_log10f)         \
  ROW1(rint, __builtin_rintf)           \
  ROW1(round, __builtin_roundf)         \
  ROW1(rsqrt, kw_emu::rsqrt)            \
  ROW1(sin, __builtin_sinf)             \
  ROW1(sinh, __builtin_sinhf)           \
  ROW1(sinpi, kw_emu::sinpi)            \
  ROW1(sqrt, __builtin_sqrtf)           \
  ROW1(tan, __builtin_tanf)             \
  ROW1(tanh, __builtin_tanhf)           \
  ROW1(tanpi, kw_emu::tanpi)            \
  ROW1(trunc, __builtin_truncf)         \
  ROW1(saturate, kw_emu::saturate)      \
  ROW1(sign, kw_emu::sign)              \
  ROW2(atan2, __builtin_atan2f)         \
  ROW2(copysign, __builtin_copysignf)   \
  ROW2(divide, kw_emu::divide)          \
  ROW2(fdim, __builtin_fdimf)           \
  ROW2(fmax, __builtin_fmaxf)           \
  ROW2(fmin, __builtin_fminf)           \
  ROW2(fmod, __builtin_fmodf)           \
  ROW2(pow, __builtin_powf)             \
  ROW2(powr, __builtin_powf)            \
  ROW2(step, kw_emu::step)              \
  ROW3(fma, __builtin_fmaf)             \
  ROW3(fmax3, kw_emu::max3)             \
  ROW3(fmin3, kw_emu::min3)             \
  ROW3(fmedian3, kw_emu::median3)       \
  ROW3(mix, kw_emu::mix)                \
  ROW3(smoothstep, kw_emu::smoothstep)

#define KW_MATH1(name, function)                                                                 \
  template <kw_emu::Floating A>                                                                  \
  inline auto name(const A& a) {                                                                 \
    return kw_emu::each<kw_emu::math_element<A>, float>([](float x) { return function(x); }, a); \
  }
#define KW_MATH2(name, function)                                                                                   \
  template <class A, class B>                                                                                      \
    requires kw_emu::MathArguments<A, B>                                                                           \
  inline auto name(const A& a, const B& b) {                                                                       \
    return kw_emu::each<kw_emu::math_element<A, B>, float>([](float x, float y) { return function(x, y); }, a, b); \
  }
#define KW_MATH3(name, function)                                               \
  template <class A, class B, class C>                                         \
    requires kw_emu::MathArguments<A, B, C>                                    \
  inline auto name(const A& a, const B& b, const C& c) {                       \
    return kw_emu::each<kw_emu::math_element<A, B, C>, float>(                 \
        [](float x, float y, float z) { return function(x, y, z); }, a, b, c); \
  }
// The compiler's own functions, which some headers call: the last argument chooses the math mode.
#define KW_PRIVATE1(name, function) \
  inline float __metal_##name(float x, int = 0) { return function(x); }
#define KW_PRIVATE2(name, function) \
  inline float __metal_##name(float x, float y, int = 0) { return function(x, y); }
#define KW_PRIVATE3(name, function) \
  inline float __metal_##name(float x, float y, float z, int = 0) { return function(x, y, z); }

KW_MATH_TABLE(KW_PRIVATE1, KW_PRIVATE2, KW_PRIVATE3)
inline float __metal_nextafter(float x, float y) { return __builtin_nextafterf(x, y); }
inline float __metal_ldexp(float x, int k, int = 0) { return __builtin_ldexpf(x, k); }
inline float __metal_frexp(float x, int* exponent, int = 0) { return __builtin_frexpf(x, exponent); }

namespace kw_emu {

template <class T>
constexpr T absolute(T x) {
  if constexpr (floating<T>)
    return T(__builtin_fabsf(static_cast<float>(x)));
  else
    return x < T(0) ? T(-x) : x;
}
/// The larger; of a number and a NaN the number.
template <class T>
constexpr T larger(T a, T b) {
  if constexpr (floating<T>) {
    const float x = static_cast<float>(a), y = static_cast<float>(b);
    return x > y || y != y ? a : b;
  } else {
    return a < b ? b : a;
  }
}
template <class T>
constexpr T smaller(T a, T b) {
  if constexpr (floating<T>) {
    const float x = static_cast<float>(a), y = static_cast<float>(b);
    return x < y || y != y ? a : b;
  } else {
    return b < a ? b : a;
  }
}
template <class T>
constexpr T clamped(T x, T low, T high) {
  return smaller(larger(x, low), high);
}
template <class A, class... B>
struct CommonElement {
  typedef element_of<A> type;
};
template <class A, class B, class... C>
struct CommonElement<A, B, C...> {
  typedef typename ElementPair<A, B>::type pair;
  typedef
      typename CommonElement<conditional_t<(count_of<A> > 0), A, conditional_t<(count_of<B> > 0), B, pair>>, C...>::type
          type;
};
/// As for math functions: there are none of bfloat, so it goes to float.
template <class... V>
using common_element =
    conditional_t<same<typename CommonElement<V...>::type, bfloat>, float, typename CommonElement<V...>::type>;

}  // namespace kw_emu

namespace metal {

KW_MATH_TABLE(KW_MATH1, KW_MATH2, KW_MATH3)

#define KW_COMMON(name, function)                                                     \
  template <kw_emu::Value A, kw_emu::Value B>                                         \
    requires kw_emu::Fits<A, B>                                                       \
  constexpr auto name(const A& a, const B& b) {                                       \
    typedef kw_emu::common_element<A, B> T;                                           \
    return kw_emu::each<T, T>([](T x, T y) { return kw_emu::function(x, y); }, a, b); \
  }                                                                                   \
  template <kw_emu::Value A, kw_emu::Value B, kw_emu::Value C>                        \
    requires kw_emu::Fits<A, B, C>                                                    \
  constexpr auto name##3(const A& a, const B& b, const C& c) {                        \
    return name(name(a, b), c);                                                       \
  }
#define KW_COMMONS                                                                                   \
  KW_COMMON(max, larger)                                                                             \
  KW_COMMON(min, smaller)                                                                            \
  template <kw_emu::Value A, kw_emu::Value B, kw_emu::Value C>                                       \
    requires kw_emu::Fits<A, B, C>                                                                   \
  constexpr auto clamp(const A& a, const B& low, const C& high) {                                    \
    typedef kw_emu::common_element<A, B, C> T;                                                       \
    return kw_emu::each<T, T>([](T x, T y, T z) { return kw_emu::clamped(x, y, z); }, a, low, high); \
  }                                                                                                  \
  template <kw_emu::Value A>                                                                         \
  constexpr auto abs(const A& a) {                                                                   \
    typedef kw_emu::common_element<A> T;                                                             \
    return kw_emu::each<T, T>([](T x) { return kw_emu::absolute(x); }, a);                           \
  }
KW_COMMONS
template <kw_emu::Value A, kw_emu::Value B, kw_emu::Value C>
constexpr auto median3(const A& a, const B& b, const C& c) {
  return max(min(a, b), min(max(a, b), c));
}

#define KW_TEST(name, test)                                                               \
  template <kw_emu::Floating A>                                                           \
  constexpr auto name(const A& a) {                                                       \
    return kw_emu::each<bool, float>([](float x) { return static_cast<bool>(test); }, a); \
  }
KW_TEST(isnan, x != x)
KW_TEST(isinf, __builtin_isinf(x))
KW_TEST(isfinite, __builtin_isfinite(x))
KW_TEST(signbit, __builtin_signbit(x))
#undef KW_TEST
template <kw_emu::Floating A>
constexpr auto isnormal(const A& a) {
  typedef kw_emu::element_of<A> T;
  return kw_emu::each<bool, T>(
      [](T x) {
        const float size = __builtin_fabsf(static_cast<float>(x));
        return size >= static_cast<float>(numeric_limits<T>::min()) &&
               size <= static_cast<float>(numeric_limits<T>::max());
      },
      a);
}
template <kw_emu::Floating A, kw_emu::Floating B>
constexpr auto isunordered(const A& a, const B& b) {
  return kw_emu::each<bool, float>([](float x, float y) { return x != x || y != y; }, a, b);
}
template <kw_emu::Floating A, kw_emu::Floating B>
constexpr auto isordered(const A& a, const B& b) {
  return kw_emu::each<bool, float>([](float x, float y) { return x == x && y == y; }, a, b);
}

template <int N>
constexpr bool all(const vec<bool, N>& v) {
  for (int i = 0; i < N; ++i)
    if (!v.kw_at(i)) return false;
  return true;
}
template <int N>
constexpr bool any(const vec<bool, N>& v) {
  for (int i = 0; i < N; ++i)
    if (v.kw_at(i)) return true;
  return false;
}
constexpr bool all(bool v) { return v; }
constexpr bool any(bool v) { return v; }
template <int N>
constexpr vec<bool, N> not_(const vec<bool, N>& v) {
  return !v;
}

template <kw_emu::Value A, kw_emu::Value B>
  requires kw_emu::Fits<A, B>
constexpr auto select(const A& no, const B& yes, bool choice) {
  typedef typename kw_emu::CommonElement<A, B>::type T;
  typedef kw_emu::result_of<T, kw_emu::widest<A, B>> R;
  return choice ? R(yes) : R(no);
}
template <kw_emu::Value A, kw_emu::Value B, int N>
  requires(kw_emu::widest<A, B> == N || kw_emu::widest<A, B> == 0)
constexpr auto select(const A& no, const B& yes, const vec<bool, N>& choice) {
  typedef typename kw_emu::CommonElement<A, B>::type T;
  vec<T, N> made(T{});
  for (int i = 0; i < N; ++i) made.kw_ref(i) = static_cast<T>(choice.kw_at(i) ? kw_emu::at(yes, i) : kw_emu::at(no, i));
  return made;
}

template <kw_emu::Floating A>
inline auto nextafter(const A& a, const A& b) {
  typedef kw_emu::element_of<A> T;
  return kw_emu::each<T, T>(
      [](T x, T y) -> T {
        if constexpr (__is_same(T, float)) {
          return __builtin_nextafterf(x, y);
        } else {
          if (x != x || y != y) return T(x + y);
          if (x == y) return y;
          if (x == T(0)) return as_type<T>(static_cast<ushort>(y > T(0) ? 1 : 0x8001));
          return as_type<T>(static_cast<ushort>(as_type<ushort>(x) + ((x < y) == (x > T(0)) ? 1 : -1)));
        }
      },
      a, b);
}
template <kw_emu::Floating A, class K>
inline auto ldexp(const A& a, const K& k) {
  typedef kw_emu::math_element<A> T;
  if constexpr (kw_emu::count_of<A> == 0) {
    return static_cast<T>(__builtin_ldexpf(static_cast<float>(a), static_cast<int>(k)));
  } else {
    vec<T, kw_emu::count_of<A>> made(T{});
    for (int i = 0; i < kw_emu::count_of<A>; ++i)
      made.kw_ref(i) =
          static_cast<T>(__builtin_ldexpf(static_cast<float>(a.kw_at(i)), static_cast<int>(kw_emu::at(k, i))));
    return made;
  }
}
template <kw_emu::Floating A>
inline auto ilogb(const A& a) {
  return kw_emu::each<int, float>([](float x) { return __builtin_ilogbf(x); }, a);
}
template <kw_emu::Floating A, class K>
inline auto frexp(const A& a, K& exponent) {
  typedef kw_emu::math_element<A> T;
  if constexpr (kw_emu::count_of<A> == 0) {
    int power = 0;
    const T part = static_cast<T>(__builtin_frexpf(static_cast<float>(a), &power));
    exponent = power;
    return part;
  } else {
    vec<T, kw_emu::count_of<A>> made(T{});
    for (int i = 0; i < kw_emu::count_of<A>; ++i) {
      int power = 0;
      made.kw_ref(i) = static_cast<T>(__builtin_frexpf(static_cast<float>(a.kw_at(i)), &power));
      exponent[i] = power;
    }
    return made;
  }
}
template <kw_emu::Floating A, class K>
inline auto modf(const A& a, K& whole) {
  whole = K(trunc(a));
  return a - whole;
}
template <kw_emu::Floating A, class K>
inline auto sincos(const A& a, K& cosine) {
  cosine = K(cos(a));
  return sin(a);
}

template <class A, class B>
  requires(kw_emu::count_of<A> > 0 && kw_emu::count_of<A> == kw_emu::count_of<B>)
constexpr auto dot(const A& a, const B& b) {
  typedef typename kw_emu::ElementPair<A, B>::type T;
  T sum = static_cast<T>(a.kw_at(0) * b.kw_at(0));
  for (int i = 1; i < kw_emu::count_of<A>; ++i) sum = static_cast<T>(sum + a.kw_at(i) * b.kw_at(i));
  return sum;
}
template <kw_emu::Vector A, kw_emu::Vector B>
constexpr auto cross(const A& a, const B& b) {
  typedef kw_emu::element_of<A> T;
  return vec<T, 3>(a.kw_at(1) * b.kw_at(2) - a.kw_at(2) * b.kw_at(1), a.kw_at(2) * b.kw_at(0) - a.kw_at(0) * b.kw_at(2),
                   a.kw_at(0) * b.kw_at(1) - a.kw_at(1) * b.kw_at(0));
}
template <kw_emu::Vector A>
inline auto length_squared(const A& a) {
  return dot(a, a);
}
template <kw_emu::Vector A>
inline auto length(const A& a) {
  return sqrt(dot(a, a));
}
template <kw_emu::Vector A, kw_emu::Vector B>
inline auto distance(const A& a, const B& b) {
  return length(a - b);
}
template <kw_emu::Vector A, kw_emu::Vector B>
inline auto distance_squared(const A& a, const B& b) {
  return length_squared(a - b);
}
template <kw_emu::Vector A>
inline auto normalize(const A& a) {
  return a * rsqrt(dot(a, a));
}
template <kw_emu::Vector A, kw_emu::Vector B>
inline auto reflect(const A& incident, const B& normal) {
  return incident - normal * (dot(normal, incident) * kw_emu::element_of<A>(2));
}
template <kw_emu::Vector A, kw_emu::Vector B, class S>
inline kw_emu::plain<A> refract(const A& incident, const B& normal, S ratio) {
  const auto along = dot(normal, incident);
  const auto rest = 1 - ratio * ratio * (1 - along * along);
  if (rest < 0) return kw_emu::plain<A>(0);
  return kw_emu::plain<A>(incident * ratio - normal * (ratio * along + sqrt(rest)));
}
template <kw_emu::Vector A, kw_emu::Vector B, kw_emu::Vector C>
inline kw_emu::plain<A> faceforward(const A& normal, const B& incident, const C& reference) {
  return dot(reference, incident) < 0 ? kw_emu::plain<A>(normal) : kw_emu::plain<A>(-normal);
}

namespace fast {
KW_MATH_TABLE(KW_MATH1, KW_MATH2, KW_MATH3)
KW_COMMONS
using metal::distance;
using metal::frexp;
using metal::ldexp;
using metal::length;
using metal::normalize;
using metal::sincos;
}  // namespace fast
namespace precise {
KW_MATH_TABLE(KW_MATH1, KW_MATH2, KW_MATH3)
KW_COMMONS
using metal::distance;
using metal::frexp;
using metal::ldexp;
using metal::length;
using metal::normalize;
using metal::sincos;
}  // namespace precise

}  // namespace metal
