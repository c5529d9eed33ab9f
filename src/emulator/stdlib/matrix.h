#pragma once
// matrix<T, columns, rows>: columns of vectors.
#include "math.h"

namespace metal {

template <class T, int C, int R>
struct matrix {
  vec<T, R> columns[C];

  matrix() = default;
  template <kw_emu::Scalar S>
  explicit constexpr matrix(S diagonal) {
    for (int c = 0; c < C; ++c)
      for (int r = 0; r < R; ++r) columns[c].kw_ref(r) = c == r ? static_cast<T>(diagonal) : T(0);
  }
  template <class S>
    requires(!kw_emu::same<S, T>)
  explicit constexpr matrix(const matrix<S, C, R>& other) {
    for (int c = 0; c < C; ++c) columns[c] = vec<T, R>(other.columns[c]);
  }
  template <kw_emu::Vector... V>
    requires(sizeof...(V) == C && ((kw_emu::count_of<V> == R) && ...))
  constexpr matrix(const V&... each) : columns{vec<T, R>(each)...} {}
  template <kw_emu::Scalar A, kw_emu::Scalar... S>
    requires(sizeof...(S) + 1 == C * R && C * R > 1)
  constexpr matrix(A first, S... rest) {
    const T all[] = {static_cast<T>(first), static_cast<T>(rest)...};
    for (int c = 0; c < C; ++c)
      for (int r = 0; r < R; ++r) columns[c].kw_ref(r) = all[c * R + r];
  }
  constexpr vec<T, R>& operator[](int c) { return columns[c]; }
  constexpr const vec<T, R>& operator[](int c) const { return columns[c]; }
};

template <class T, int C, int R>
constexpr matrix<T, C, R> operator+(const matrix<T, C, R>& a, const matrix<T, C, R>& b) {
  matrix<T, C, R> made;
  for (int c = 0; c < C; ++c) made[c] = a[c] + b[c];
  return made;
}
template <class T, int C, int R>
constexpr matrix<T, C, R> operator-(const matrix<T, C, R>& a, const matrix<T, C, R>& b) {
  matrix<T, C, R> made;
  for (int c = 0; c < C; ++c) made[c] = a[c] - b[c];
  return made;
}
template <class T, int C, int R>
constexpr matrix<T, C, R> operator-(const matrix<T, C, R>& a) {
  matrix<T, C, R> made;
  for (int c = 0; c < C; ++c) made[c] = -a[c];
  return made;
}
template <class T, int C, int R, kw_emu::Scalar S>
constexpr matrix<T, C, R> operator*(const matrix<T, C, R>& a, S s) {
  matrix<T, C, R> made;
  for (int c = 0; c < C; ++c) made[c] = a[c] * s;
  return made;
}
template <class T, int C, int R, kw_emu::Scalar S>
constexpr matrix<T, C, R> operator*(S s, const matrix<T, C, R>& a) {
  return a * s;
}
template <class T, int C, int R, kw_emu::Vector V>
  requires(kw_emu::count_of<V> == C)
constexpr vec<T, R> operator*(const matrix<T, C, R>& m, const V& v) {
  vec<T, R> sum = m[0] * v.kw_at(0);
  for (int c = 1; c < C; ++c) sum += m[c] * v.kw_at(c);
  return sum;
}
template <class T, int C, int R, kw_emu::Vector V>
  requires(kw_emu::count_of<V> == R)
constexpr vec<T, C> operator*(const V& v, const matrix<T, C, R>& m) {
  vec<T, C> made(T(0));
  for (int c = 0; c < C; ++c) made.kw_ref(c) = dot(v, m[c]);
  return made;
}
template <class T, int K, int R, int C>
constexpr matrix<T, C, R> operator*(const matrix<T, K, R>& a, const matrix<T, C, K>& b) {
  matrix<T, C, R> made;
  for (int c = 0; c < C; ++c) made[c] = a * b[c];
  return made;
}
template <class T, int C, int R, class B>
constexpr matrix<T, C, R>& operator+=(matrix<T, C, R>& a, const B& b) {
  return a = a + b;
}
template <class T, int C, int R, class B>
constexpr matrix<T, C, R>& operator-=(matrix<T, C, R>& a, const B& b) {
  return a = a - b;
}
template <class T, int C, int R, class B>
constexpr matrix<T, C, R>& operator*=(matrix<T, C, R>& a, const B& b) {
  return a = a * b;
}
template <class T, int C, int R>
constexpr bool operator==(const matrix<T, C, R>& a, const matrix<T, C, R>& b) {
  for (int c = 0; c < C; ++c)
    if (!all(a[c] == b[c])) return false;
  return true;
}
template <class T, int C, int R>
constexpr matrix<T, R, C> transpose(const matrix<T, C, R>& a) {
  matrix<T, R, C> made;
  for (int c = 0; c < C; ++c)
    for (int r = 0; r < R; ++r) made[r][c] = a[c][r];
  return made;
}
template <class T>
constexpr T determinant(const matrix<T, 2, 2>& a) {
  return a[0][0] * a[1][1] - a[1][0] * a[0][1];
}
template <class T>
constexpr T determinant(const matrix<T, 3, 3>& a) {
  return dot(a[0], cross(a[1], a[2]));
}
template <class T>
constexpr T determinant(const matrix<T, 4, 4>& a) {
  T sum = 0;
  for (int c = 0; c < 4; ++c) {
    matrix<T, 3, 3> minor;
    for (int k = 0, to = 0; k < 4; ++k)
      if (k != c) minor[to++] = vec<T, 3>(a[k][1], a[k][2], a[k][3]);
    sum += (c % 2 ? -1 : 1) * a[c][0] * determinant(minor);
  }
  return sum;
}

}  // namespace metal

#define KW_MATRIX(T, C, R)                   \
  typedef metal::matrix<T, C, R> T##C##x##R; \
  namespace metal {                          \
  using ::T##C##x##R;                        \
  }
#define KW_MATRICES(T) \
  KW_MATRIX(T, 2, 2)   \
  KW_MATRIX(T, 2, 3)   \
  KW_MATRIX(T, 2, 4)   \
  KW_MATRIX(T, 3, 2) KW_MATRIX(T, 3, 3) KW_MATRIX(T, 3, 4) KW_MATRIX(T, 4, 2) KW_MATRIX(T, 4, 3) KW_MATRIX(T, 4, 4)
KW_MATRICES(float)
KW_MATRICES(half)
KW_MATRICES(bfloat)
#undef KW_MATRICES
#undef KW_MATRIX
