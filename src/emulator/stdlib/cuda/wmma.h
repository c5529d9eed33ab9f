#pragma once
// nvcuda::wmma: products of 16x16x16 (half, bfloat16) and 16x16x8 (tf32) with float sums, by all lanes of a warp. Which
// lane holds what is nobody's business; here lane l holds elements l, l + 32, ... of a matrix stored by rows.
#include "atomic.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32;
}

namespace kw_detail {
template <class T>
struct Stored {
  typedef T type;
};
template <>
struct Stored<precision::tf32> {
  typedef float type;
};
template <class Use, int m, int n, int k>
inline constexpr int rows_of = std::is_same_v<Use, matrix_b> ? k : m;
template <class Use, int m, int n, int k>
inline constexpr int columns_of = std::is_same_v<Use, matrix_a> ? k : n;
/// What the tensor core takes of a float.
inline float tf32_bits(float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); }
}  // namespace kw_detail

template <class Use, int m, int n, int k, class T, class Layout = void>
struct fragment {
  static_assert(m == 16 && n == 16 && (k == 16 || k == 8),
                "the emulator has wmma of 16x16x16, and of 16x16x8 for tf32");
  typedef typename kw_detail::Stored<T>::type element_type;
  static constexpr int rows = kw_detail::rows_of<Use, m, n, k>, columns = kw_detail::columns_of<Use, m, n, k>;
  static constexpr int num_elements = rows * columns / 32, num_storage_elements = num_elements;
  element_type x[num_elements];
};

template <class Use, int m, int n, int k, class T, class Layout, class V>
inline void fill_fragment(fragment<Use, m, n, k, T, Layout>& f, const V& value) {
  for (auto& x : f.x) x = value;
}

namespace kw_detail {
template <class F, class T>
inline void load(F& f, const T* from, unsigned stride, bool by_rows) {
  for (int i = 0; i < F::num_elements; ++i) {
    const unsigned at = kw_cuda::lane_index() + 32u * static_cast<unsigned>(i);
    const unsigned row = at / F::columns, column = at % F::columns;
    f.x[i] = from[by_rows ? row * stride + column : column * stride + row];
  }
}
}  // namespace kw_detail

// Loads and stores wait for the whole warp, as the device's do.
template <class Use, int m, int n, int k, class T, class Layout, class S>
KW_MEETING void load_matrix_sync(fragment<Use, m, n, k, T, Layout>& f, const S* from, unsigned stride, KW_HERE) {
  static_assert(!__is_same(Layout, void), "an accumulator is loaded with its layout: mem_row_major or mem_col_major");
  kw_emu_warp(nullptr, 0, nullptr, KW_EMU_OP_MATRIX, kw_cuda::all_lanes, site);
  kw_detail::load(f, from, stride, __is_same(Layout, row_major));
}
template <int m, int n, int k, class T, class S>
KW_MEETING void load_matrix_sync(fragment<accumulator, m, n, k, T>& f, const S* from, unsigned stride, layout_t layout,
                                 KW_HERE) {
  kw_emu_warp(nullptr, 0, nullptr, KW_EMU_OP_MATRIX, kw_cuda::all_lanes, site);
  kw_detail::load(f, from, stride, layout == mem_row_major);
}
template <int m, int n, int k, class T, class S>
KW_MEETING void store_matrix_sync(S* to, const fragment<accumulator, m, n, k, T>& f, unsigned stride, layout_t layout,
                                  KW_HERE) {
  typedef fragment<accumulator, m, n, k, T> F;
  for (int i = 0; i < F::num_elements; ++i) {
    const unsigned at = kw_cuda::lane_index() + 32u * static_cast<unsigned>(i), row = at / n, column = at % n;
    to[layout == mem_row_major ? row * stride + column : column * stride + row] = f.x[i];
  }
  kw_emu_warp(nullptr, 0, nullptr, KW_EMU_OP_MATRIX, kw_cuda::all_lanes, site);
}

namespace kw_detail {
/// What a lane brings: its parts of the three matrices, 64 bytes.
template <class A, class B, class C>
struct Parts {
  C c;
  A a;
  B b;
};
template <class T>
KW_EMU_UNSEEN inline float operand(T x) {
  if constexpr (__is_same(T, float))
    return tf32_bits(x);
  else
    return x.kw_float();
}
template <class A, class B, class C>
KW_EMU_UNSEEN inline void multiply(uint32_t active, char* slots, uint32_t stride) {
  constexpr int inner = A::columns, columns = B::columns, rows = A::rows;
  float a[rows * inner], b[inner * columns];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const auto parts = active >> lane & 1 ? kw_cuda::get_slot<Parts<A, B, C>>(slots, stride, static_cast<int>(lane))
                                          : kw_cuda::poison<Parts<A, B, C>>();
    for (unsigned i = 0; i < A::num_elements; ++i) a[lane + 32 * i] = operand(parts.a.x[i]);
    for (unsigned i = 0; i < B::num_elements; ++i) b[lane + 32 * i] = operand(parts.b.x[i]);
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (!(active >> lane & 1)) continue;
    C c = kw_cuda::get_slot<Parts<A, B, C>>(slots, stride, lane).c;
    for (int i = 0; i < C::num_elements; ++i) {
      const int at = lane + 32 * i, row = at / columns, column = at % columns;
      float sum = static_cast<float>(c.x[i]);
      for (int k = 0; k < inner; ++k) sum += a[row * inner + k] * b[k * columns + column];
      c.x[i] = sum;
    }
    kw_cuda::set_slot(slots, stride, lane, c);  // stands first
  }
}
}  // namespace kw_detail

template <int m, int n, int k, class T, class LayoutA, class LayoutB, class S>
KW_MEETING void mma_sync(fragment<accumulator, m, n, k, S>& d, const fragment<matrix_a, m, n, k, T, LayoutA>& a,
                         const fragment<matrix_b, m, n, k, T, LayoutB>& b, const fragment<accumulator, m, n, k, S>& c,
                         KW_HERE) {
  typedef fragment<matrix_a, m, n, k, T, LayoutA> A;
  typedef fragment<matrix_b, m, n, k, T, LayoutB> B;
  typedef fragment<accumulator, m, n, k, S> C;
  kw_detail::Parts<A, B, C> parts{c, a, b};
  static_assert(sizeof parts <= 64);
  kw_emu_warp(&parts, sizeof parts, kw_detail::multiply<A, B, C>, KW_EMU_OP_MATRIX, kw_cuda::all_lanes, site);
  d = parts.c;
}

/// To the nearest with 10 bits behind the point, ties away from zero.
inline float __float_to_tf32(float x) {
  if (!__builtin_isfinite(x)) return x;
  return __uint_as_float((__float_as_uint(x) + 0x1000u) & 0xffffe000u);
}

}  // namespace nvcuda::wmma

using nvcuda::wmma::__float_to_tf32;
