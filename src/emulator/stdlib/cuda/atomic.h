#pragma once
// Atomics on global and shared memory. Stronger orders hold here than on the device.
#include "warp.h"

namespace kw_cuda {
template <class T, class... U>
concept OneOf = (std::is_same_v<T, U> || ...);
typedef unsigned long long Wide;

/// The bits of a T, for compare and exchange.
template <class T>
using Word = std::conditional_t<sizeof(T) == 2, unsigned short, std::conditional_t<sizeof(T) == 4, unsigned, Wide>>;
}  // namespace kw_cuda

// Whatever the type: read, compute, try to exchange.
#define KW_ATOMIC(name, expression, ...)                                                                   \
  template <class T>                                                                                       \
    requires kw_cuda::OneOf<T, __VA_ARGS__>                                                                \
  KW_EMU_ATOMIC_FUNCTION T name(T* object, std::type_identity_t<T> operand, KW_HERE) {                     \
    KW_EMU_NOTE_ATOMIC(object, sizeof(T), KW_EMU_ATOMIC_UPDATE, site);                                     \
    typedef kw_cuda::Word<T> Word;                                                                         \
    Word* const place = reinterpret_cast<Word*>(object);                                                   \
    Word bits = __atomic_load_n(place, __ATOMIC_RELAXED), next;                                            \
    T old;                                                                                                 \
    do {                                                                                                   \
      old = __builtin_bit_cast(T, bits);                                                                   \
      next = __builtin_bit_cast(Word, static_cast<T>(expression));                                         \
    } while (!__atomic_compare_exchange_n(place, &bits, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)); \
    return old;                                                                                            \
  }                                                                                                        \
  template <class T>                                                                                       \
  KW_EMU_ATOMIC_ALIAS T name##_block(T* object, std::type_identity_t<T> operand, KW_HERE) {                \
    return name(object, operand, site);                                                                    \
  }                                                                                                        \
  template <class T>                                                                                       \
  KW_EMU_ATOMIC_ALIAS T name##_system(T* object, std::type_identity_t<T> operand, KW_HERE) {               \
    return name(object, operand, site);                                                                    \
  }
#define KW_EMU_ATOMIC_ALIAS __attribute__((always_inline)) inline
KW_ATOMIC(atomicAdd, old + operand, int, unsigned, kw_cuda::Wide, float, double, __half, __nv_bfloat16)
KW_ATOMIC(atomicSub, old - operand, int, unsigned)
KW_ATOMIC(atomicMin, operand < old ? operand : old, int, unsigned, long long, kw_cuda::Wide)
KW_ATOMIC(atomicMax, old < operand ? operand : old, int, unsigned, long long, kw_cuda::Wide)
KW_ATOMIC(atomicAnd, old& operand, int, unsigned, kw_cuda::Wide)
KW_ATOMIC(atomicOr, old | operand, int, unsigned, kw_cuda::Wide)
KW_ATOMIC(atomicXor, old ^ operand, int, unsigned, kw_cuda::Wide)
KW_ATOMIC(atomicExch, operand, int, unsigned, kw_cuda::Wide, float)
KW_ATOMIC(atomicInc, old >= operand ? 0 : old + 1, unsigned)
KW_ATOMIC(atomicDec, old == 0 || old > operand ? operand : old - 1, unsigned)
#undef KW_ATOMIC
#undef KW_EMU_ATOMIC_ALIAS

template <class T>
  requires kw_cuda::OneOf<T, int, unsigned, kw_cuda::Wide, unsigned short>
KW_EMU_ATOMIC_FUNCTION T atomicCAS(T* object, std::type_identity_t<T> expected, std::type_identity_t<T> wanted,
                                   KW_HERE) {
  KW_EMU_NOTE_ATOMIC(object, sizeof(T), KW_EMU_ATOMIC_UPDATE, site);
  __atomic_compare_exchange_n(object, &expected, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return expected;
}
/// The two halves one after the other, as the device promises no more.
inline __half2 atomicAdd(__half2* object, __half2 operand) {
  const __half x = atomicAdd(&object->x, operand.x), y = atomicAdd(&object->y, operand.y);
  return {x, y};
}
inline __nv_bfloat162 atomicAdd(__nv_bfloat162* object, __nv_bfloat162 operand) {
  const __nv_bfloat16 x = atomicAdd(&object->x, operand.x), y = atomicAdd(&object->y, operand.y);
  return {x, y};
}
