#pragma once
// metal_type_traits and metal_limits.
#include "types.h"

namespace metal {

template <class T, T v>
struct integral_constant {
  static constexpr T value = v;
  typedef T value_type;
  typedef integral_constant type;
  constexpr operator value_type() const { return v; }
  constexpr value_type operator()() const { return v; }
};
template <bool b>
using bool_constant = integral_constant<bool, b>;
typedef bool_constant<true> true_type;
typedef bool_constant<false> false_type;

#define KW_TRAIT(name, ...)                                       \
  template <class T>                                              \
  struct name : bool_constant<static_cast<bool>(__VA_ARGS__)> {}; \
  template <class T>                                              \
  inline constexpr bool name##_v = static_cast<bool>(__VA_ARGS__);
KW_TRAIT(is_void, __is_void(T))
KW_TRAIT(is_integral, kw_emu::integral<T>)
KW_TRAIT(is_floating_point, kw_emu::floating<T>)
KW_TRAIT(is_arithmetic, kw_emu::scalar<T>)
KW_TRAIT(is_fundamental, kw_emu::scalar<T> || __is_void(T))
KW_TRAIT(is_scalar, __is_scalar(T) || kw_emu::scalar<T>)
KW_TRAIT(is_signed, (kw_emu::floating<T> || __is_signed(T)))
KW_TRAIT(is_unsigned, __is_unsigned(T))
KW_TRAIT(is_enum, __is_enum(T))
KW_TRAIT(is_class, __is_class(T) && !kw_emu::scalar<T>)
KW_TRAIT(is_union, __is_union(T))
KW_TRAIT(is_pointer, __is_pointer(T))
KW_TRAIT(is_array, __is_array(T))
KW_TRAIT(is_function, __is_function(T))
KW_TRAIT(is_reference, __is_reference(T))
KW_TRAIT(is_lvalue_reference, __is_lvalue_reference(T))
KW_TRAIT(is_rvalue_reference, __is_rvalue_reference(T))
KW_TRAIT(is_const, __is_const(T))
KW_TRAIT(is_volatile, __is_volatile(T))
KW_TRAIT(is_polymorphic, __is_polymorphic(T))
KW_TRAIT(is_abstract, __is_abstract(T))
KW_TRAIT(is_final, __is_final(T))
KW_TRAIT(is_pod, __is_pod(T))
KW_TRAIT(is_trivial, __is_trivial(T))
KW_TRAIT(is_trivially_copyable, __is_trivially_copyable(T))
KW_TRAIT(is_standard_layout, __is_standard_layout(T))
KW_TRAIT(is_object, __is_object(T))
KW_TRAIT(is_compound, __is_compound(T) && !kw_emu::scalar<T>)
#undef KW_TRAIT

#define KW_RELATION(name, ...)                 \
  template <class A, class B>                  \
  struct name : bool_constant<__VA_ARGS__> {}; \
  template <class A, class B>                  \
  inline constexpr bool name##_v = __VA_ARGS__;
KW_RELATION(is_same, __is_same(A, B))
KW_RELATION(is_base_of, __is_base_of(A, B))
KW_RELATION(is_convertible, __is_convertible_to(A, B))
KW_RELATION(is_assignable, __is_assignable(A, B))
#undef KW_RELATION
template <class T, class... A>
struct is_constructible : bool_constant<__is_constructible(T, A...)> {};
template <class T, class... A>
inline constexpr bool is_constructible_v = __is_constructible(T, A...);

#define KW_TRANSFORM(name, ...) \
  template <class T>            \
  struct name {                 \
    typedef __VA_ARGS__ type;   \
  };                            \
  template <class T>            \
  using name##_t = __VA_ARGS__;
KW_TRANSFORM(remove_cv, __remove_cv(T))
KW_TRANSFORM(remove_const, __remove_const(T))
KW_TRANSFORM(remove_volatile, __remove_volatile(T))
KW_TRANSFORM(remove_reference, __remove_reference_t(T))
KW_TRANSFORM(remove_pointer, __remove_pointer(T))
KW_TRANSFORM(remove_extent, __remove_extent(T))
KW_TRANSFORM(remove_all_extents, __remove_all_extents(T))
KW_TRANSFORM(add_const, const T)
KW_TRANSFORM(add_volatile, volatile T)
KW_TRANSFORM(add_cv, const volatile T)
KW_TRANSFORM(add_pointer, __add_pointer(T))
KW_TRANSFORM(add_lvalue_reference, __add_lvalue_reference(T))
KW_TRANSFORM(add_rvalue_reference, __add_rvalue_reference(T))
KW_TRANSFORM(decay, __decay(T))
KW_TRANSFORM(make_signed, __make_signed(T))
KW_TRANSFORM(make_unsigned, __make_unsigned(T))
KW_TRANSFORM(underlying_type, __underlying_type(T))
KW_TRANSFORM(remove_addrspace, T)
KW_TRANSFORM(type_identity, T)
#undef KW_TRANSFORM

using kw_emu::conditional;
using kw_emu::conditional_t;
using kw_emu::enable_if;
template <bool c, class T = void>
using enable_if_t = typename enable_if<c, T>::type;
template <class T>
__add_rvalue_reference(T) declval() noexcept;

template <class... B>
struct conjunction : bool_constant<(bool(B::value) && ...)> {};
template <class... B>
inline constexpr bool conjunction_v = (bool(B::value) && ...);
template <class... B>
struct disjunction : bool_constant<(bool(B::value) || ...)> {};
template <class... B>
inline constexpr bool disjunction_v = (bool(B::value) || ...);
template <class... B>
using _disjunction = disjunction<B...>;
template <class B>
struct negation : bool_constant<!bool(B::value)> {};
template <class B>
inline constexpr bool negation_v = !bool(B::value);
template <class T>
struct rank : integral_constant<size_t, __array_rank(T)> {};
template <class T, unsigned n = 0>
struct extent : integral_constant<size_t, 0> {};
template <class T, size_t n>
struct extent<T[n], 0> : integral_constant<size_t, n> {};
template <class T>
struct alignment_of : integral_constant<size_t, alignof(T)> {};

template <class... T>
struct common_type {};
template <class A, class... B>
using common_type_t = typename common_type<A, B...>::type;
template <class A>
struct common_type<A> {
  typedef __decay(A) type;
};
template <class A, class B>
struct common_type<A, B> {
  typedef __decay(decltype(false ? declval<A>() : declval<B>())) type;
};
template <class A, class B, class C, class... D>
struct common_type<A, B, C, D...> : common_type<common_type_t<A, B>, C, D...> {};
template <class F, class... A>
struct result_of {};
template <class F, class... A>
struct result_of<F(A...)> {
  typedef decltype(declval<F>()(declval<A>()...)) type;
};
template <class F, class... A>
using invoke_result_t = decltype(declval<F>()(declval<A>()...));

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
  T kept = a;
  a = b;
  b = kept;
}

template <class T>
struct numeric_limits {
  static constexpr bool is_specialized = false;
};
template <class T>
  requires kw_emu::integral<T>
struct numeric_limits<T> {
  static constexpr bool is_specialized = true, is_integer = true, is_exact = true, has_infinity = false,
                        has_quiet_NaN = false, is_iec559 = false, is_bounded = true;
  static constexpr bool is_signed = T(-1) < T(0);
  static constexpr int digits = __is_same(T, bool) ? 1 : int(sizeof(T) * 8 - is_signed), radix = 2;
  static constexpr int digits10 = int(digits * 0.30103);
  static constexpr T max() {
    if constexpr (__is_same(T, bool))
      return true;
    else if constexpr (is_signed)
      return T(~(uint64_t(1) << 63) >> (64 - sizeof(T) * 8));
    else
      return T(~uint64_t(0));
  }
  static constexpr T min() {
    if constexpr (is_signed)
      return T(-max() - 1);
    else
      return T(0);
  }
  static constexpr T lowest() { return min(); }
  static constexpr T epsilon() { return T(0); }
  static constexpr T infinity() { return T(0); }
  static constexpr T quiet_NaN() { return T(0); }
};
template <class T, class Bits, int mantissa_digits, int largest_exponent>
struct kw_float_limits {
  static constexpr bool is_specialized = true, is_integer = false, is_exact = false, has_infinity = true,
                        has_quiet_NaN = true, has_signaling_NaN = true, is_iec559 = true, is_bounded = true,
                        is_signed = true;
  static constexpr int digits = mantissa_digits, radix = 2, max_exponent = largest_exponent,
                       min_exponent = 3 - largest_exponent, digits10 = int((mantissa_digits - 1) * 0.30103);
  static constexpr int fraction = mantissa_digits - 1;
  static constexpr Bits exponents = Bits(2 * largest_exponent - 1);
  static constexpr T make(Bits bits) { return __builtin_bit_cast(T, bits); }
  static constexpr T max() { return make(Bits((exponents << fraction) - 1)); }
  static constexpr T lowest() { return -max(); }
  static constexpr T min() { return make(Bits(Bits(1) << fraction)); }
  static constexpr T denorm_min() { return make(Bits(1)); }
  static constexpr T infinity() { return make(Bits(exponents << fraction)); }
  static constexpr T quiet_NaN() { return make(Bits((exponents << fraction) | (Bits(1) << (fraction - 1)))); }
  static constexpr T signaling_NaN() { return make(Bits((exponents << fraction) | 1)); }
  static constexpr T epsilon() { return make(Bits(Bits(largest_exponent - 1 - fraction) << fraction)); }
  static constexpr T round_error() { return T(0.5f); }
};
template <>
struct numeric_limits<float> : kw_float_limits<float, uint32_t, 24, 128> {};
template <>
struct numeric_limits<half> : kw_float_limits<half, uint16_t, 11, 16> {};
template <>
struct numeric_limits<bfloat> : kw_float_limits<bfloat, uint16_t, 8, 128> {};
template <class T>
struct numeric_limits<const T> : numeric_limits<T> {};

using ::bfloat;
using ::half;
using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::int8_t;
using ::ptrdiff_t;
using ::size_t;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using ::uint8_t;

}  // namespace metal

/// The bits of one type as another of the same size.
template <class To, class From>
constexpr To as_type(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs two types of one size");
  if constexpr (__is_trivially_copyable(To) && __is_trivially_copyable(From)) {
    return __builtin_bit_cast(To, from);
  } else {
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
  }
}
namespace metal {
using ::as_type;
}
