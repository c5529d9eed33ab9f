#include "kernel/emit/msl_prelude.h"

#include <array>
#include <cctype>
#include <string_view>

/// What Metal's library lacks, or computes otherwise than PyTorch: each helper is printed where it is used.
namespace kw::kernel::emit {
namespace {

struct Helper {
  std::string_view name;
  std::string_view text;
};

/// A helper may use those before it.
constexpr std::array helpers = {
    Helper{"kw_max", R"(// NaN wins, as in torch.maximum.
inline float kw_max(float a, float b) { return a > b || isnan(a) ? a : b; }
inline int kw_max(int a, int b) { return a > b ? a : b; }
inline long kw_max(long a, long b) { return a > b ? a : b; }
inline bool kw_max(bool a, bool b) { return a || b; }
inline uchar kw_max(uchar a, uchar b) { return a > b ? a : b; }
inline char kw_max(char a, char b) { return a > b ? a : b; }
inline short kw_max(short a, short b) { return a > b ? a : b; }
)"},
    Helper{"kw_min", R"(inline float kw_min(float a, float b) { return a < b || isnan(a) ? a : b; }
inline int kw_min(int a, int b) { return a < b ? a : b; }
inline long kw_min(long a, long b) { return a < b ? a : b; }
inline bool kw_min(bool a, bool b) { return a && b; }
inline uchar kw_min(uchar a, uchar b) { return a < b ? a : b; }
inline char kw_min(char a, char b) { return a < b ? a : b; }
inline short kw_min(short a, short b) { return a < b ? a : b; }
)"},
    Helper{"kw_simd_max", R"(inline float kw_simd_max(float x) {
  const float most = simd_max(isnan(x) ? -INFINITY : x);
  return simd_any(isnan(x)) ? NAN : most;
}
inline int kw_simd_max(int x) { return simd_max(x); }
)"},
    Helper{"kw_simd_min", R"(inline float kw_simd_min(float x) {
  const float least = simd_min(isnan(x) ? INFINITY : x);
  return simd_any(isnan(x)) ? NAN : least;
}
inline int kw_simd_min(int x) { return simd_min(x); }
)"},
    Helper{"kw_abs", R"(inline float kw_abs(float x) { return fabs(x); }
inline int kw_abs(int x) { return x < 0 ? int(0u - uint(x)) : x; }
inline long kw_abs(long x) { return x < 0 ? long(0ul - ulong(x)) : x; }
)"},
    Helper{"kw_sign", R"(inline float kw_sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
inline int kw_sign(int x) { return int(x > 0) - int(x < 0); }
inline long kw_sign(long x) { return long(x > 0) - long(x < 0); }
)"},
    Helper{"kw_is_nan", "inline bool kw_is_nan(float x) { return isnan(x); }\n"},
    Helper{"kw_is_inf", "inline bool kw_is_inf(float x) { return isinf(x); }\n"},
    Helper{"kw_reciprocal", "inline float kw_reciprocal(float x) { return 1.0f / x; }\n"},
    Helper{"kw_round_f16", "inline float kw_round_f16(float x) { return float(half(x)); }\n"},
    Helper{"kw_round_bf16", "inline float kw_round_bf16(float x) { return float(bfloat(x)); }\n"},
    Helper{"kw_div_trunc", R"(template <typename T>
inline T kw_div_trunc(T a, T b) {
  return b == 0 ? T(0) : b == -1 ? T(0 - a) : T(a / b);
}
)"},
    Helper{"kw_fmod", R"(inline float kw_fmod(float a, float b) { return precise::fmod(a, b); }
template <typename T>
inline T kw_fmod(T a, T b) {
  return b == 0 || b == -1 ? T(0) : T(a % b);
}
)"},
    Helper{"kw_remainder", R"(inline float kw_remainder(float a, float b) {
  const float r = precise::fmod(a, b);
  return r != 0.0f && (b < 0.0f) != (r < 0.0f) ? r + b : r;
}
template <typename T>
inline T kw_remainder(T a, T b) {
  if (b == 0 || b == -1) return T(0);
  const T r = T(a % b);
  return r != 0 && (b < 0) != (r < 0) ? T(r + b) : r;
}
)"},
    Helper{"kw_floor_div", R"(inline float kw_floor_div(float a, float b) {
  if (b == 0.0f) return a / b;
  const float r = precise::fmod(a, b);
  float q = (a - r) / b;
  if (r != 0.0f && (b < 0.0f) != (r < 0.0f)) q -= 1.0f;
  if (q == 0.0f) return copysign(0.0f, a / b);
  const float whole = precise::floor(q);
  return q - whole > 0.5f ? whole + 1.0f : whole;
}
template <typename T>
inline T kw_floor_div(T a, T b) {
  if (b == 0) return T(0);
  if (b == -1) return T(0 - a);
  const T q = T(a / b);
  return a % b != 0 && (a < 0) != (b < 0) ? T(q - 1) : q;
}
)"},
    Helper{"kw_sigmoid", R"(inline float kw_sigmoid(float x) {
  const float e = precise::exp(-fabs(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
)"},
    Helper{"kw_expm1", R"(// By the rounded exponential u: (u - 1) x / log(u) undoes what u lost (Kahan).
inline float kw_expm1(float x) {
  if (fabs(x) > 1.0f) return precise::exp(x) - 1.0f;
  const float u = precise::exp(x);
  return u == 1.0f ? x : (u - 1.0f) * (x / precise::log(u));
}
)"},
    Helper{"kw_log1p", R"(inline float kw_log1p(float x) {
  const float u = 1.0f + x;
  if (u == 1.0f) return x;
  return isinf(u) || u <= 0.0f ? precise::log(u) : precise::log(u) * (x / (u - 1.0f));
}
)"},
    Helper{"kw_erf", R"(// Below 1 an odd polynomial; above, 1 - exp of a polynomial in |x|.
inline float kw_erf(float x) {
  const float a = fabs(x), t = a * a;
  if (a < 1.0f) {
    float s = 7.8891193e-05f;
    s = fma(s, t, -0.000802084105f);
    s = fma(s, t, 0.00518953521f);
    s = fma(s, t, -0.0268544443f);
    s = fma(s, t, 0.112836003f);
    s = fma(s, t, -0.37612626f);
    return x * fma(s, t, 1.12837911f);
  }
  const float b = a > 4.0f ? 4.0f : a;
  float p = 2.14961219e-05f;
  p = fma(p, b, -0.000439106458f);
  p = fma(p, b, 0.00419361144f);
  p = fma(p, b, -0.0251789689f);
  p = fma(p, b, 0.10837248f);
  p = fma(p, b, 0.633262634f);
  p = fma(p, b, 1.12955678f);
  p = fma(p, b, -0.000183444266f);
  return copysign(1.0f - precise::exp(-p), x);
}
)"},
    Helper{"kw_add", R"(// Compensated summation; what a sum past the largest float lost is nothing.
inline void kw_add(thread float& sum, thread float& lost, float x) {
  const float y = x - lost, next = sum + y;
  lost = isfinite(next) ? (next - sum) - y : 0.0f;
  sum = next;
}
)"},
    Helper{"kw_times", R"(// A product in two parts: its rounding errors are carried along.
inline void kw_times(thread float& product, thread float& rest, float x) {
  const float next = product * x;
  rest = isfinite(next) ? fma(rest, x, fma(product, x, -next)) : 0.0f;
  product = next;
}
)"},
    Helper{"kw_sort_line", R"(// Stable bottom-up merge sort of indices by key; NaN counts as largest.
template <typename T>
inline bool kw_sorts_before(T a, T b, bool largest) {
  return largest ? (a > b || (a != a && b == b)) : (a < b || (a == a && b != b));
}
template <typename T>
inline void kw_sort_line(device T* keys, device long* order, device long* spare, long base, long n, bool largest) {
  device const T* key = keys + base;
  device long* from = order + base;
  device long* to = spare + base;
  for (long i = 0; i < n; ++i) from[i] = i;
  for (long width = 1; width < n; width *= 2) {
    for (long lo = 0; lo < n; lo += 2 * width) {
      const long mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
      long a = lo, b = mid;
      for (long i = lo; i < hi; ++i)
        to[i] = b < hi && (a >= mid || kw_sorts_before(key[from[b]], key[from[a]], largest)) ? from[b++] : from[a++];
    }
    device long* swap = from;
    from = to;
    to = swap;
  }
  if (from != order + base)
    for (long i = 0; i < n; ++i) order[base + i] = from[i];
}
)"},
};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

bool uses(std::string_view text, std::string_view name) {
  for (size_t at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    const bool begins = at == 0 || !is_word(text[at - 1]);
    if (begins && (at + name.size() == text.size() || !is_word(text[at + name.size()]))) return true;
  }
  return false;
}

constexpr std::string_view head = R"(#include <metal_stdlib>
#if __METAL_VERSION__ >= 320
#pragma METAL fp math_mode(safe)
#endif
using namespace metal;

)";

}  // namespace

std::string msl_source(const std::string& kernels) {
  std::string text = kernels;
  for (size_t i = helpers.size(); i-- > 0;)
    if (uses(text, helpers[i].name)) text = std::string(helpers[i].text) + "\n" + text;
  return std::string(head) + text;
}

}  // namespace kw::kernel::emit
