#pragma once
// metal_atomic: relaxed atomics on device and threadgroup memory. Stronger orders hold here for all of them.
#include "simdgroup.h"

namespace metal {

enum memory_order {
  memory_order_relaxed = 0,
  memory_order_acquire = 2,
  memory_order_release = 3,
  memory_order_acq_rel = 4,
  memory_order_seq_cst = 5
};
enum thread_scope {
  thread_scope_thread = 0,
  thread_scope_simdgroup = 1,
  thread_scope_threadgroup = 2,
  thread_scope_device = 3
};

template <class T>
struct _atomic {
  T value_;
};
template <class T>
using atomic = _atomic<T>;
typedef _atomic<int> atomic_int;
typedef _atomic<uint> atomic_uint;
typedef _atomic<bool> atomic_bool;
typedef _atomic<ulong> atomic_ulong;
typedef _atomic<float> atomic_float;

inline void atomic_thread_fence(mem_flags flags, memory_order, thread_scope scope = thread_scope_device, KW_HERE) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  kw_emu_fence(static_cast<uint32_t>(flags), scope < 3 ? scope : 3, site);
}

template <class T>
KW_EMU_ATOMIC_FUNCTION T atomic_load_explicit(const volatile _atomic<T>* object, memory_order, KW_HERE) {
  KW_EMU_NOTE_ATOMIC(object, sizeof(T), KW_EMU_ATOMIC_LOAD, site);
  T value;
  __atomic_load(const_cast<T*>(&object->value_), &value, __ATOMIC_SEQ_CST);
  return value;
}
template <class T>
KW_EMU_ATOMIC_FUNCTION void atomic_store_explicit(volatile _atomic<T>* object, typename type_identity<T>::type value,
                                                  memory_order, KW_HERE) {
  KW_EMU_NOTE_ATOMIC(object, sizeof(T), KW_EMU_ATOMIC_STORE, site);
  __atomic_store(const_cast<T*>(&object->value_), &value, __ATOMIC_SEQ_CST);
}
template <class T>
KW_EMU_ATOMIC_FUNCTION T atomic_exchange_explicit(volatile _atomic<T>* object, typename type_identity<T>::type value,
                                                  memory_order, KW_HERE) {
  KW_EMU_NOTE_ATOMIC(object, sizeof(T), KW_EMU_ATOMIC_UPDATE, site);
  T old;
  __atomic_exchange(const_cast<T*>(&object->value_), &value, &old, __ATOMIC_SEQ_CST);
  return old;
}
template <class T>
KW_EMU_ATOMIC_FUNCTION bool atomic_compare_exchange_weak_explicit(volatile _atomic<T>* object, T* expected,
                                                                  typename type_identity<T>::type wanted, memory_order,
                                                                  memory_order, KW_HERE) {
  KW_EMU_NOTE_ATOMIC(object, sizeof(T), KW_EMU_ATOMIC_UPDATE, site);
  return __atomic_compare_exchange(const_cast<T*>(&object->value_), expected, &wanted, false, __ATOMIC_SEQ_CST,
                                   __ATOMIC_SEQ_CST);
}

// Whatever the type: read, compute, try to exchange.
#define KW_ATOMIC_UPDATE(name, expression)                                                                          \
  template <class T>                                                                                                \
  KW_EMU_ATOMIC_FUNCTION T name(volatile _atomic<T>* object, typename type_identity<T>::type operand, memory_order, \
                                KW_HERE) {                                                                          \
    KW_EMU_NOTE_ATOMIC(object, sizeof(T), KW_EMU_ATOMIC_UPDATE, site);                                              \
    T old, next;                                                                                                    \
    __atomic_load(const_cast<T*>(&object->value_), &old, __ATOMIC_RELAXED);                                         \
    do {                                                                                                            \
      next = static_cast<T>(expression);                                                                            \
    } while (!__atomic_compare_exchange(const_cast<T*>(&object->value_), &old, &next, false, __ATOMIC_SEQ_CST,      \
                                        __ATOMIC_SEQ_CST));                                                         \
    return old;                                                                                                     \
  }
KW_ATOMIC_UPDATE(atomic_fetch_add_explicit, old + operand)
KW_ATOMIC_UPDATE(atomic_fetch_sub_explicit, old - operand)
KW_ATOMIC_UPDATE(atomic_fetch_and_explicit, old& operand)
KW_ATOMIC_UPDATE(atomic_fetch_or_explicit, old | operand)
KW_ATOMIC_UPDATE(atomic_fetch_xor_explicit, old ^ operand)
KW_ATOMIC_UPDATE(atomic_fetch_max_explicit, old < operand ? operand : old)
KW_ATOMIC_UPDATE(atomic_fetch_min_explicit, operand < old ? operand : old)
#undef KW_ATOMIC_UPDATE
/// Metal's 64-bit atomics return nothing.
inline void atomic_max_explicit(volatile _atomic<ulong>* object, ulong operand, memory_order order, KW_HERE) {
  atomic_fetch_max_explicit(object, operand, order, site);
}
inline void atomic_min_explicit(volatile _atomic<ulong>* object, ulong operand, memory_order order, KW_HERE) {
  atomic_fetch_min_explicit(object, operand, order, site);
}

}  // namespace metal
