#pragma once
// Types of CUDA's device code on the host.
#include "../abi.h"

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef decltype(nullptr) nullptr_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef long intptr_t;
typedef unsigned long uintptr_t;
typedef long intmax_t;
typedef unsigned long uintmax_t;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

namespace std {
using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::int8_t;
using ::intptr_t;
using ::nullptr_t;
using ::ptrdiff_t;
using ::size_t;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using ::uint8_t;
using ::uintptr_t;
}  // namespace std

constexpr int warpSize = 32;

namespace kw_cuda {
[[noreturn]] inline void assertion_failed() { __builtin_trap(); }
}  // namespace kw_cuda
[[noreturn]] inline void __trap() { __builtin_trap(); }
[[noreturn]] inline void __assert_fail(const char*, const char*, unsigned, const char*) { __builtin_trap(); }

/// Nobody reads what kernels print.
template <class... T>
inline int printf(const char*, T...) {
  return 0;
}
