// The text that the CPU toolchain puts in front of every kernel source. Freestanding: no includes, GCC 12 or clang 16,
// C++17. A kernel sees fixed-width types, vectors of KW_LANES_F32 floats, f16/bf16 storage and math by overload: one
// template serves float and kw_f32v, so that scalar tails agree with vector bodies. Polynomials: tools/fit_prelude.py.
// Flags it relies on: -fno-math-errno -fno-trapping-math -ffp-contract=fast -fwrapv, and no -ffast-math.
#ifndef KW_PRELUDE
#define KW_PRELUDE 1

typedef __INT8_TYPE__ int8_t;
typedef __INT16_TYPE__ int16_t;
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __SIZE_TYPE__ size_t;

extern "C" {
void* memcpy(void*, const void*, size_t);
void* memset(void*, int, size_t);
void* memmove(void*, const void*, size_t);
}

struct KwGroup {
  int64_t x, y, z;
};

#define KW_KERNEL static __attribute__((unused))
#define KW_INLINE static inline __attribute__((always_inline, unused))
#define KW_NOINLINE static __attribute__((noinline, unused))
#define KW_RESTRICT __restrict__
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wbitwise-instead-of-logical"
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wunused-const-variable"
#else
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#define KW_INF __builtin_inff()
#define KW_NAN __builtin_nanf("")

// ---- Vectors -----------------------------------------------------------------------------------------------------
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define KW_ISA_AVX512 1
#define KW_LANES_F32 16
#define KW_LANES_F64 8
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define KW_ISA_AVX2 1
#define KW_LANES_F32 8
#define KW_LANES_F64 4
#else  // NEON, SSE2, or whatever the compiler lowers four lanes to
#define KW_LANES_F32 4
#define KW_LANES_F64 2
#endif

typedef float kw_f32v __attribute__((vector_size(4 * KW_LANES_F32)));
typedef int32_t kw_i32v __attribute__((vector_size(4 * KW_LANES_F32)));
typedef uint32_t kw_u32v __attribute__((vector_size(4 * KW_LANES_F32)));
typedef double kw_f64v __attribute__((vector_size(8 * KW_LANES_F64)));
typedef int64_t kw_i64v __attribute__((vector_size(8 * KW_LANES_F64)));
// As many 64-bit lanes as a float vector has (two registers), for i64 data and double steps inside float code.
typedef double kw_f64w __attribute__((vector_size(8 * KW_LANES_F32)));
typedef int64_t kw_i64w __attribute__((vector_size(8 * KW_LANES_F32)));
typedef uint8_t kw_u8v __attribute__((vector_size(KW_LANES_F32)));
typedef int8_t kw_i8v __attribute__((vector_size(KW_LANES_F32)));
typedef int16_t kw_i16v __attribute__((vector_size(2 * KW_LANES_F32)));
typedef uint16_t kw_u16v __attribute__((vector_size(2 * KW_LANES_F32)));
// Masks are lanes of 0 and -1: kw_i32v for float, kw_i64v for double.
typedef kw_i32v kw_mask32;
typedef kw_i64v kw_mask64;

#define KW_UNALIGNED(V, E) typedef V V##_u __attribute__((aligned(__alignof__(E)), may_alias))
KW_UNALIGNED(kw_f32v, float);
KW_UNALIGNED(kw_i32v, int32_t);
KW_UNALIGNED(kw_f64v, double);
KW_UNALIGNED(kw_i64v, int64_t);
KW_UNALIGNED(kw_f64w, double);
KW_UNALIGNED(kw_i64w, int64_t);
KW_UNALIGNED(kw_u8v, uint8_t);
KW_UNALIGNED(kw_i8v, int8_t);
KW_UNALIGNED(kw_i16v, int16_t);
KW_UNALIGNED(kw_u16v, uint16_t);
#undef KW_UNALIGNED

// What belongs to a vector or scalar type: its element, its integer twin, its mask, its lanes.
template <class V>
struct KwTraits;
#define KW_TRAITS(V, E, I, M, N)    \
  template <>                       \
  struct KwTraits<V> {              \
    typedef E Element;              \
    typedef I Int;                  \
    typedef M Mask;                 \
    static constexpr int lanes = N; \
  }
KW_TRAITS(float, float, int32_t, bool, 1);
KW_TRAITS(double, double, int64_t, bool, 1);
KW_TRAITS(int32_t, int32_t, int32_t, bool, 1);
KW_TRAITS(int64_t, int64_t, int64_t, bool, 1);
KW_TRAITS(uint8_t, uint8_t, uint8_t, bool, 1);
KW_TRAITS(int8_t, int8_t, int8_t, bool, 1);
KW_TRAITS(int16_t, int16_t, int16_t, bool, 1);
KW_TRAITS(kw_f32v, float, kw_i32v, kw_i32v, KW_LANES_F32);
KW_TRAITS(kw_i32v, int32_t, kw_i32v, kw_i32v, KW_LANES_F32);
KW_TRAITS(kw_f64v, double, kw_i64v, kw_i64v, KW_LANES_F64);
KW_TRAITS(kw_i64v, int64_t, kw_i64v, kw_i64v, KW_LANES_F64);
KW_TRAITS(kw_f64w, double, kw_i64w, kw_i64w, KW_LANES_F32);
KW_TRAITS(kw_i64w, int64_t, kw_i64w, kw_i64w, KW_LANES_F32);
#undef KW_TRAITS

template <class A, class B>
struct KwSame {
  static constexpr bool value = false;
};
template <class A>
struct KwSame<A, A> {
  static constexpr bool value = true;
};

/// All lanes set to `s` (the value itself for scalar types).
template <class V>
KW_INLINE V kw_splat(typename KwTraits<V>::Element s) {
  if constexpr (KwTraits<V>::lanes == 1) {
    return s;
  } else if constexpr (KwTraits<V>::lanes == 16) {
    return V{s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
  } else if constexpr (KwTraits<V>::lanes == 8) {
    return V{s, s, s, s, s, s, s, s};
  } else if constexpr (KwTraits<V>::lanes == 4) {
    return V{s, s, s, s};
  } else {
    return V{s, s};
  }
}
/// 0, 1, 2, ... in the lanes.
template <class V>
KW_INLINE V kw_iota() {
  if constexpr (KwTraits<V>::lanes == 1) {
    return 0;
  } else if constexpr (KwTraits<V>::lanes == 16) {
    return V{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  } else if constexpr (KwTraits<V>::lanes == 8) {
    return V{0, 1, 2, 3, 4, 5, 6, 7};
  } else if constexpr (KwTraits<V>::lanes == 4) {
    return V{0, 1, 2, 3};
  } else {
    return V{0, 1};
  }
}
/// Lane-wise conversion between types of equal lane count (truncating towards zero from float to integer).
template <class To, class From>
KW_INLINE To kw_convert(From x) {
  if constexpr (KwTraits<From>::lanes == 1) {
    return static_cast<To>(x);
  } else {
    return __builtin_convertvector(x, To);
  }
}
template <class To, class From>
KW_INLINE To kw_bits(From x) {
  return __builtin_bit_cast(To, x);
}
KW_INLINE bool kw_any(bool m) { return m; }
KW_INLINE bool kw_any(kw_i32v m) {
  kw_i64v h = kw_bits<kw_i64v>(m);
  int64_t r = 0;
  for (int i = 0; i < KW_LANES_F64; ++i) r |= h[i];
  return r != 0;
}

#define KW_SELECT_SCALAR(T) \
  KW_INLINE T kw_select(bool c, T a, T b) { return c ? a : b; }
KW_SELECT_SCALAR(float)
KW_SELECT_SCALAR(double)
KW_SELECT_SCALAR(bool)
KW_SELECT_SCALAR(int32_t)
KW_SELECT_SCALAR(int64_t)
#undef KW_SELECT_SCALAR
KW_INLINE kw_f32v kw_select(kw_i32v m, kw_f32v a, kw_f32v b) { return m ? a : b; }
KW_INLINE kw_i32v kw_select(kw_i32v m, kw_i32v a, kw_i32v b) { return m ? a : b; }
KW_INLINE kw_f64v kw_select(kw_i64v m, kw_f64v a, kw_f64v b) { return m ? a : b; }
KW_INLINE kw_i64v kw_select(kw_i64v m, kw_i64v a, kw_i64v b) { return m ? a : b; }
KW_INLINE kw_f64w kw_select(kw_i64w m, kw_f64w a, kw_f64w b) { return m ? a : b; }
KW_INLINE kw_i64w kw_select(kw_i64w m, kw_i64w a, kw_i64w b) { return m ? a : b; }
KW_INLINE bool kw_not(bool m) { return !m; }
KW_INLINE kw_i32v kw_not(kw_i32v m) { return ~m; }
KW_INLINE kw_i64v kw_not(kw_i64v m) { return ~m; }
KW_INLINE kw_i64w kw_not(kw_i64w m) { return ~m; }

// ---- 16-bit floats: storage only -----------------------------------------------------------------------------------
struct kw_f16 {
  uint16_t bits;
};
struct kw_bf16 {
  uint16_t bits;
};

template <class F>
KW_INLINE F kw_f16_decode(typename KwTraits<F>::Int h) {
  typedef typename KwTraits<F>::Int I;
  const I o = (h & 0x7fff) << 13, exponent = o & 0x0f800000;
  const I normal = o + ((127 - 15) << 23);
  const I special = normal + ((128 - 16) << 23);
  const F tiny = kw_bits<F>(normal + (1 << 23)) - kw_splat<F>(6.103515625e-05f);
  I r = kw_select(exponent == 0, kw_bits<I>(tiny), kw_select(exponent == 0x0f800000, special, normal));
  return kw_bits<F>(r | ((h & 0x8000) << 16));
}
/// To nearest, ties to even; too large becomes infinity; NaN stays a (quiet) NaN.
template <class F>
KW_INLINE typename KwTraits<F>::Int kw_f16_encode(F x) {
  typedef typename KwTraits<F>::Int I;
  const I all = kw_bits<I>(x), sign = (all >> 16) & 0x8000, u = all & 0x7fffffff;
  const I tiny = kw_bits<I>(kw_bits<F>(u) + kw_splat<F>(0.5f)) - 0x3f000000;
  const I normal = (u - ((127 - 15) << 23) + 0xfff + ((u >> 13) & 1)) >> 13;
  const I special = kw_select(u > 0x7f800000, kw_splat<I>(0x7e00), kw_splat<I>(0x7c00));
  I r = kw_select(u < (113 << 23), tiny, kw_select(u >= 0x47800000, special, normal));
  return r | sign;
}
template <class F>
KW_INLINE F kw_bf16_decode(typename KwTraits<F>::Int h) {
  return kw_bits<F>(h << 16);
}
template <class F>
KW_INLINE typename KwTraits<F>::Int kw_bf16_encode(F x) {
  typedef typename KwTraits<F>::Int I;
  const I u = kw_bits<I>(x);
  const I rounded = ((u + 0x7fff + ((u >> 16) & 1)) >> 16) & 0xffff;
  return kw_select((u & 0x7fffffff) > 0x7f800000, ((u >> 16) & 0xffff) | 0x40, rounded);
}
KW_INLINE float kw_to_f32(kw_f16 h) { return kw_f16_decode<float>(h.bits); }
KW_INLINE float kw_to_f32(kw_bf16 h) { return kw_bf16_decode<float>(h.bits); }
KW_INLINE kw_f16 kw_to_f16(float x) { return kw_f16{static_cast<uint16_t>(kw_f16_encode(x))}; }
KW_INLINE kw_bf16 kw_to_bf16(float x) { return kw_bf16{static_cast<uint16_t>(kw_bf16_encode(x))}; }
KW_INLINE kw_f32v kw_f16v_to_f32(kw_u16v h) {
#if defined(KW_ISA_AVX512)
  typedef short Raw __attribute__((vector_size(32)));
  return kw_f32v(__builtin_ia32_vcvtph2ps512_mask((Raw)h, kw_f32v{}, (unsigned short)-1, 4));
#elif defined(KW_ISA_AVX2)
  typedef short Raw __attribute__((vector_size(16)));
  return __builtin_ia32_vcvtph2ps256((Raw)h);
#else
  return kw_f16_decode<kw_f32v>(__builtin_convertvector(h, kw_i32v));
#endif
}
KW_INLINE kw_u16v kw_f32_to_f16v(kw_f32v x) {
#if defined(KW_ISA_AVX512)
  typedef short Raw __attribute__((vector_size(32)));
  return (kw_u16v)__builtin_ia32_vcvtps2ph512_mask(x, 0, Raw{}, (unsigned short)-1);
#elif defined(KW_ISA_AVX2)
  return (kw_u16v)__builtin_ia32_vcvtps2ph256(x, 0);
#else
  return __builtin_convertvector(kw_f16_encode(x), kw_u16v);
#endif
}
/// The value after a trip through 16-bit storage.
KW_INLINE float kw_round_f16(float x) { return kw_to_f32(kw_to_f16(x)); }
KW_INLINE float kw_round_bf16(float x) { return kw_to_f32(kw_to_bf16(x)); }
KW_INLINE kw_f32v kw_round_f16(kw_f32v x) { return kw_f16v_to_f32(kw_f32_to_f16v(x)); }
KW_INLINE kw_f32v kw_round_bf16(kw_f32v x) { return kw_bf16_decode<kw_f32v>(kw_bf16_encode(x)); }

// ---- Memory: any element alignment, partial forms touch only n elements ------------------------------------------
KW_INLINE float kw_load(const float* p) { return *p; }
KW_INLINE double kw_load(const double* p) { return *p; }
KW_INLINE float kw_load(const kw_f16* p) { return kw_to_f32(*p); }
KW_INLINE float kw_load(const kw_bf16* p) { return kw_to_f32(*p); }
KW_INLINE int64_t kw_load(const int64_t* p) { return *p; }
KW_INLINE int32_t kw_load(const int32_t* p) { return *p; }
KW_INLINE int32_t kw_load(const int16_t* p) { return *p; }
KW_INLINE int32_t kw_load(const int8_t* p) { return *p; }
KW_INLINE int32_t kw_load(const uint8_t* p) { return *p; }
KW_INLINE void kw_store(float* p, float v) { *p = v; }
KW_INLINE void kw_store(double* p, double v) { *p = v; }
KW_INLINE void kw_store(kw_f16* p, float v) { *p = kw_to_f16(v); }
KW_INLINE void kw_store(kw_bf16* p, float v) { *p = kw_to_bf16(v); }
KW_INLINE void kw_store(int64_t* p, int64_t v) { *p = v; }
KW_INLINE void kw_store(int32_t* p, int32_t v) { *p = v; }
KW_INLINE void kw_store(int16_t* p, int32_t v) { *p = static_cast<int16_t>(v); }
KW_INLINE void kw_store(int8_t* p, int32_t v) { *p = static_cast<int8_t>(v); }
KW_INLINE void kw_store(uint8_t* p, int32_t v) { *p = static_cast<uint8_t>(v); }

/// KW_LANES_F32 elements as float or 32-bit lanes (i64: as kw_i64w; double: KW_LANES_F64 of them).
KW_INLINE kw_f32v kw_loadv(const float* p) { return *(const kw_f32v_u*)p; }
KW_INLINE kw_f64v kw_loadv(const double* p) { return *(const kw_f64v_u*)p; }
KW_INLINE kw_f32v kw_loadv(const kw_f16* p) { return kw_f16v_to_f32(*(const kw_u16v_u*)p); }
KW_INLINE kw_f32v kw_loadv(const kw_bf16* p) {
  return kw_bf16_decode<kw_f32v>(__builtin_convertvector(kw_u16v(*(const kw_u16v_u*)p), kw_i32v));
}
KW_INLINE kw_i64w kw_loadv(const int64_t* p) { return *(const kw_i64w_u*)p; }
KW_INLINE kw_i32v kw_loadv(const int32_t* p) { return *(const kw_i32v_u*)p; }
KW_INLINE kw_i32v kw_loadv(const int16_t* p) { return __builtin_convertvector(kw_i16v(*(const kw_i16v_u*)p), kw_i32v); }
KW_INLINE kw_i32v kw_loadv(const int8_t* p) { return __builtin_convertvector(kw_i8v(*(const kw_i8v_u*)p), kw_i32v); }
KW_INLINE kw_i32v kw_loadv(const uint8_t* p) { return __builtin_convertvector(kw_u8v(*(const kw_u8v_u*)p), kw_i32v); }
KW_INLINE void kw_storev(float* p, kw_f32v v) { *(kw_f32v_u*)p = v; }
KW_INLINE void kw_storev(double* p, kw_f64v v) { *(kw_f64v_u*)p = v; }
KW_INLINE void kw_storev(kw_f16* p, kw_f32v v) { *(kw_u16v_u*)p = kw_f32_to_f16v(v); }
KW_INLINE void kw_storev(kw_bf16* p, kw_f32v v) {
  *(kw_u16v_u*)p = __builtin_convertvector(kw_bf16_encode(v), kw_u16v);
}
KW_INLINE void kw_storev(int64_t* p, kw_i64w v) { *(kw_i64w_u*)p = v; }
KW_INLINE void kw_storev(int32_t* p, kw_i32v v) { *(kw_i32v_u*)p = v; }
KW_INLINE void kw_storev(int16_t* p, kw_i32v v) { *(kw_i16v_u*)p = __builtin_convertvector(v, kw_i16v); }
KW_INLINE void kw_storev(int8_t* p, kw_i32v v) { *(kw_i8v_u*)p = __builtin_convertvector(v, kw_i8v); }
KW_INLINE void kw_storev(uint8_t* p, kw_i32v v) { *(kw_u8v_u*)p = __builtin_convertvector(v, kw_u8v); }

/// The first n elements (0 <= n <= lanes); the other lanes are zero. Nothing past p + n is touched.
template <class T>
KW_INLINE auto kw_loadv_n(const T* p, int64_t n) -> decltype(kw_loadv(p)) {
  constexpr int lanes = KwTraits<decltype(kw_loadv(p))>::lanes;
  T part[lanes];
  memset(part, 0, sizeof(part));
  for (int64_t i = 0; i < n; ++i) part[i] = p[i];
  return kw_loadv(part);
}
template <class T, class V>
KW_INLINE void kw_storev_n(T* p, V v, int64_t n) {
  T part[KwTraits<V>::lanes];
  kw_storev(part, v);
  for (int64_t i = 0; i < n; ++i) p[i] = part[i];
}
/// Lanes i of a mask are set where i < n.
KW_INLINE kw_i32v kw_lanes_below(int64_t n) { return kw_iota<kw_i32v>() < kw_splat<kw_i32v>(static_cast<int32_t>(n)); }
#if defined(KW_ISA_AVX512)
KW_INLINE unsigned short kw_mask_below(int64_t n) { return static_cast<unsigned short>((1u << n) - 1); }
KW_INLINE kw_f32v kw_loadv_n(const float* p, int64_t n) {
  return kw_f32v(__builtin_ia32_loadups512_mask(p, kw_f32v{}, kw_mask_below(n)));
}
KW_INLINE void kw_storev_n(float* p, kw_f32v v, int64_t n) { __builtin_ia32_storeups512_mask(p, v, kw_mask_below(n)); }
KW_INLINE kw_i32v kw_loadv_n(const int32_t* p, int64_t n) {
  return kw_bits<kw_i32v>(kw_loadv_n(reinterpret_cast<const float*>(p), n));
}
KW_INLINE void kw_storev_n(int32_t* p, kw_i32v v, int64_t n) {
  kw_storev_n(reinterpret_cast<float*>(p), kw_bits<kw_f32v>(v), n);
}
#elif defined(KW_ISA_AVX2)
KW_INLINE kw_f32v kw_loadv_n(const float* p, int64_t n) {
  return __builtin_ia32_maskloadps256((const kw_f32v*)p, kw_lanes_below(n));
}
KW_INLINE void kw_storev_n(float* p, kw_f32v v, int64_t n) {
  __builtin_ia32_maskstoreps256((kw_f32v*)p, kw_lanes_below(n), v);
}
#endif
/// p[0], p[stride], ...: lanes of them.
template <class T>
KW_INLINE auto kw_gatherv(const T* p, int64_t stride) -> decltype(kw_loadv(p)) {
  constexpr int lanes = KwTraits<decltype(kw_loadv(p))>::lanes;
  T part[lanes];
  for (int i = 0; i < lanes; ++i) part[i] = p[i * stride];
  return kw_loadv(part);
}
template <class T, class V>
KW_INLINE void kw_scatterv(T* p, V v, int64_t stride) {
  T part[KwTraits<V>::lanes];
  kw_storev(part, v);
  for (int i = 0; i < KwTraits<V>::lanes; ++i) p[i * stride] = part[i];
}

// ---- Shuffles and horizontal reductions ----------------------------------------------------------------------------
#define KW_ROT16(x, k)                                                                                              \
  __builtin_shufflevector(x, x, (0 + k) % 16, (1 + k) % 16, (2 + k) % 16, (3 + k) % 16, (4 + k) % 16, (5 + k) % 16, \
                          (6 + k) % 16, (7 + k) % 16, (8 + k) % 16, (9 + k) % 16, (10 + k) % 16, (11 + k) % 16,     \
                          (12 + k) % 16, (13 + k) % 16, (14 + k) % 16, (15 + k) % 16)
#define KW_ROT8(x, k)                                                                                         \
  __builtin_shufflevector(x, x, (0 + k) % 8, (1 + k) % 8, (2 + k) % 8, (3 + k) % 8, (4 + k) % 8, (5 + k) % 8, \
                          (6 + k) % 8, (7 + k) % 8)
#define KW_ROT4(x, k) __builtin_shufflevector(x, x, (0 + k) % 4, (1 + k) % 4, (2 + k) % 4, (3 + k) % 4)
#define KW_ROT2(x, k) __builtin_shufflevector(x, x, (0 + k) % 2, (1 + k) % 2)
/// The lanes combined pairwise by op(V, V); every lane of the running value then holds the result.
template <class V, class Op>
KW_INLINE typename KwTraits<V>::Element kw_across(V x, Op op) {
  if constexpr (KwTraits<V>::lanes == 1) {
    return x;
  } else {
    if constexpr (KwTraits<V>::lanes == 16) {
      x = op(x, V(KW_ROT16(x, 8)));
      x = op(x, V(KW_ROT16(x, 4)));
      x = op(x, V(KW_ROT16(x, 2)));
      x = op(x, V(KW_ROT16(x, 1)));
    } else if constexpr (KwTraits<V>::lanes == 8) {
      x = op(x, V(KW_ROT8(x, 4)));
      x = op(x, V(KW_ROT8(x, 2)));
      x = op(x, V(KW_ROT8(x, 1)));
    } else if constexpr (KwTraits<V>::lanes == 4) {
      x = op(x, V(KW_ROT4(x, 2)));
      x = op(x, V(KW_ROT4(x, 1)));
    } else {
      x = op(x, V(KW_ROT2(x, 1)));
    }
    return x[0];
  }
}
#undef KW_ROT16
#undef KW_ROT8
#undef KW_ROT4
#undef KW_ROT2

// ---- Rounding, roots, max and min ----------------------------------------------------------------------------------
#define KW_LANEWISE(V, NAME, CALL)                                  \
  KW_INLINE V NAME(V x) {                                           \
    V r;                                                            \
    for (int i = 0; i < KwTraits<V>::lanes; ++i) r[i] = CALL(x[i]); \
    return r;                                                       \
  }
KW_INLINE float kw_floor(float x) { return __builtin_floorf(x); }
KW_INLINE float kw_ceil(float x) { return __builtin_ceilf(x); }
KW_INLINE float kw_trunc(float x) { return __builtin_truncf(x); }
KW_INLINE float kw_round(float x) { return __builtin_rintf(x); }
KW_INLINE float kw_sqrt(float x) { return __builtin_sqrtf(x); }
KW_INLINE double kw_floor(double x) { return __builtin_floor(x); }
KW_INLINE double kw_ceil(double x) { return __builtin_ceil(x); }
KW_INLINE double kw_trunc(double x) { return __builtin_trunc(x); }
KW_INLINE double kw_round(double x) { return __builtin_rint(x); }
KW_INLINE double kw_sqrt(double x) { return __builtin_sqrt(x); }
#if defined(KW_ISA_AVX512)
#define KW_ROUNDING(NAME, IMM)                                                        \
  KW_INLINE kw_f32v NAME(kw_f32v x) {                                                 \
    return kw_f32v(__builtin_ia32_rndscaleps_mask(x, IMM, x, (unsigned short)-1, 4)); \
  }                                                                                   \
  KW_INLINE kw_f64v NAME(kw_f64v x) { return kw_f64v(__builtin_ia32_rndscalepd_mask(x, IMM, x, (unsigned char)-1, 4)); }
#if defined(__clang__)
KW_INLINE kw_f32v kw_sqrt(kw_f32v x) { return __builtin_ia32_sqrtps512(x, 4); }
KW_INLINE kw_f64v kw_sqrt(kw_f64v x) { return __builtin_ia32_sqrtpd512(x, 4); }
#else
KW_INLINE kw_f32v kw_sqrt(kw_f32v x) { return kw_f32v(__builtin_ia32_sqrtps512_mask(x, x, (unsigned short)-1, 4)); }
KW_INLINE kw_f64v kw_sqrt(kw_f64v x) { return kw_f64v(__builtin_ia32_sqrtpd512_mask(x, x, (unsigned char)-1, 4)); }
#endif
#elif defined(KW_ISA_AVX2)
#define KW_ROUNDING(NAME, IMM)                                                    \
  KW_INLINE kw_f32v NAME(kw_f32v x) { return __builtin_ia32_roundps256(x, IMM); } \
  KW_INLINE kw_f64v NAME(kw_f64v x) { return __builtin_ia32_roundpd256(x, IMM); }
KW_INLINE kw_f32v kw_sqrt(kw_f32v x) { return __builtin_ia32_sqrtps256(x); }
KW_INLINE kw_f64v kw_sqrt(kw_f64v x) { return __builtin_ia32_sqrtpd256(x); }
#else
#define KW_ROUNDING(NAME, IMM) KW_LANEWISE(kw_f32v, NAME, NAME) KW_LANEWISE(kw_f64v, NAME, NAME)
KW_LANEWISE(kw_f32v, kw_sqrt, kw_sqrt)
KW_LANEWISE(kw_f64v, kw_sqrt, kw_sqrt)
#endif
KW_ROUNDING(kw_round, 8)  // to nearest even; then down, up, towards zero (bit 3: no inexact flag)
KW_ROUNDING(kw_floor, 9)
KW_ROUNDING(kw_ceil, 10)
KW_ROUNDING(kw_trunc, 11)
#undef KW_ROUNDING

#define KW_UNARY(NAME, EXPR)          \
  KW_INLINE float NAME(float x) {     \
    typedef float V;                  \
    return EXPR;                      \
  }                                   \
  KW_INLINE kw_f32v NAME(kw_f32v x) { \
    typedef kw_f32v V;                \
    return EXPR;                      \
  }                                   \
  KW_INLINE double NAME(double x) {   \
    typedef double V;                 \
    return EXPR;                      \
  }                                   \
  KW_INLINE kw_f64v NAME(kw_f64v x) { \
    typedef kw_f64v V;                \
    return EXPR;                      \
  }
#define KW_BINARY(NAME, EXPR)                                   \
  KW_INLINE float NAME(float a, float b) { return EXPR; }       \
  KW_INLINE kw_f32v NAME(kw_f32v a, kw_f32v b) { return EXPR; } \
  KW_INLINE double NAME(double a, double b) { return EXPR; }    \
  KW_INLINE kw_f64v NAME(kw_f64v a, kw_f64v b) { return EXPR; }
#define KW_BINARY_INT(NAME, EXPR)                               \
  KW_INLINE int32_t NAME(int32_t a, int32_t b) { return EXPR; } \
  KW_INLINE int64_t NAME(int64_t a, int64_t b) { return EXPR; } \
  KW_INLINE kw_i32v NAME(kw_i32v a, kw_i32v b) { return EXPR; } \
  KW_INLINE kw_i64v NAME(kw_i64v a, kw_i64v b) { return EXPR; } \
  KW_INLINE kw_i64w NAME(kw_i64w a, kw_i64w b) { return EXPR; }
KW_BINARY(kw_max, kw_select((a > b) | (a != a), a, b))  // NaN wins, as in torch.maximum
KW_BINARY(kw_min, kw_select((a < b) | (a != a), a, b))
KW_BINARY_INT(kw_max, kw_select(a > b, a, b))
KW_BINARY_INT(kw_min, kw_select(a < b, a, b))
KW_UNARY(kw_reciprocal, kw_splat<V>(1) / x)
KW_UNARY(kw_rsqrt, kw_splat<V>(1) / kw_sqrt(x))
template <class V>
KW_INLINE typename KwTraits<V>::Int kw_magnitude() {  // all bits but the sign
  typedef typename KwTraits<typename KwTraits<V>::Element>::Int I;
  return kw_splat<typename KwTraits<V>::Int>(static_cast<I>(~(uint64_t{1} << (8 * sizeof(I) - 1))));
}
KW_UNARY(kw_abs, kw_bits<V>(kw_bits<typename KwTraits<V>::Int>(x) & kw_magnitude<V>()))
KW_UNARY(kw_sign, kw_select(x > kw_splat<V>(0), kw_splat<V>(1), kw_select(x < kw_splat<V>(0), kw_splat<V>(-1), x)))
KW_INLINE bool kw_is_nan(float x) { return x != x; }
KW_INLINE bool kw_is_nan(double x) { return x != x; }
KW_INLINE kw_i32v kw_is_nan(kw_f32v x) { return x != x; }
KW_INLINE kw_i64v kw_is_nan(kw_f64v x) { return x != x; }
KW_INLINE bool kw_is_inf(float x) { return kw_abs(x) == KW_INF; }
KW_INLINE bool kw_is_inf(double x) { return kw_abs(x) == __builtin_inf(); }
KW_INLINE kw_i32v kw_is_inf(kw_f32v x) { return kw_abs(x) == kw_splat<kw_f32v>(KW_INF); }
KW_INLINE kw_i64v kw_is_inf(kw_f64v x) { return kw_abs(x) == kw_splat<kw_f64v>(__builtin_inf()); }
/// a / b for one b in all lanes: the reciprocal leaves the loop, one correction step makes the product as good as the
/// quotient. Scaled by s so that 1 / b neither overflows nor loses bits; infinities and NaN skip the correction.
KW_INLINE kw_f32v kw_div_by(kw_f32v a, kw_f32v b) {
  typedef kw_f32v V;
  const V size = kw_abs(b), one = kw_splat<V>(1.0f);
  const V s = kw_select(size < kw_splat<V>(0x1p-64f), kw_splat<V>(0x1p64f),
                        kw_select(size > kw_splat<V>(0x1p64f), kw_splat<V>(0x1p-64f), one));
  const V divisor = b * s, inverse = one / divisor;
  const V scaled = a * s, q = scaled * inverse, rest = scaled - q * divisor;
  return kw_select(kw_abs(rest) < kw_splat<V>(KW_INF), q + rest * inverse, q);
}
/// a * b + c, fused where the machine can.
template <class V>
KW_INLINE V kw_fma(V a, V b, V c) {
  return a * b + c;
}
KW_INLINE int32_t kw_abs(int32_t x) { return x < 0 ? static_cast<int32_t>(0u - static_cast<uint32_t>(x)) : x; }
KW_INLINE int64_t kw_abs(int64_t x) { return x < 0 ? static_cast<int64_t>(0ull - static_cast<uint64_t>(x)) : x; }
KW_INLINE kw_i32v kw_abs(kw_i32v x) { return kw_select(x < 0, -x, x); }
KW_INLINE kw_i64w kw_abs(kw_i64w x) { return kw_select(x < 0, -x, x); }
KW_INLINE int32_t kw_sign(int32_t x) { return (x > 0) - (x < 0); }
KW_INLINE int64_t kw_sign(int64_t x) { return (x > 0) - (x < 0); }
KW_INLINE kw_i32v kw_sign(kw_i32v x) { return (x < 0) - (x > 0); }
KW_INLINE kw_i64w kw_sign(kw_i64w x) { return (x < 0) - (x > 0); }

// Integer division as torch defines it; a zero divisor and the one overflow give a defined value instead of a trap.
template <class T>
KW_INLINE T kw_div_trunc(T a, T b) {
  return b == 0 ? T(0) : b == T(-1) ? T(0 - uint64_t(a)) : T(a / b);
}
template <class T>
KW_INLINE T kw_mod_trunc(T a, T b) {
  return b == 0 || b == T(-1) ? T(0) : T(a % b);
}
template <class T>
KW_INLINE T kw_mod_floor(T a, T b) {
  const T r = kw_mod_trunc(a, b);
  return r != 0 && (r < 0) != (b < 0) ? T(r + b) : r;
}
template <class T>
KW_INLINE T kw_div_floor(T a, T b) {
  const T q = kw_div_trunc(a, b), r = kw_mod_trunc(a, b);
  return r != 0 && (r < 0) != (b < 0) ? T(q - 1) : q;
}

template <class V>
KW_INLINE typename KwTraits<V>::Element kw_hsum(V x) {
  return kw_across(x, [](V a, V b) { return V(a + b); });
}
template <class V>
KW_INLINE typename KwTraits<V>::Element kw_hprod(V x) {
  return kw_across(x, [](V a, V b) { return V(a * b); });
}
template <class V>
KW_INLINE typename KwTraits<V>::Element kw_hmax(V x) {
  return kw_across(x, [](V a, V b) { return kw_max(a, b); });
}
template <class V>
KW_INLINE typename KwTraits<V>::Element kw_hmin(V x) {
  return kw_across(x, [](V a, V b) { return kw_min(a, b); });
}
#define KW_REDUCERS(V)                                                       \
  KW_INLINE KwTraits<V>::Element kw_reduce_sum(V x) { return kw_hsum(x); }   \
  KW_INLINE KwTraits<V>::Element kw_reduce_prod(V x) { return kw_hprod(x); } \
  KW_INLINE KwTraits<V>::Element kw_reduce_max(V x) { return kw_hmax(x); }   \
  KW_INLINE KwTraits<V>::Element kw_reduce_min(V x) { return kw_hmin(x); }
KW_REDUCERS(kw_f32v)
KW_REDUCERS(kw_f64v)
KW_REDUCERS(kw_i32v)
KW_REDUCERS(kw_i64v)
#undef KW_REDUCERS

// ---- The names that the emitter prints: the vector type as a suffix -----------------------------------------------
#define KW_NAMED(V)                                                                          \
  KW_INLINE kw_##V kw_splat_##V(KwTraits<kw_##V>::Element s) { return kw_splat<kw_##V>(s); } \
  template <class T>                                                                         \
  KW_INLINE kw_##V kw_convert_##V(T x) {                                                     \
    return kw_convert<kw_##V>(x);                                                            \
  }
KW_NAMED(f32v)
KW_NAMED(f64v)
KW_NAMED(i32v)
KW_NAMED(i64v)
#undef KW_NAMED
KW_INLINE kw_i32v kw_ramp_i32v(int64_t first) {
  return kw_iota<kw_i32v>() + kw_splat<kw_i32v>(static_cast<int32_t>(first));
}
KW_INLINE kw_i64v kw_ramp_i64v(int64_t first) { return kw_iota<kw_i64v>() + kw_splat<kw_i64v>(first); }
template <class T>
KW_INLINE kw_f32v kw_load_f32v(const T* p) {
  return kw_loadv(p);
}
template <class T>
KW_INLINE void kw_store_f32v(T* p, kw_f32v v) {
  kw_storev(p, v);
}
KW_INLINE kw_f64v kw_load_f64v(const double* p) { return kw_loadv(p); }
KW_INLINE void kw_store_f64v(double* p, kw_f64v v) { kw_storev(p, v); }
template <class T>
KW_INLINE kw_i32v kw_load_i32v(const T* p) {
  return kw_loadv(p);
}
template <class T>
KW_INLINE void kw_store_i32v(T* p, kw_i32v v) {
  kw_storev(p, v);
}
KW_INLINE kw_i64v kw_load_i64v(const int64_t* p) { return *(const kw_i64v_u*)p; }
KW_INLINE void kw_store_i64v(int64_t* p, kw_i64v v) { *(kw_i64v_u*)p = v; }
typedef uint8_t kw_u8h __attribute__((vector_size(KW_LANES_F64)));
KW_INLINE kw_i32v kw_load_mask32v(const unsigned char* p) { return kw_loadv(p) != 0; }
KW_INLINE kw_i64v kw_load_mask64v(const unsigned char* p) {
  kw_u8h b;
  memcpy(&b, p, sizeof(b));
  return __builtin_convertvector(b, kw_i64v) != 0;
}
KW_INLINE void kw_store_mask32v(unsigned char* p, kw_i32v m) { kw_storev(p, m & 1); }
KW_INLINE void kw_store_mask64v(unsigned char* p, kw_i64v m) {
  const kw_u8h b = __builtin_convertvector(m & 1, kw_u8h);
  memcpy(p, &b, sizeof(b));
}
template <class T>
KW_INLINE kw_f32v kw_gather_f32v(const T* p, int64_t stride) {
  return kw_gatherv(p, stride);
}
KW_INLINE kw_f64v kw_gather_f64v(const double* p, int64_t stride) { return kw_gatherv(p, stride); }
template <class T>
KW_INLINE kw_i32v kw_gather_i32v(const T* p, int64_t stride) {
  return kw_gatherv(p, stride);
}
KW_INLINE kw_i64v kw_gather_i64v(const int64_t* p, int64_t stride) {
  kw_i64v v;
  for (int i = 0; i < KW_LANES_F64; ++i) v[i] = p[i * stride];
  return v;
}

// ---- float32 math: float and kw_f32v by one template each ---------------------------------------------------------
// Largest errors measured (ulps) are in the table of tests/kernel/prelude_test.cpp; the limit is 4 everywhere.
namespace kwm {

template <class V>
KW_INLINE V c(float s) {
  return kw_splat<V>(s);
}
template <class V>
using Int = typename KwTraits<V>::Int;

/// To the nearest integer for |x| < 2^22, by the rounding of x + 1.5 * 2^23; `i` receives the integer.
template <class V>
KW_INLINE V nearest(V x, Int<V>& i) {
  const V t = x + c<V>(12582912.0f);
  i = kw_bits<Int<V>>(t) - 0x4b400000;
  return t - c<V>(12582912.0f);
}
/// p * 2^n, rounded once where the result is subnormal; |n| <= 252 and p of normal size.
template <class V>
KW_INLINE V scale(V p, Int<V> n) {
  const Int<V> half = n >> 1;
  return p * kw_bits<V>((half + 127) << 23) * kw_bits<V>((n - half + 127) << 23);
}
/// 2^n for -126 <= n <= 127.
template <class V>
KW_INLINE V power_of_two(Int<V> n) {
  return kw_bits<V>((n + 127) << 23);
}
template <class V>
KW_INLINE V scale_by(V p, V, Int<V> n) {
  return scale(p, n);
}
#if defined(KW_ISA_AVX512)
KW_INLINE kw_f32v scale_by(kw_f32v p, kw_f32v n, kw_i32v) {
  return kw_f32v(__builtin_ia32_scalefps512_mask(p, n, p, (unsigned short)-1, 4));
}
#endif
template <class V>
KW_INLINE V clamp(V x, float lo, float hi) {  // NaN passes
  x = kw_select(x < c<V>(lo), c<V>(lo), x);
  return kw_select(x > c<V>(hi), c<V>(hi), x);
}
template <class V>
KW_INLINE V exp_reduced(V x, V& n, Int<V>& i) {  // x - n ln 2, n = round(x / ln 2); ln 2 in two parts
  n = nearest(x * c<V>(1.44269504f), i);
  return (x - n * c<V>(0.693359375f)) - n * c<V>(-2.12194440e-4f);
}
template <class V>
KW_INLINE V exp_poly(V r) {
  V p = c<V>(0.00139508338f);
  p = p * r + c<V>(0.00836908817f);
  p = p * r + c<V>(0.0416662022f);
  p = p * r + c<V>(0.166665167f);
  p = p * r + c<V>(0.5f);
  return (p * r) * r + r + c<V>(1.0f);
}
/// exp(x) * 2^bias, without spurious overflow.
template <class V>
KW_INLINE V exp_scaled(V x, int bias) {
  V n;
  Int<V> i;
  const V r = exp_reduced(clamp(x, -105.0f, 90.0f), n, i);
  return scale_by(exp_poly(r), n + c<V>(static_cast<float>(bias)), i + bias);
}
template <class V>
KW_INLINE V exp(V x) {
  return exp_scaled(x, 0);
}
template <class V>
KW_INLINE V exp2(V x) {
  Int<V> i;
  x = clamp(x, -151.0f, 129.0f);
  const V n = nearest(x, i), r = x - n;
  V p = c<V>(0.000154758978f);
  p = p * r + c<V>(0.00134002836f);
  p = p * r + c<V>(0.00961800572f);
  p = p * r + c<V>(0.055503279f);
  p = p * r + c<V>(0.240226507f);
  p = p * r + c<V>(0.693147182f);
  return scale_by(p * r + c<V>(1.0f), n, i);
}
template <class V>
KW_INLINE V expm1(V x) {
  V n;
  Int<V> i;
  const V r = exp_reduced(clamp(x, -18.0f, 89.0f), n, i);
  V p = c<V>(0.000199139831f);
  p = p * r + c<V>(0.00139413134f);
  p = p * r + c<V>(0.00833327323f);
  p = p * r + c<V>(0.0416663513f);
  p = p * r + c<V>(0.166666672f);
  p = p * r + c<V>(0.5f);
  p = (p * r) * r + r;
  const V half = power_of_two<V>(i - 1);  // 2^128 is no float
  const V y = c<V>(2.0f) * (half * p + (half - c<V>(0.5f)));
  return kw_select(kw_abs(x) < c<V>(1e-7f), x, y);
}
template <class V>
KW_INLINE V tanh(V x) {
  const V a = clamp(kw_abs(x), 0.0f, 10.0f), t = kwm::expm1(a + a);
  const V y = t / (t + c<V>(2.0f));
  return kw_bits<V>(kw_bits<Int<V>>(y) | (kw_bits<Int<V>>(x) & kw_bits<Int<V>>(c<V>(-0.0f))));
}
template <class V>
KW_INLINE V sigmoid(V x) {
  const V e = kwm::exp(-kw_abs(x));
  return kw_select(x < c<V>(0.0f), e, c<V>(1.0f)) / (c<V>(1.0f) + e);
}
template <class V>
KW_INLINE V with_sign(V y, V x) {  // y with the sign of x flipped into it
  return kw_bits<V>(kw_bits<Int<V>>(y) ^ (kw_bits<Int<V>>(x) & kw_bits<Int<V>>(c<V>(-0.0f))));
}
template <class V>
KW_INLINE V sinh(V x) {
  const V a = kw_abs(x), t = kwm::expm1(clamp(a, 0.0f, 2.0f)), e = exp_scaled(a, -1);
  const V small = c<V>(0.5f) * (t + t / (t + c<V>(1.0f)));
  return with_sign(kw_select(a < c<V>(1.0f), small, e - c<V>(0.25f) / e), x);
}
template <class V>
KW_INLINE V cosh(V x) {
  const V e = exp_scaled(kw_abs(x), -1);
  return e + c<V>(0.25f) / e;
}

/// x = m * 2^e with m in [sqrt(1/2), sqrt(2)), x positive and normal.
template <class V>
KW_INLINE V split(V x, Int<V>& e) {
  const Int<V> i = kw_bits<Int<V>>(x);
  e = (i - 0x3f3504f3) >> 23;
  return kw_bits<V>(i - (e << 23));
}
template <class V>
KW_INLINE V split_any(V x, V& e) {  // subnormal x too
  const auto tiny = x < c<V>(1.17549435e-38f);
  Int<V> i;
  const V m = split(kw_select(tiny, x * c<V>(8388608.0f), x), i);
  e = kw_convert<V>(i) - kw_select(tiny, c<V>(23.0f), c<V>(0.0f));
  return m;
}
template <class V>
KW_INLINE V log_tail(V f) {  // (log(1 + f) - f + f^2 / 2) / f^3
  V p = c<V>(0.0674455017f);
  p = p * f + c<V>(-0.116748087f);
  p = p * f + c<V>(0.118886009f);
  p = p * f + c<V>(-0.124057554f);
  p = p * f + c<V>(0.142195195f);
  p = p * f + c<V>(-0.166679859f);
  p = p * f + c<V>(0.200021192f);
  p = p * f + c<V>(-0.250000089f);
  return p * f + c<V>(0.333333135f);
}
template <class V>
KW_INLINE V log_of(V f, V e) {  // log((1 + f) 2^e)
  const V f2 = f * f;
  V y = f2 * f * log_tail(f) + e * c<V>(-2.12194440e-4f);
  y = y - c<V>(0.5f) * f2;
  return (f + y) + e * c<V>(0.693359375f);
}
template <class V>
KW_INLINE V log_edges(V x, V y) {  // 0 -> -inf, inf -> inf, negative and NaN -> NaN
  const V odd = kw_select(x < c<V>(0.0f), c<V>(KW_NAN), x);
  const V edge = kw_select(x == c<V>(0.0f), c<V>(-KW_INF), odd);
  return kw_select((x > c<V>(0.0f)) & (x < c<V>(KW_INF)), y, edge);
}
template <class V>
KW_INLINE V log(V x) {
  V e;
  const V f = split_any(x, e) - c<V>(1.0f);
  return log_edges(x, log_of(f, e));
}
/// log2 and log10: k1 + k2 is log_b(e) in two parts, e * l1 + e * l2 is log_b(2^e); the error of k1 * f is carried.
template <class V>
KW_INLINE V log_base(V x, float k1, float k2, float l1, float l2) {
  V e;
  const V f = split_any(x, e) - c<V>(1.0f);
  const V f2 = f * f, tail = f2 * f * log_tail(f) - c<V>(0.5f) * f2;
  V y = tail * c<V>(k2) + f * c<V>(k2) + e * c<V>(l2);
  y = y + tail * c<V>(k1);
  y = y + f * c<V>(k1);
  return log_edges(x, y + e * c<V>(l1));
}
template <class V>
KW_INLINE V log2(V x) {
  return log_base(x, 1.44140625f, 1.28879089e-3f, 1.0f, 0.0f);
}
template <class V>
KW_INLINE V log10(V x) {
  return log_base(x, 0.43359375f, 7.00731884e-4f, 0.30078125f, 2.48745663e-4f);
}
template <class V>
KW_INLINE V log1p(V x) {
  const V u = x + c<V>(1.0f);
  const auto large = x > c<V>(1.0f);
  const V lost = kw_select(large, c<V>(1.0f) - (u - x), x - (u - c<V>(1.0f)));
  Int<V> e;
  const V m = split(u, e);
  const Int<V> back = kw_select(e > 60, Int<V>{} + 60, e);  // what is lost no longer counts there
  const V f = (m - c<V>(1.0f)) + lost * kw_bits<V>((127 - back) << 23);
  const V y = log_edges(u, log_of(f, kw_convert<V>(e)));
  return kw_select(kw_abs(x) < c<V>(1e-8f), x, y);
}

// ---- Trigonometry ----
template <class V>
KW_INLINE V sin_poly(V r) {
  const V t = r * r;
  V p = c<V>(2.71827435e-06f);
  p = p * t + c<V>(-0.000198393303f);
  p = p * t + c<V>(0.00833332911f);
  p = p * t + c<V>(-0.166666672f);
  return r + r * (t * p);
}
template <class V>
KW_INLINE V cos_poly(V r) {
  const V t = r * r;
  V p = c<V>(2.44380899e-05f);
  p = p * t + c<V>(-0.00138873642f);
  p = p * t + c<V>(0.0416666456f);
  return (p * t) * t + (c<V>(1.0f) - c<V>(0.5f) * t);
}
/// Up to here n * C1 is exact under a fused product, so that three parts of pi/2 give full relative precision.
constexpr float kTrigLimit = 30000.0f;
template <class V>
KW_INLINE V trig_reduced(V a, Int<V>& quadrant) {
  const V n = nearest(a * c<V>(0.636619772f), quadrant);
  V r = a - n * c<V>(1.57079637f);
  r = r - n * c<V>(-4.37113883e-8f);
  return r - n * c<V>(-1.71512451e-15f);
}
template <class V>
KW_INLINE V sin_quadrant(V r, Int<V> q) {
  const V y = kw_select((q & 1) != 0, cos_poly(r), sin_poly(r));
  return kw_bits<V>(kw_bits<Int<V>>(y) ^ ((q & 2) << 30));
}
// Huge, infinite and NaN arguments (and machines without FMA) take libm's exact reduction, lane by lane.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
template <class V>
KW_INLINE auto trig_fast(V a) {
  return a < c<V>(kTrigLimit);
}
#else
template <class V>
KW_INLINE auto trig_fast(V a) {
  return a < c<V>(0.78f);
}
#endif
template <double (*F)(double)>
KW_INLINE float by_libm(float x, float y, bool good) {
  return good ? y : static_cast<float>(F(x));
}
template <double (*F)(double)>
KW_NOINLINE kw_f32v by_libm(kw_f32v x, kw_f32v y, kw_i32v good) {
  for (int i = 0; i < KW_LANES_F32; ++i) {
    if (!good[i]) y[i] = static_cast<float>(F(x[i]));
  }
  return y;
}
KW_INLINE double libm_sin(double x) { return __builtin_sin(x); }
KW_INLINE double libm_cos(double x) { return __builtin_cos(x); }
KW_INLINE double libm_tan(double x) { return __builtin_tan(x); }
template <class V>
KW_INLINE V sin(V x) {
  Int<V> q;
  const V a = kw_abs(x), r = trig_reduced(a, q), y = with_sign(sin_quadrant(r, q), x);
  const auto good = trig_fast(a);
  return __builtin_expect(kw_any(kw_not(good)), 0) ? by_libm<libm_sin>(x, y, good) : y;
}
template <class V>
KW_INLINE V cos(V x) {
  Int<V> q;
  const V a = kw_abs(x), r = trig_reduced(a, q), y = sin_quadrant(r, Int<V>(q + 1));
  const auto good = trig_fast(a);
  return __builtin_expect(kw_any(kw_not(good)), 0) ? by_libm<libm_cos>(x, y, good) : y;
}
template <class V>
KW_INLINE V tan(V x) {
  Int<V> q;
  const V a = kw_abs(x), r = trig_reduced(a, q), s = sin_poly(r), k = cos_poly(r);
  const auto odd = (q & 1) != 0;
  const V y = with_sign(kw_select(odd, -k, s) / kw_select(odd, s, k), x);
  const auto good = trig_fast(a);
  return __builtin_expect(kw_any(kw_not(good)), 0) ? by_libm<libm_tan>(x, y, good) : y;
}
template <class V>
KW_INLINE V asin_tail(V z) {
  V p = c<V>(0.0375651866f);
  p = p * z + c<V>(0.0144026149f);
  p = p * z + c<V>(0.0318176076f);
  p = p * z + c<V>(0.0445157215f);
  p = p * z + c<V>(0.0750051066f);
  return p * z + c<V>(0.166666597f);
}
constexpr float kPi = 3.14159274f, kPiLow = -8.74227766e-8f, kHalfPi = 1.57079637f, kHalfPiLow = -4.37113883e-8f;
template <class V>
KW_INLINE V asin(V x) {
  const V a = kw_abs(x);
  const auto big = a > c<V>(0.5f);
  const V z = kw_select(big, (c<V>(1.0f) - a) * c<V>(0.5f), a * a);
  const V s = kw_select(big, kw_sqrt(z), a);
  const V p = s + s * (z * asin_tail(z));
  const V y = kw_select(big, c<V>(kHalfPi) - (p + p - c<V>(kHalfPiLow)), p);
  return with_sign(y, x);
}
template <class V>
KW_INLINE V acos(V x) {
  const V a = kw_abs(x);
  const auto big = a > c<V>(0.5f), negative = x < c<V>(0.0f);
  const V z = kw_select(big, (c<V>(1.0f) - a) * c<V>(0.5f), a * a);
  const V s = kw_select(big, kw_sqrt(z), a);
  const V p = s + s * (z * asin_tail(z)), pp = p + p;
  const V far = kw_select(negative, c<V>(kPi) - (pp - c<V>(kPiLow)), pp);
  const V near = c<V>(kHalfPi) - (kw_select(negative, -p, p) - c<V>(kHalfPiLow));
  return kw_select(big, far, near);
}
template <class V>
KW_INLINE V atan_unit(V x) {  // 0 <= x <= 1
  const V t = x * x;
  V p = c<V>(-0.00179359387f);
  p = p * t + c<V>(0.0109144812f);
  p = p * t + c<V>(-0.0311776139f);
  p = p * t + c<V>(0.0579573587f);
  p = p * t + c<V>(-0.0840343684f);
  p = p * t + c<V>(0.109521814f);
  p = p * t + c<V>(-0.142642409f);
  p = p * t + c<V>(0.199985489f);
  p = p * t + c<V>(-0.333332986f);
  return x + x * (t * p);
}
template <class V>
KW_INLINE V atan(V x) {
  const V a = kw_abs(x);
  const auto big = a > c<V>(1.0f);
  const V y = atan_unit(kw_select(big, c<V>(1.0f) / a, a));
  return with_sign(kw_select(big, c<V>(kHalfPi) - (y - c<V>(kHalfPiLow)), y), x);
}
template <class V>
KW_INLINE V atan2(V y, V x) {
  const V ay = kw_abs(y), ax = kw_abs(x);
  const auto steep = ay > ax;
  const V hi = kw_select(steep, ay, ax), lo = kw_select(steep, ax, ay);
  V q = lo / hi;
  q = kw_select(hi == c<V>(0.0f), c<V>(0.0f), q);
  q = kw_select(lo == c<V>(KW_INF), c<V>(1.0f), q);
  V r = atan_unit(q);
  r = kw_select(steep, c<V>(kHalfPi) - (r - c<V>(kHalfPiLow)), r);
  const auto left = kw_bits<Int<V>>(x) < 0;
  r = with_sign(kw_select(left, c<V>(kPi) - (r - c<V>(kPiLow)), r), y);
  return kw_select((x != x) | (y != y), x + y, r);
}
template <class V>
KW_INLINE V erf(V x) {
  const V a = kw_abs(x), t = a * a;
  V s = c<V>(7.8891193e-05f);
  s = s * t + c<V>(-0.000802084105f);
  s = s * t + c<V>(0.00518953521f);
  s = s * t + c<V>(-0.0268544443f);
  s = s * t + c<V>(0.112836003f);
  s = s * t + c<V>(-0.37612626f);
  s = s * t + c<V>(1.12837911f);
  const V b = kw_select(a > c<V>(4.0f), c<V>(4.0f), a);
  V p = c<V>(2.14961219e-05f);
  p = p * b + c<V>(-0.000439106458f);
  p = p * b + c<V>(0.00419361144f);
  p = p * b + c<V>(-0.0251789689f);
  p = p * b + c<V>(0.10837248f);
  p = p * b + c<V>(0.633262634f);
  p = p * b + c<V>(1.12955678f);
  p = p * b + c<V>(-0.000183444266f);
  Int<V> i;
  V n;
  const V e = exp_poly(exp_reduced(-p, n, i)) * power_of_two<V>(i);
  return with_sign(kw_select(a < c<V>(1.0f), a * s, c<V>(1.0f) - e), x);
}

// ---- pow: log2 and exp2 in double, so that the product keeps float precision ----
template <class D>
KW_INLINE D cd(double s) {
  return kw_splat<D>(s);
}
template <class D>
KW_INLINE D log2_double(D x) {  // x positive, finite and a former float: normal as double
  typedef typename KwTraits<D>::Int I;
  const I i = kw_bits<I>(x), e = (i - 0x3fe6a09e667f3bcdll) >> 52;
  const D m = kw_bits<D>(i - (e << 52)), s = (m - cd<D>(1)) / (m + cd<D>(1)), t = s * s;
  D p = cd<D>(2.0 / 15);
  p = p * t + cd<D>(2.0 / 13);
  p = p * t + cd<D>(2.0 / 11);
  p = p * t + cd<D>(2.0 / 9);
  p = p * t + cd<D>(2.0 / 7);
  p = p * t + cd<D>(2.0 / 5);
  p = p * t + cd<D>(2.0 / 3);
  p = p * t + cd<D>(2.0);
  return s * p * cd<D>(1.4426950408889634) + kw_convert<D>(e);
}
template <class D>
KW_INLINE D exp2_double(D x) {  // |x| < 900; Taylor to the 8th power on [-1/2, 1/2]
  const D t = x + cd<D>(6755399441055744.0), r = x - (t - cd<D>(6755399441055744.0));
  typedef typename KwTraits<D>::Int I;
  const D scale = kw_bits<D>((kw_bits<I>(t) + 1023) << 52);
  D p = cd<D>(1.3215486790144309e-06);
  p = p * r + cd<D>(1.5252733804059841e-05);
  p = p * r + cd<D>(1.5403530393381609e-04);
  p = p * r + cd<D>(1.3333558146428443e-03);
  p = p * r + cd<D>(9.6181291076284772e-03);
  p = p * r + cd<D>(5.5504108664821580e-02);
  p = p * r + cd<D>(2.4022650695910071e-01);
  p = p * r + cd<D>(6.9314718055994531e-01);
  return (p * r + cd<D>(1)) * scale;
}
template <class V, class D>
KW_INLINE V pow(V x, V y) {
  typedef Int<V> I;
  const V a = kw_abs(x);
  const auto edge = (a == c<V>(0.0f)) | (a == c<V>(KW_INF)) | (a != a);
  const D l = log2_double(kw_convert<D>(kw_select(edge, c<V>(1.0f), a)));
  const auto usual = (a > c<V>(0.0f)) & (kw_abs(y) < c<V>(KW_INF));
  D t = kw_convert<D>(kw_select(usual, y, c<V>(0.0f))) * l;
  t = kw_select(t < cd<D>(-800), cd<D>(-800), t);
  t = kw_select(t > cd<D>(800), cd<D>(800), t);
  V r = kw_convert<V>(exp2_double(t));
  // |x| of 0 or infinity, or an infinite y: to zero, to infinity, or (|x| = 1) to one.
  const auto grows = ((a > c<V>(1.0f)) & (y > c<V>(0.0f))) | ((a < c<V>(1.0f)) & (y < c<V>(0.0f)));
  const V limit = kw_select(a == c<V>(1.0f), c<V>(1.0f), kw_select(grows, c<V>(KW_INF), c<V>(0.0f)));
  r = kw_select(edge | (kw_abs(y) == c<V>(KW_INF)), limit, r);
  const V half = y * c<V>(0.5f);
  typename KwTraits<V>::Mask whole = kw_trunc(y) == y, odd = whole & (kw_trunc(half) != half);
  const auto minus = kw_bits<I>(x) < 0;
  r = kw_select(minus & odd, -r, r);
  r = kw_select((x < c<V>(0.0f)) & (a < c<V>(KW_INF)) & kw_not(whole), c<V>(KW_NAN), r);
  r = kw_select((x != x) | (y != y), x + y, r);
  return kw_select((x == c<V>(1.0f)) | (y == c<V>(0.0f)), c<V>(1.0f), r);
}

}  // namespace kwm

#define KW_MATH(NAME)                                                     \
  KW_INLINE float kw_##NAME(float x) { return kwm::NAME(x); }             \
  KW_INLINE kw_f32v kw_##NAME(kw_f32v x) { return kwm::NAME(x); }         \
  KW_INLINE double kw_##NAME(double x) { return __builtin_##NAME(x); }    \
  KW_NOINLINE kw_f64v kw_##NAME(kw_f64v x) {                              \
    for (int i = 0; i < KW_LANES_F64; ++i) x[i] = __builtin_##NAME(x[i]); \
    return x;                                                             \
  }
KW_MATH(exp)
KW_MATH(exp2)
KW_MATH(expm1)
KW_MATH(log)
KW_MATH(log2)
KW_MATH(log10)
KW_MATH(log1p)
KW_MATH(sin)
KW_MATH(cos)
KW_MATH(tan)
KW_MATH(asin)
KW_MATH(acos)
KW_MATH(atan)
KW_MATH(sinh)
KW_MATH(cosh)
KW_MATH(tanh)
KW_MATH(erf)
#undef KW_MATH
KW_INLINE float kw_sigmoid(float x) { return kwm::sigmoid(x); }
KW_INLINE kw_f32v kw_sigmoid(kw_f32v x) { return kwm::sigmoid(x); }
KW_INLINE double kw_sigmoid(double x) {
  const double e = __builtin_exp(-kw_abs(x));
  return (x < 0 ? e : 1.0) / (1.0 + e);
}
KW_INLINE float kw_atan2(float y, float x) { return kwm::atan2(y, x); }
KW_INLINE kw_f32v kw_atan2(kw_f32v y, kw_f32v x) { return kwm::atan2(y, x); }
KW_INLINE double kw_atan2(double y, double x) { return __builtin_atan2(y, x); }
KW_INLINE float kw_pow(float x, float y) { return kwm::pow<float, double>(x, y); }
KW_INLINE kw_f32v kw_pow(kw_f32v x, kw_f32v y) { return kwm::pow<kw_f32v, kw_f64w>(x, y); }
KW_INLINE double kw_pow(double x, double y) { return __builtin_pow(x, y); }
/// C's fmod, exact (in double also for float); kw_remainder has the divisor's sign, as torch.remainder.
KW_INLINE double kw_fmod(double a, double b) { return __builtin_fmod(a, b); }
KW_INLINE float kw_fmod(float a, float b) { return static_cast<float>(__builtin_fmod(a, b)); }
KW_INLINE double kw_remainder(double a, double b) {
  const double r = kw_fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
KW_INLINE float kw_remainder(float a, float b) {
  const float r = kw_fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
KW_INLINE int32_t kw_remainder(int32_t a, int32_t b) { return kw_mod_floor(a, b); }
KW_INLINE int64_t kw_remainder(int64_t a, int64_t b) { return kw_mod_floor(a, b); }
KW_INLINE int32_t kw_fmod(int32_t a, int32_t b) { return kw_mod_trunc(a, b); }
KW_INLINE int64_t kw_fmod(int64_t a, int64_t b) { return kw_mod_trunc(a, b); }
/// torch.floor_divide: floor of the quotient, computed from the exact remainder.
template <class F>
KW_INLINE F kw_floor_div_real(F a, F b) {
  if (b == 0) return a / b;
  F q = (a - kw_remainder(a, b)) / b;
  const F whole = kw_floor(q);
  return q - whole > F(0.5) ? whole + 1 : whole;
}
KW_INLINE float kw_floor_div(float a, float b) { return kw_floor_div_real(a, b); }
KW_INLINE double kw_floor_div(double a, double b) { return kw_floor_div_real(a, b); }
KW_INLINE int32_t kw_floor_div(int32_t a, int32_t b) { return kw_div_floor(a, b); }
KW_INLINE int64_t kw_floor_div(int64_t a, int64_t b) { return kw_div_floor(a, b); }
#define KW_PAIR(V, NAME)                                                  \
  KW_NOINLINE V NAME(V a, V b) {                                          \
    for (int i = 0; i < KwTraits<V>::lanes; ++i) a[i] = NAME(a[i], b[i]); \
    return a;                                                             \
  }
#define KW_PAIRS(NAME) KW_PAIR(kw_f32v, NAME) KW_PAIR(kw_f64v, NAME) KW_PAIR(kw_i32v, NAME) KW_PAIR(kw_i64w, NAME)
KW_PAIRS(kw_fmod)
KW_PAIRS(kw_remainder)
KW_PAIRS(kw_floor_div)
KW_PAIR(kw_f64v, kw_atan2)
KW_PAIR(kw_f64v, kw_pow)
KW_LANEWISE(kw_f64v, kw_sigmoid, kw_sigmoid)
#undef KW_PAIRS
#undef KW_PAIR
#undef KW_MATH

#endif  // KW_PRELUDE
