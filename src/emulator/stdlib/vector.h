#pragma once
// vec<T, N>, packed_vec<T, N>, their swizzles and operators. Every operation works element by element in T.
#include "traits.h"

namespace metal {

template <class T, int N>
struct vec;
template <class T, int N>
struct packed_vec;

}  // namespace metal

namespace kw_emu {

/// The elements I... of the N that this object overlays: a member of a vector's union.
template <class T, int N, int... I>
struct Swizzle;

template <class V>
struct Shape {
  static constexpr int count = 0;
  typedef V element;
};
template <class T, int N>
struct Shape<metal::vec<T, N>> {
  static constexpr int count = N;
  typedef T element;
};
template <class T, int N>
struct Shape<metal::packed_vec<T, N>> {
  static constexpr int count = N;
  typedef T element;
};
template <class T, int N, int... I>
struct Shape<Swizzle<T, N, I...>> {
  static constexpr int count = sizeof...(I);
  typedef T element;
};
template <class V>
inline constexpr int count_of = Shape<__remove_cv(V)>::count;
template <class V>
using element_of = typename Shape<__remove_cv(V)>::element;
template <class V>
concept Vector = (count_of<V> > 0);
template <class V>
concept Value = Vector<V> || scalar<V>;

template <class V>
struct PlainOf {
  typedef __remove_cv(V) type;
};
template <Vector V>
struct PlainOf<V> {
  typedef metal::vec<element_of<V>, count_of<V>> type;
};
/// The vec that a packed vector or a swizzle stands for; a scalar itself.
template <class V>
using plain = typename PlainOf<V>::type;

/// Element count of an operation's result: 0 if all are scalars.
template <class... V>
inline constexpr int widest = [] {
  int most = 0;
  ((most = count_of<V> > most ? count_of<V> : most), ...);
  return most;
}();
template <class... V>
concept Fits = ((count_of<V> == 0 || count_of<V> == widest<V...>)&&...);

template <class T>
constexpr T some();
template <class A, class B>
struct ElementPair {
  typedef decltype(some<A>() + some<B>()) type;
};
template <Scalar A>
struct ElementPair<A, A> {
  typedef A type;
};
template <Vector A, Scalar B>
struct ElementPair<A, B> {
  typedef element_of<A> type;
};
template <Scalar A, Vector B>
struct ElementPair<A, B> {
  typedef element_of<B> type;
};
template <Vector A, Vector B>
struct ElementPair<A, B> {
  static_assert(same<element_of<A>, element_of<B>>, "two vectors of different element types: convert one of them");
  typedef element_of<A> type;
};

template <class V>
constexpr decltype(auto) at(const V& value, int i) {
  if constexpr (Vector<V>)
    return value.kw_at(i);
  else
    return (value);
}

}  // namespace kw_emu

namespace kw_emu {
template <class T, int N, int... I>
struct Swizzle {
  T d_[N];

  static constexpr int places[sizeof...(I)] = {I...};
  constexpr const T& kw_at(int i) const { return d_[places[i]]; }
  constexpr T& operator[](int i) { return d_[places[i]]; }
  constexpr const T& operator[](int i) const { return d_[places[i]]; }
  operator metal::vec<T, sizeof...(I)>() const { return metal::vec<T, sizeof...(I)>(d_[I]...); }

  Swizzle() = default;
  Swizzle(const Swizzle&) = default;
  Swizzle& operator=(const Swizzle& other) { return assign(plain<Swizzle>(other)); }
  template <Value V>
    requires Fits<Swizzle, V>
  Swizzle& operator=(const V& value) {
    return assign(plain<Swizzle>(value));
  }
  Swizzle& assign(const metal::vec<T, sizeof...(I)>& value) {
    for (int i = 0; i < int(sizeof...(I)); ++i) d_[places[i]] = value.kw_at(i);
    return *this;
  }
};
}  // namespace kw_emu

// Members named by letters: KW_EACH_k(letters, MAKE) calls MAKE for every word of k letters.
#define KW_WORD2(a, i, b, j) kw_emu::Swizzle<T, kw_width, i, j> a##b;
#define KW_WORD3(a, i, b, j, c, k) kw_emu::Swizzle<T, kw_width, i, j, k> a##b##c;
#define KW_WORD4(a, i, b, j, c, k, d, l) kw_emu::Swizzle<T, kw_width, i, j, k, l> a##b##c##d;
#define KW_L4_2(x, y, z, w, a, i) KW_WORD2(a, i, x, 0) KW_WORD2(a, i, y, 1) KW_WORD2(a, i, z, 2) KW_WORD2(a, i, w, 3)
#define KW_L4_3B(x, y, z, w, a, i, b, j) \
  KW_WORD3(a, i, b, j, x, 0) KW_WORD3(a, i, b, j, y, 1) KW_WORD3(a, i, b, j, z, 2) KW_WORD3(a, i, b, j, w, 3)
#define KW_L4_3(x, y, z, w, a, i)  \
  KW_L4_3B(x, y, z, w, a, i, x, 0) \
  KW_L4_3B(x, y, z, w, a, i, y, 1) KW_L4_3B(x, y, z, w, a, i, z, 2) KW_L4_3B(x, y, z, w, a, i, w, 3)
#define KW_L4_4C(x, y, z, w, a, i, b, j, c, k) \
  KW_WORD4(a, i, b, j, c, k, x, 0)             \
  KW_WORD4(a, i, b, j, c, k, y, 1) KW_WORD4(a, i, b, j, c, k, z, 2) KW_WORD4(a, i, b, j, c, k, w, 3)
#define KW_L4_4B(x, y, z, w, a, i, b, j) \
  KW_L4_4C(x, y, z, w, a, i, b, j, x, 0) \
  KW_L4_4C(x, y, z, w, a, i, b, j, y, 1) KW_L4_4C(x, y, z, w, a, i, b, j, z, 2) KW_L4_4C(x, y, z, w, a, i, b, j, w, 3)
#define KW_L4_4(x, y, z, w, a, i)  \
  KW_L4_4B(x, y, z, w, a, i, x, 0) \
  KW_L4_4B(x, y, z, w, a, i, y, 1) KW_L4_4B(x, y, z, w, a, i, z, 2) KW_L4_4B(x, y, z, w, a, i, w, 3)
#define KW_L4(L, x, y, z, w) L(x, y, z, w, x, 0) L(x, y, z, w, y, 1) L(x, y, z, w, z, 2) L(x, y, z, w, w, 3)
#define KW_SWIZZLES4(x, y, z, w) KW_L4(KW_L4_2, x, y, z, w) KW_L4(KW_L4_3, x, y, z, w) KW_L4(KW_L4_4, x, y, z, w)

#define KW_L3_2(x, y, z, a, i) KW_WORD2(a, i, x, 0) KW_WORD2(a, i, y, 1) KW_WORD2(a, i, z, 2)
#define KW_L3_3B(x, y, z, a, i, b, j) KW_WORD3(a, i, b, j, x, 0) KW_WORD3(a, i, b, j, y, 1) KW_WORD3(a, i, b, j, z, 2)
#define KW_L3_3(x, y, z, a, i) KW_L3_3B(x, y, z, a, i, x, 0) KW_L3_3B(x, y, z, a, i, y, 1) KW_L3_3B(x, y, z, a, i, z, 2)
#define KW_L3_4C(x, y, z, a, i, b, j, c, k) \
  KW_WORD4(a, i, b, j, c, k, x, 0) KW_WORD4(a, i, b, j, c, k, y, 1) KW_WORD4(a, i, b, j, c, k, z, 2)
#define KW_L3_4B(x, y, z, a, i, b, j) \
  KW_L3_4C(x, y, z, a, i, b, j, x, 0) KW_L3_4C(x, y, z, a, i, b, j, y, 1) KW_L3_4C(x, y, z, a, i, b, j, z, 2)
#define KW_L3_4(x, y, z, a, i) KW_L3_4B(x, y, z, a, i, x, 0) KW_L3_4B(x, y, z, a, i, y, 1) KW_L3_4B(x, y, z, a, i, z, 2)
#define KW_L3(L, x, y, z) L(x, y, z, x, 0) L(x, y, z, y, 1) L(x, y, z, z, 2)
#define KW_SWIZZLES3(x, y, z) KW_L3(KW_L3_2, x, y, z) KW_L3(KW_L3_3, x, y, z) KW_L3(KW_L3_4, x, y, z)

#define KW_L2_2(x, y, a, i) KW_WORD2(a, i, x, 0) KW_WORD2(a, i, y, 1)
#define KW_L2_3B(x, y, a, i, b, j) KW_WORD3(a, i, b, j, x, 0) KW_WORD3(a, i, b, j, y, 1)
#define KW_L2_3(x, y, a, i) KW_L2_3B(x, y, a, i, x, 0) KW_L2_3B(x, y, a, i, y, 1)
#define KW_L2_4C(x, y, a, i, b, j, c, k) KW_WORD4(a, i, b, j, c, k, x, 0) KW_WORD4(a, i, b, j, c, k, y, 1)
#define KW_L2_4B(x, y, a, i, b, j) KW_L2_4C(x, y, a, i, b, j, x, 0) KW_L2_4C(x, y, a, i, b, j, y, 1)
#define KW_L2_4(x, y, a, i) KW_L2_4B(x, y, a, i, x, 0) KW_L2_4B(x, y, a, i, y, 1)
#define KW_L2(L, x, y) L(x, y, x, 0) L(x, y, y, 1)
#define KW_SWIZZLES2(x, y) KW_L2(KW_L2_2, x, y) KW_L2(KW_L2_3, x, y) KW_L2(KW_L2_4, x, y)

namespace kw_emu {

template <class T, int N>
struct Storage {
  T kw_d[N];
  constexpr T& kw_ref(int i) { return kw_d[i]; }
  constexpr const T& kw_at(int i) const { return kw_d[i]; }
};
template <class T>
struct Storage<T, 2> {
  static constexpr int kw_width = 2;
  union {
    T kw_d[2];
    struct {
      T x, y;
    };
    struct {
      T r, g;
    };
    KW_SWIZZLES2(x, y)
    KW_SWIZZLES2(r, g)
  };
  constexpr Storage(const T (&all)[2]) : x(all[0]), y(all[1]) {}
  /// An element. While constants are computed a union has one member only: the letters.
  constexpr T& kw_ref(int i) {
    if (__builtin_is_constant_evaluated()) return i == 0 ? x : y;
    return kw_d[i];
  }
  constexpr const T& kw_at(int i) const {
    if (__builtin_is_constant_evaluated()) return i == 0 ? x : y;
    return kw_d[i];
  }
  Storage() = default;
  Storage(const Storage&) = default;
};
template <class T>
struct Storage<T, 3> {
  static constexpr int kw_width = 3;
  union {
    T kw_d[3];
    struct {
      T x, y, z;
    };
    struct {
      T r, g, b;
    };
    KW_SWIZZLES3(x, y, z)
    KW_SWIZZLES3(r, g, b)
  };
  constexpr Storage(const T (&all)[3]) : x(all[0]), y(all[1]), z(all[2]) {}
  /// An element. While constants are computed a union has one member only: the letters.
  constexpr T& kw_ref(int i) {
    if (__builtin_is_constant_evaluated()) return i == 0 ? x : i == 1 ? y : z;
    return kw_d[i];
  }
  constexpr const T& kw_at(int i) const {
    if (__builtin_is_constant_evaluated()) return i == 0 ? x : i == 1 ? y : z;
    return kw_d[i];
  }
  Storage() = default;
  Storage(const Storage&) = default;
};
template <class T>
struct Storage<T, 4> {
  static constexpr int kw_width = 4;
  union {
    T kw_d[4];
    struct {
      T x, y, z, w;
    };
    struct {
      T r, g, b, a;
    };
    KW_SWIZZLES4(x, y, z, w)
    KW_SWIZZLES4(r, g, b, a)
  };
  constexpr Storage(const T (&all)[4]) : x(all[0]), y(all[1]), z(all[2]), w(all[3]) {}
  /// An element. While constants are computed a union has one member only: the letters.
  constexpr T& kw_ref(int i) {
    if (__builtin_is_constant_evaluated()) return i == 0 ? x : i == 1 ? y : i == 2 ? z : w;
    return kw_d[i];
  }
  constexpr const T& kw_at(int i) const {
    if (__builtin_is_constant_evaluated()) return i == 0 ? x : i == 1 ? y : i == 2 ? z : w;
    return kw_d[i];
  }
  Storage() = default;
  Storage(const Storage&) = default;
};

/// All scalars of a constructor's arguments in a row, each as a T.
template <class T, int N>
struct Row {
  T all[N] = {};
  int filled = 0;
  template <class V>
  constexpr void put(const V& value) {
    if constexpr (Vector<V>) {
      for (int i = 0; i < count_of<V>; ++i) all[filled++] = static_cast<T>(value.kw_at(i));
    } else {
      all[filled++] = static_cast<T>(value);
    }
  }
};
template <class V>
inline constexpr int places_of = Vector<V> ? count_of<V> : 1;
template <class T, int N, class... V>
constexpr Row<T, N> row_of(const V&... values) {
  Row<T, N> row;
  (row.put(values), ...);
  return row;
}
template <class T, int N, class V>
constexpr Row<T, N> splat(const V& value) {
  Row<T, N> row;
  for (int i = 0; i < N; ++i) row.all[i] = static_cast<T>(value);
  return row;
}

}  // namespace kw_emu

#define KW_VECTOR_MEMBERS(name)                                                                            \
  typedef kw_emu::Storage<T, N> kw_base;                                                                   \
  name() = default;                                                                                        \
  name(const name&) = default;                                                                             \
  name& operator=(const name& other) {                                                                     \
    __builtin_memcpy(static_cast<void*>(this), &other, sizeof(name));                                      \
    return *this;                                                                                          \
  }                                                                                                        \
  template <class B>                                                                                       \
    requires kw_emu::same<B, name>                                                                         \
  name(const volatile B& other) {                                                                          \
    for (int i = 0; i < N; ++i) this->kw_d[i] = other.kw_d[i];                                             \
  }                                                                                                        \
  template <class B>                                                                                       \
    requires kw_emu::same<B, name>                                                                         \
  void operator=(const B& other) volatile {                                                                \
    for (int i = 0; i < N; ++i) this->kw_d[i] = other.kw_d[i];                                             \
  }                                                                                                        \
  template <kw_emu::Scalar S>                                                                              \
  constexpr name(S value) : kw_base(kw_emu::splat<T, N>(value).all) {}                                     \
  template <kw_emu::Vector V>                                                                              \
    requires(kw_emu::count_of<V> == N && !kw_emu::same<V, name>)                                           \
  explicit(!kw_emu::same<kw_emu::element_of<V>, T>) constexpr name(const V& value)                         \
      : kw_base(kw_emu::row_of<T, N>(value).all) {}                                                        \
  template <kw_emu::Value A, kw_emu::Value B, kw_emu::Value... C>                                          \
    requires(kw_emu::places_of<A> + kw_emu::places_of<B> + (0 + ... + kw_emu::places_of<C>) == N)          \
  constexpr name(const A& a, const B& b, const C&... c) : kw_base(kw_emu::row_of<T, N>(a, b, c...).all) {} \
  constexpr T& operator[](size_t i) { return this->kw_ref(static_cast<int>(i)); }                          \
  constexpr const T& operator[](size_t i) const { return this->kw_at(static_cast<int>(i)); }               \
  constexpr const volatile T& operator[](size_t i) const volatile { return this->kw_d[i]; }

namespace metal {

template <class T, int N>
struct alignas(sizeof(T) * (N == 3 ? 4 : N)) vec : kw_emu::Storage<T, N> {
  KW_VECTOR_MEMBERS(vec)
};
/// The same elements without padding, aligned as one of them.
template <class T, int N>
struct packed_vec : kw_emu::Storage<T, N> {
  KW_VECTOR_MEMBERS(packed_vec)
};
#undef KW_VECTOR_MEMBERS

#define KW_BINARY(op)                                                                                        \
  template <kw_emu::Value A, kw_emu::Value B>                                                                \
    requires((kw_emu::Vector<A> || kw_emu::Vector<B>) && kw_emu::Fits<A, B>)                                 \
  constexpr auto operator op(const A& a, const B& b) {                                                       \
    typedef typename kw_emu::ElementPair<A, B>::type T;                                                      \
    vec<T, kw_emu::widest<A, B>> made(T{});                                                                  \
    for (int i = 0; i < kw_emu::widest<A, B>; ++i)                                                           \
      made.kw_ref(i) = static_cast<T>(static_cast<T>(kw_emu::at(a, i)) op static_cast<T>(kw_emu::at(b, i))); \
    return made;                                                                                             \
  }                                                                                                          \
  template <kw_emu::Vector A, kw_emu::Value B>                                                               \
    requires kw_emu::Fits<A, B>                                                                              \
  constexpr A& operator op##=(A& a, const B& b) {                                                            \
    a = kw_emu::plain<A>(a op b);                                                                            \
    return a;                                                                                                \
  }
KW_BINARY(+)
KW_BINARY(-)
KW_BINARY(*)
KW_BINARY(/)
KW_BINARY(%)
KW_BINARY(&)
KW_BINARY(|)
KW_BINARY(^)
KW_BINARY(<<)
KW_BINARY(>>)
#undef KW_BINARY

#define KW_COMPARE(op)                                                                       \
  template <kw_emu::Value A, kw_emu::Value B>                                                \
    requires((kw_emu::Vector<A> || kw_emu::Vector<B>) && kw_emu::Fits<A, B>)                 \
  constexpr auto operator op(const A& a, const B& b) {                                       \
    typedef typename kw_emu::ElementPair<A, B>::type T;                                      \
    vec<bool, kw_emu::widest<A, B>> made(false);                                             \
    for (int i = 0; i < kw_emu::widest<A, B>; ++i)                                           \
      made.kw_ref(i) = static_cast<T>(kw_emu::at(a, i)) op static_cast<T>(kw_emu::at(b, i)); \
    return made;                                                                             \
  }
KW_COMPARE(<)
KW_COMPARE(>)
KW_COMPARE(<=)
KW_COMPARE(>=)
KW_COMPARE(==)
KW_COMPARE(!=)
KW_COMPARE(&&)
KW_COMPARE(||)
#undef KW_COMPARE

#define KW_UNARY(op, Result)                                                                                 \
  template <kw_emu::Vector A>                                                                                \
  constexpr auto operator op(const A& a) {                                                                   \
    typedef kw_emu::element_of<A> T;                                                                         \
    vec<Result, kw_emu::count_of<A>> made(Result{});                                                         \
    for (int i = 0; i < kw_emu::count_of<A>; ++i) made.kw_ref(i) = static_cast<Result>(op kw_emu::at(a, i)); \
    return made;                                                                                             \
  }
KW_UNARY(-, T)
KW_UNARY(+, T)
KW_UNARY(~, T)
KW_UNARY(!, bool)
#undef KW_UNARY
template <kw_emu::Vector A>
constexpr A& operator++(A& a) {
  return a += 1;
}
template <kw_emu::Vector A>
constexpr A& operator--(A& a) {
  return a -= 1;
}
template <kw_emu::Vector A>
constexpr kw_emu::plain<A> operator++(A& a, int) {
  const kw_emu::plain<A> old(a);
  a += 1;
  return old;
}
template <kw_emu::Vector A>
constexpr kw_emu::plain<A> operator--(A& a, int) {
  const kw_emu::plain<A> old(a);
  a -= 1;
  return old;
}

}  // namespace metal

#define KW_VECTORS(T, N)                         \
  typedef metal::vec<T, N> T##N;                 \
  typedef metal::packed_vec<T, N> packed_##T##N; \
  namespace metal {                              \
  using ::T##N;                                  \
  using ::packed_##T##N;                         \
  }
#define KW_VECTORS_OF(T) KW_VECTORS(T, 2) KW_VECTORS(T, 3) KW_VECTORS(T, 4)
KW_VECTORS_OF(bool)
KW_VECTORS_OF(char)
KW_VECTORS_OF(uchar)
KW_VECTORS_OF(short)
KW_VECTORS_OF(ushort)
KW_VECTORS_OF(int)
KW_VECTORS_OF(uint)
KW_VECTORS_OF(long)
KW_VECTORS_OF(ulong)
KW_VECTORS_OF(half)
KW_VECTORS_OF(float)
KW_VECTORS_OF(bfloat)
#undef KW_VECTORS_OF
#undef KW_VECTORS
