#pragma once
// Built-in values of Metal kernels.
#include "entry.h"
#include "vector.h"

namespace kw_emu {

template <class P>
KW_EMU_UNSEEN inline P from_triple(uint32_t x, uint32_t y, uint32_t z) {
  typedef __remove_cv(P) T;
  if constexpr (count_of<T> == 0)
    return static_cast<T>(x);
  else if constexpr (count_of<T> == 2)
    return T(x, y);
  else
    return T(x, y, z);
}

template <class P, int source>
KW_EMU_UNSEEN inline P builtin() {
  const KwEmuThread& thread = *kw_emu_current.thread;
  const KwEmuGroup& group = *kw_emu_current.group;
  const auto triple = [](const uint32_t(&v)[3]) { return from_triple<P>(v[0], v[1], v[2]); };
  const auto one = [](uint32_t v) { return from_triple<P>(v, 0, 0); };
  const uint32_t(&at)[3] = thread.position;
  if constexpr (source == position_in_grid)
    return from_triple<P>(group.origin[0] + at[0], group.origin[1] + at[1], group.origin[2] + at[2]);
  else if constexpr (source == position_in_threadgroup)
    return triple(at);
  else if constexpr (source == group_position_in_grid)
    return triple(group.position);
  else if constexpr (source == threads_per_threadgroup)
    return triple(group.size);
  else if constexpr (source == dispatch_threads_per_threadgroup)
    return triple(group.dispatch_size);
  else if constexpr (source == threadgroups_per_grid)
    return triple(group.groups);
  else if constexpr (source == threads_per_grid)
    return triple(group.grid);
  else if constexpr (source == index_in_threadgroup)
    return one(thread.index);
  else if constexpr (source == index_in_simdgroup)
    return one(thread.lane);
  else if constexpr (source == simdgroup_in_threadgroup)
    return one(thread.simdgroup);
  else if constexpr (source == simdgroups_per_threadgroup)
    return one(group.simdgroups);
  else if constexpr (source == dispatch_simdgroups_per_threadgroup)
    return one(group.dispatch_simdgroups);
  else if constexpr (source == threads_per_simdgroup)
    return one(32);
  else if constexpr (source == index_in_quadgroup)
    return one(thread.lane % 4);
  else if constexpr (source == quadgroup_in_threadgroup)
    return one(thread.index / 4);
  else
    return one((group.size[0] * group.size[1] * group.size[2] + 3) / 4);
}

}  // namespace kw_emu
