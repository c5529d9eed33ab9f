#pragma once
// From the runtime's arguments to a kernel's: what generated code uses.
#include "vector.h"

namespace kw_emu {

/// As ArgumentSource of the front end.
enum Source {
  buffer,
  threadgroup,
  position_in_grid,
  position_in_threadgroup,
  group_position_in_grid,
  threads_per_threadgroup,
  dispatch_threads_per_threadgroup,
  threadgroups_per_grid,
  threads_per_grid,
  index_in_threadgroup,
  index_in_simdgroup,
  simdgroup_in_threadgroup,
  simdgroups_per_threadgroup,
  dispatch_simdgroups_per_threadgroup,
  threads_per_simdgroup,
  index_in_quadgroup,
  quadgroup_in_threadgroup,
  quadgroups_per_threadgroup,
};
struct Where {
  int source;
  uint32_t index;
  const char* name;
  uint32_t line;
};

/// Element type of a threadgroup variable, for the checker.
template <class T>
struct ElementOf {
  typedef T type;
};
template <class T, size_t n>
struct ElementOf<T[n]> : ElementOf<T> {};
template <class T>
inline constexpr uint32_t granule_of = kw_emu_granule<typename ElementOf<T>::type>();

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

template <class P>
inline constexpr bool in_memory = __is_pointer(P) || __is_reference(P);

template <class P, int source, uint32_t index>
KW_EMU_UNSEEN inline P argument(const KwEmuArgs* args) {
  if constexpr (in_memory<P>) {
    void* place = source == threadgroup ? args->threadgroup[index] : args->buffer[index];
    if constexpr (__is_pointer(P))
      return (P)place;
    else
      return (P) * static_cast<__remove_reference_t(P)*>(place);
  } else {
    return builtin<P, source>();
  }
}

template <int n>
struct Rows {
  KwEmuParam row[n + 1];
  uint32_t count;
};
template <class P, int n>
constexpr void add_row(Rows<n>& rows, const Where& where) {
  if constexpr (in_memory<P>)
    rows.row[rows.count++] = kw_emu_param<P>(static_cast<uint8_t>(where.source == threadgroup),
                                             static_cast<uint8_t>(where.index), where.name, where.line);
}

template <size_t...>
struct Indices {};
template <size_t n, size_t... i>
struct MakeIndices : MakeIndices<n - 1, n - 1, i...> {};
template <size_t... i>
struct MakeIndices<0, i...> {
  typedef Indices<i...> type;
};

/// The entry and the memory arguments of kernel F, whose i-th parameter comes from where[i].
template <auto F, const Where* where>
struct Launch;
template <class... P, void (*F)(P...), const Where* where>
struct Launch<F, where> {
  static constexpr Rows<sizeof...(P)> make_rows() {
    Rows<sizeof...(P)> rows{};
    [[maybe_unused]] int i = 0;
    (add_row<P>(rows, where[i++]), ...);
    return rows;
  }
  static constexpr Rows<sizeof...(P)> rows = make_rows();

  template <size_t... i>
  KW_EMU_UNSEEN static void run_all(const KwEmuArgs* args, Indices<i...>) {
    do {
      F(argument<P, where[i].source, where[i].index>(args)...);
    } while (kw_emu_next_thread());
  }
  KW_EMU_UNSEEN static void run(const KwEmuArgs* args) { run_all(args, typename MakeIndices<sizeof...(P)>::type()); }
};

}  // namespace kw_emu
