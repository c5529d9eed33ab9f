#pragma once
// metal_array, metal_uniform, metal_logging.
#include "traits.h"

namespace metal {

template <class T, size_t N>
struct array {
  T kw_elements[N];
  typedef T value_type;
  constexpr T& operator[](size_t i) { return kw_elements[i]; }
  constexpr const T& operator[](size_t i) const { return kw_elements[i]; }
  constexpr size_t size() const { return N; }
  constexpr bool empty() const { return N == 0; }
  constexpr T* data() { return kw_elements; }
  constexpr const T* data() const { return kw_elements; }
  constexpr T* begin() { return kw_elements; }
  constexpr T* end() { return kw_elements + N; }
  constexpr const T* begin() const { return kw_elements; }
  constexpr const T* end() const { return kw_elements + N; }
  constexpr T& front() { return kw_elements[0]; }
  constexpr T& back() { return kw_elements[N - 1]; }
};

template <class T>
using uniform = T;
template <class T>
constexpr T make_uniform(T value) {
  return value;
}

/// What a kernel logs goes nowhere: there is no log stream off the device.
struct os_log {
  constexpr os_log(const char*, const char*) {}
  template <class... A>
  constexpr void log(A...) const {}
  template <class... A>
  constexpr void log_debug(A...) const {}
  template <class... A>
  constexpr void log_info(A...) const {}
  template <class... A>
  constexpr void log_error(A...) const {}
  template <class... A>
  constexpr void log_fault(A...) const {}
};
inline constexpr os_log os_log_default("", "");

}  // namespace metal
