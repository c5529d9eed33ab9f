#pragma once
// metal_simdgroup_matrix: 8x8 matrices that the 32 lanes hold together, two neighbouring elements of a row each.
#include "simdgroup.h"

namespace metal {

template <class T, int Rows, int Columns = Rows>
struct simdgroup_matrix {
  static_assert(Rows == 8 && Columns == 8, "simdgroup matrices are 8x8");
  typedef vec<T, 2> storage_type;
  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T diagonal);
  vec<T, 2>& thread_elements() { return held_; }
  const vec<T, 2>& thread_elements() const { return held_; }
  vec<T, 2> held_;
};

}  // namespace metal

namespace kw_emu {

/// Where a lane's first element stands.
constexpr int matrix_row(int lane) { return (lane / 4 & 4) + lane / 2 % 4; }
constexpr int matrix_column(int lane) { return (lane / 4 & 2) * 2 + lane % 2 * 2; }

struct Product8x8 {
  float a[2], b[2], c[2];
};
/// c = a * b + c over the lanes' parts, in float, k in order.
KW_EMU_UNSEEN inline void multiply_8x8(uint32_t active, char* slots, uint32_t stride) {
  float a[8][8], b[8][8], c[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int row = matrix_row(lane), column = matrix_column(lane);
    const Product8x8 part = active >> lane & 1 ? get_slot<Product8x8>(slots, stride, lane) : poison<Product8x8>();
    for (int k = 0; k < 2; ++k) {
      a[row][column + k] = part.a[k];
      b[row][column + k] = part.b[k];
      c[row][column + k] = part.c[k];
    }
  }
  for (int row = 0; row < 8; ++row)
    for (int k = 0; k < 8; ++k)
      for (int column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
  for (int lane = 0; lane < 32; ++lane)
    if (active >> lane & 1) {
      const int row = matrix_row(lane), column = matrix_column(lane);
      const float result[2] = {c[row][column], c[row][column + 1]};
      __builtin_memcpy(slots + lane * stride + 16, result, 8);
    }
}

}  // namespace kw_emu

namespace metal {

template <class T, int Rows, int Columns>
inline simdgroup_matrix<T, Rows, Columns>::simdgroup_matrix(T diagonal) {
  const int row = kw_emu::matrix_row(kw_emu::lane()), column = kw_emu::matrix_column(kw_emu::lane());
  for (int k = 0; k < 2; ++k) held_[k] = row == column + k ? diagonal : T(0);
}

template <class T, int R, int C = R, class S>
inline simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(S value) {
  simdgroup_matrix<T, R, C> made;
  made.held_ = vec<T, 2>(static_cast<T>(value));
  return made;
}

template <class D, class A, class B, class C>
KW_MEETING void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                              const simdgroup_matrix<B, 8, 8>& b, const simdgroup_matrix<C, 8, 8>& c,
                                              KW_HERE) {
  kw_emu::Product8x8 part = {{float(a.held_[0]), float(a.held_[1])},
                             {float(b.held_[0]), float(b.held_[1])},
                             {float(c.held_[0]), float(c.held_[1])}};
  part = kw_emu::meet(part, &kw_emu::multiply_8x8, KW_EMU_OP_MATRIX, site);
  d.held_ = vec<D, 2>(part.c[0], part.c[1]);
}
template <class D, class A, class B>
KW_MEETING void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                   const simdgroup_matrix<B, 8, 8>& b, KW_HERE) {
  const auto zero = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  simdgroup_multiply_accumulate(d, a, b, zero, site);
}
// An operator has no default arguments, so its meeting is reported here; which one it is, the return address says.
template <class A, class B>
KW_MEETING simdgroup_matrix<A, 8, 8> operator*(const simdgroup_matrix<A, 8, 8>& a, const simdgroup_matrix<B, 8, 8>& b) {
  simdgroup_matrix<A, 8, 8> made;
  simdgroup_multiply(made, a, b);
  return made;
}

template <class T, class P>
inline void simdgroup_load(simdgroup_matrix<T, 8, 8>& d, const P* from, ulong elements_per_row = 8,
                           ulong2 origin = ulong2(0ul), bool transpose = false) {
  const int row = kw_emu::matrix_row(kw_emu::lane()), column = kw_emu::matrix_column(kw_emu::lane());
  from += origin[1] * elements_per_row + origin[0];
  for (int k = 0; k < 2; ++k)
    d.held_[k] = static_cast<T>(transpose ? from[(column + k) * elements_per_row + row]
                                          : from[row * elements_per_row + column + k]);
}
template <class T, class P>
inline void simdgroup_store(const simdgroup_matrix<T, 8, 8>& d, P* to, ulong elements_per_row = 8,
                            ulong2 origin = ulong2(0ul), bool transpose = false) {
  const int row = kw_emu::matrix_row(kw_emu::lane()), column = kw_emu::matrix_column(kw_emu::lane());
  to += origin[1] * elements_per_row + origin[0];
  for (int k = 0; k < 2; ++k)
    (transpose ? to[(column + k) * elements_per_row + row] : to[row * elements_per_row + column + k]) =
        static_cast<P>(d.held_[k]);
}

}  // namespace metal

typedef metal::simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef metal::simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef metal::simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;
namespace metal {
using ::simdgroup_bfloat8x8;
using ::simdgroup_float8x8;
using ::simdgroup_half8x8;
}  // namespace metal
