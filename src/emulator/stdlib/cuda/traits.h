#pragma once
// What device code takes from <type_traits>, <utility>, <limits> and <algorithm>.
#include "types.h"

namespace std {

template <class T, T v>
struct integral_constant {
  static constexpr T value = v;
  typedef T value_type;
  typedef integral_constant type;
  constexpr operator T() const { return v; }
  constexpr T operator()() const { return v; }
};
template <bool b>
using bool_constant = integral_constant<bool, b>;
typedef bool_constant<true> true_type;
typedef bool_constant<false> false_type;

template <bool c, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool c, class T = void>
using enable_if_t = typename enable_if<c, T>::type;
template <bool c, class A, class B>
struct conditional {
  typedef A type;
};
template <class A, class B>
struct conditional<false, A, B> {
  typedef B type;
};
template <bool c, class A, class B>
using conditional_t = typename conditional<c, A, B>::type;
template <class...>
using void_t = void;
template <class T>
struct type_identity {
  typedef T type;
};
template <class T>
using type_identity_t = typename type_identity<T>::type;

#define KW_TRANSFORM(name, builtin) \
  template <class T>                \
  struct name {                     \
    typedef builtin(T) type;        \
  };                                \
  template <class T>                \
  using name##_t = builtin(T);
KW_TRANSFORM(remove_const, __remove_const)
KW_TRANSFORM(remove_volatile, __remove_volatile)
KW_TRANSFORM(remove_cv, __remove_cv)
KW_TRANSFORM(remove_reference, __remove_reference_t)
KW_TRANSFORM(remove_cvref, __remove_cvref)
KW_TRANSFORM(remove_pointer, __remove_pointer)
KW_TRANSFORM(decay, __decay)
KW_TRANSFORM(make_signed, __make_signed)
KW_TRANSFORM(make_unsigned, __make_unsigned)
KW_TRANSFORM(underlying_type, __underlying_type)
#undef KW_TRANSFORM

#define KW_QUESTION(name, ...)                  \
  template <class T>                            \
  inline constexpr bool name##_v = __VA_ARGS__; \
  template <class T>                            \
  struct name : bool_constant<name##_v<T>> {};
KW_QUESTION(is_integral, __is_integral(__remove_cv(T)))
KW_QUESTION(is_floating_point, __is_floating_point(__remove_cv(T)))
KW_QUESTION(is_arithmetic, __is_integral(__remove_cv(T)) || __is_floating_point(__remove_cv(T)))
KW_QUESTION(is_signed, __is_signed(T))
KW_QUESTION(is_unsigned, __is_unsigned(T))
KW_QUESTION(is_pointer, __is_pointer(T))
KW_QUESTION(is_reference, __is_reference(T))
KW_QUESTION(is_void, __is_void(__remove_cv(T)))
KW_QUESTION(is_const, __is_const(T))
KW_QUESTION(is_enum, __is_enum(T))
KW_QUESTION(is_class, __is_class(T))
KW_QUESTION(is_array, __is_array(T))
KW_QUESTION(is_trivially_copyable, __is_trivially_copyable(T))
KW_QUESTION(is_empty, __is_empty(T))
#undef KW_QUESTION
template <class A, class B>
inline constexpr bool is_same_v = __is_same(A, B);
template <class A, class B>
struct is_same : bool_constant<is_same_v<A, B>> {};
template <class A, class B>
inline constexpr bool is_base_of_v = __is_base_of(A, B);
template <class A, class B>
inline constexpr bool is_convertible_v = __is_convertible_to(A, B);
template <class A, class B>
struct is_convertible : bool_constant<is_convertible_v<A, B>> {};

template <class T>
T&& declval() noexcept;
template <class T>
constexpr __remove_reference_t(T)&& move(T&& value) noexcept {
  return static_cast<__remove_reference_t(T)&&>(value);
}
template <class T>
constexpr T&& forward(__remove_reference_t(T)& value) noexcept {
  return static_cast<T&&>(value);
}
template <class T>
constexpr void swap(T& a, T& b) {
  T kept = move(a);
  a = move(b);
  b = move(kept);
}
template <class T>
constexpr const T& min(const T& a, const T& b) {
  return b < a ? b : a;
}
template <class T>
constexpr const T& max(const T& a, const T& b) {
  return a < b ? b : a;
}

template <class T, T... i>
struct integer_sequence {
  static constexpr size_t size() { return sizeof...(i); }
};
template <size_t... i>
using index_sequence = integer_sequence<size_t, i...>;
template <class T, T n>
using make_integer_sequence = __make_integer_seq<integer_sequence, T, n>;
template <size_t n>
using make_index_sequence = make_integer_sequence<size_t, n>;

template <class T>
struct numeric_limits {
  static constexpr bool is_specialized = false;
};
template <class T>
  requires is_integral_v<T>
struct numeric_limits<T> {
  static constexpr bool is_specialized = true, is_integer = true, is_signed = T(-1) < T(0), has_infinity = false;
  static constexpr int digits = static_cast<int>(sizeof(T) * 8) - (is_signed ? 1 : 0);
  static constexpr T max() {
    if constexpr (__is_same(T, bool))
      return true;
    else
      return is_signed ? T(~0ull >> (65 - sizeof(T) * 8)) : T(~0ull >> (64 - sizeof(T) * 8));
  }
  static constexpr T min() { return is_signed ? T(-max() - 1) : T(0); }
  static constexpr T lowest() { return min(); }
};
template <>
struct numeric_limits<float> {
  static constexpr bool is_specialized = true, is_integer = false, is_signed = true, has_infinity = true;
  static constexpr int digits = 24;
  static constexpr float max() { return 3.402823466385288598117e+38f; }
  static constexpr float min() { return 1.175494350822287507969e-38f; }
  static constexpr float lowest() { return -max(); }
  static constexpr float epsilon() { return 1.1920928955078125e-7f; }
  static constexpr float infinity() { return __builtin_inff(); }
  static constexpr float quiet_NaN() { return __builtin_nanf(""); }
};
template <>
struct numeric_limits<double> {
  static constexpr bool is_specialized = true, is_integer = false, is_signed = true, has_infinity = true;
  static constexpr int digits = 53;
  static constexpr double max() { return 1.797693134862315708145e+308; }
  static constexpr double min() { return 2.225073858507201383090e-308; }
  static constexpr double lowest() { return -max(); }
  static constexpr double epsilon() { return 2.220446049250313080847e-16; }
  static constexpr double infinity() { return __builtin_inf(); }
  static constexpr double quiet_NaN() { return __builtin_nan(""); }
};

}  // namespace std
