#pragma once
// From the runtime's arguments to a kernel's: what generated code of every dialect uses.
#include "abi.h"

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
  kw_emu_u32 index;
  const char* name;
  kw_emu_u32 line;
};

/// Element type of a threadgroup variable, for the checker.
template <class T>
struct ElementOf {
  typedef T type;
};
template <class T, __SIZE_TYPE__ n>
struct ElementOf<T[n]> : ElementOf<T> {};
template <class T>
inline constexpr kw_emu_u32 granule_of = kw_emu_granule<typename ElementOf<T>::type>();

/// The value of a built-in attribute, from the dialect's launch.h.
template <class P, int source>
P builtin();

template <class P>
inline constexpr bool in_memory = __is_pointer(P) || __is_reference(P);

template <class P, int source, kw_emu_u32 index>
KW_EMU_UNSEEN inline P argument(const KwEmuArgs* args) {
  if constexpr (in_memory<P>) {
    void* place = source == threadgroup ? args->threadgroup[index] : args->buffer[index];
    if constexpr (__is_pointer(P))
      return (P)place;
    else
      return (P) * static_cast<__remove_reference_t(P)*>(place);
  } else if constexpr (source == buffer) {  // a value that the launch brings along
    return *static_cast<const __remove_cv(P)*>(args->buffer[index]);
  } else {
    return builtin<P, source>();
  }
}

template <int n>
struct Rows {
  KwEmuParam row[n + 2];
  kw_emu_u32 count;
};
template <class P, int n>
constexpr void add_row(Rows<n>& rows, const Where& where) {
  if constexpr (in_memory<P>)
    rows.row[rows.count++] = kw_emu_param<P>(static_cast<kw_emu_u8>(where.source == threadgroup),
                                             static_cast<kw_emu_u8>(where.index), where.name, where.line);
  else if (where.source == buffer)
    rows.row[rows.count++] = kw_emu_param<const __remove_cv(P)&>(
        KW_EMU_PARAM_BUFFER, static_cast<kw_emu_u8>(where.index), where.name, where.line);
}

template <__SIZE_TYPE__...>
struct Indices {};
template <__SIZE_TYPE__ n, __SIZE_TYPE__... i>
struct MakeIndices : MakeIndices<n - 1, n - 1, i...> {};
template <__SIZE_TYPE__... i>
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
    // Memory of the group that the kernel does not take as a parameter; how it is used is not known here.
    if (const Where& more = where[sizeof...(P)]; more.line)
      rows.row[rows.count++] =
          KwEmuParam{KW_EMU_PARAM_THREADGROUP, static_cast<kw_emu_u8>(more.index), 1, 1, 1, more.line, more.name};
    return rows;
  }
  static constexpr Rows<sizeof...(P)> rows = make_rows();

  template <__SIZE_TYPE__... i>
  KW_EMU_UNSEEN static void run_all(const KwEmuArgs* args, Indices<i...>) {
    do {
      F(argument<P, where[i].source, where[i].index>(args)...);
    } while (kw_emu_next_thread());
  }
  KW_EMU_UNSEEN static void run(const KwEmuArgs* args) { run_all(args, typename MakeIndices<sizeof...(P)>::type()); }
};

}  // namespace kw_emu
