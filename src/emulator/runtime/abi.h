#pragma once
// What generated code (a Metal kernel rewritten to C++ and compiled to a shared object) and the emulator's runtime
// say to each other. Freestanding: included by generated code with -nostdinc, and by the runtime.
//
// Names beginning kw_emu_ are defined by the runtime in the worker process; the shared object leaves them undefined
// and defines one symbol: `extern "C" const KwEmuModule* kw_emu_module(void)`.
//
// Threads are fibers. One operating-system thread runs one threadgroup at a time and never hands a fiber to another,
// so a thread-local's address may be cached, its value may not (it changes over every call that can switch).

#define KW_EMU_ABI_VERSION 1u
#if defined(__clang__)
#define KW_EMU_CONVERGENT __attribute__((convergent))
#else
#define KW_EMU_CONVERGENT
#endif
/// On functions whose memory accesses the checker must not see (combiners, atomics). Never on always_inline ones.
#define KW_EMU_UNSEEN __attribute__((no_sanitize("kernel-address")))

extern "C" {

typedef __UINT8_TYPE__ kw_emu_u8;
typedef __UINT16_TYPE__ kw_emu_u16;
typedef __UINT32_TYPE__ kw_emu_u32;
typedef __UINT64_TYPE__ kw_emu_u64;

/// A place in the user's source. `file` lives as long as the module.
struct KwEmuSite {
  const char* file;
  kw_emu_u32 line, column;
#ifdef __cplusplus
  /// As a default argument, the place of the call.
  static constexpr KwEmuSite here(const char* f = __builtin_FILE(), kw_emu_u32 l = __builtin_LINE(),
#if defined(__clang__)
                                  kw_emu_u32 c = __builtin_COLUMN()){
#else
                                  kw_emu_u32 c = 0) {
#endif
      return KwEmuSite{f, l, c};
}
#endif
};

/// What one thread knows of itself. Constant during a launch.
struct KwEmuThread {
  kw_emu_u32 position[3];  // thread_position_in_threadgroup
  kw_emu_u32 index;        // thread_index_in_threadgroup
  kw_emu_u32 lane;         // thread_index_in_simdgroup
  kw_emu_u32 simdgroup;    // simdgroup_index_in_threadgroup
};

/// What all threads of a threadgroup share.
struct KwEmuGroup {
  kw_emu_u32 position[3];       // threadgroup_position_in_grid
  kw_emu_u32 origin[3];         // grid position of thread (0, 0, 0): thread_position_in_grid = origin + position
  kw_emu_u32 size[3];           // threads_per_threadgroup (smaller in a ragged last group)
  kw_emu_u32 dispatch_size[3];  // dispatch_threads_per_threadgroup
  kw_emu_u32 groups[3];         // threadgroups_per_grid
  kw_emu_u32 grid[3];           // threads_per_grid
  kw_emu_u32 simdgroups;        // simdgroups_per_threadgroup
  kw_emu_u32 dispatch_simdgroups;
};

/// The running thread. Read it anew after every call that can switch fibers.
struct KwEmuCurrent {
  const struct KwEmuThread* thread;
  const struct KwEmuGroup* group;
  char* group_memory;  // the threadgroup's arena
};
extern __thread struct KwEmuCurrent kw_emu_current __attribute__((tls_model("initial-exec")));

/// Arguments by index. An absent one (function_constant is false) points to a readable and writable dummy of 64 KiB.
struct KwEmuArgs {
  void* buffer[32];
  void* threadgroup[32];
};

/// ---- Synchronisation. All of these are convergent; a caller must be inlined into user code or be convergent too.

/// `flags`: 1 device, 2 threadgroup, 4 texture memory, as mem_flags; 8: threads that have ended need not come (CUDA).
KW_EMU_CONVERGENT void kw_emu_threadgroup_barrier(kw_emu_u32 flags, struct KwEmuSite site);
KW_EMU_CONVERGENT void kw_emu_simdgroup_barrier(kw_emu_u32 flags, struct KwEmuSite site);
/// atomic_thread_fence. `scope`: 0 thread, 1 simdgroup, 2 threadgroup, 3 device.
void kw_emu_fence(kw_emu_u32 flags, kw_emu_u32 scope, struct KwEmuSite site);

/// Runs once for all lanes that meet at one call: bit i of `active` says that slots + i * stride holds lane i's value,
/// to be replaced by lane i's result. Runs on one of the lanes' stacks: it must not call kw_emu_ functions that switch.
typedef void (*KwEmuCombine)(kw_emu_u32 active, char* slots, kw_emu_u32 stride);
/// Deposits `bytes` (at most 64) of *value, waits for the lanes of this simdgroup that come here, combines, and leaves
/// the result in *value. `kind` counts it: see KW_EMU_OP_*.
KW_EMU_CONVERGENT void kw_emu_simd(void* value, kw_emu_u32 bytes, KwEmuCombine combine, kw_emu_u32 kind,
                                   struct KwEmuSite site);
/// The same for CUDA: those lanes of `mask` that have not ended wait for each other, here and with this mask. Lanes
/// that wait elsewhere in vain are reported. Without `combine` it is __syncwarp.
KW_EMU_CONVERGENT void kw_emu_warp(void* value, kw_emu_u32 bytes, KwEmuCombine combine, kw_emu_u32 kind,
                                   kw_emu_u32 mask, struct KwEmuSite site);
enum { KW_EMU_OP_REDUCE = 0, KW_EMU_OP_SHUFFLE = 1, KW_EMU_OP_MATRIX = 2, KW_EMU_OP_VOTE = 3 };
/// Lanes of this simdgroup that have not ended (simd_active_threads_mask takes those that meet: use kw_emu_simd).
kw_emu_u32 kw_emu_live_lanes(void);

/// What inactive lanes, fresh threadgroup memory and unwritten variables hold: NaN as half, bfloat and float.
#define KW_EMU_POISON16 0x7ffeu

/// ---- Threadgroup variables: `static KwEmuGroupSlot slot = {...}` in the function that declares one.
struct KwEmuGroupSlot {
  kw_emu_u32 bytes, align;
  kw_emu_u32 granule;  // smallest unit that threads write apart: see kw_emu_granule
  kw_emu_u32 line;
  const char* name;
  const char* file;
  kw_emu_u32 offset_plus_one;  // 0 until used in this launch; the runtime's
};
void* kw_emu_group_variable_slow(struct KwEmuGroupSlot* slot);
static inline void* kw_emu_group_variable(struct KwEmuGroupSlot* slot) {
  kw_emu_u32 at = __atomic_load_n(&slot->offset_plus_one, __ATOMIC_RELAXED);
  return at ? (void*)(kw_emu_current.group_memory + (at - 1)) : kw_emu_group_variable_slow(slot);
}

/// ---- Checked builds (-DKW_EMU_CHECKED): every load and store calls __asan_loadN_noabort / __asan_storeN_noabort,
/// __asan_memcpy / memmove / memset. Atomics are KW_EMU_UNSEEN and noinline there, and say what they do:
enum { KW_EMU_ATOMIC_LOAD = 0, KW_EMU_ATOMIC_STORE = 1, KW_EMU_ATOMIC_UPDATE = 2 };
void kw_emu_atomic(const volatile void* address, kw_emu_u32 bytes, kw_emu_u32 kind, struct KwEmuSite site);
#ifdef KW_EMU_CHECKED
#define KW_EMU_ATOMIC_FUNCTION __attribute__((noinline)) KW_EMU_UNSEEN
#define KW_EMU_NOTE_ATOMIC(address, bytes, kind, site) kw_emu_atomic(address, bytes, kind, site)
#else
#define KW_EMU_ATOMIC_FUNCTION inline
#define KW_EMU_NOTE_ATOMIC(address, bytes, kind, site) ((void)0)
#endif

/// ---- Counts (--profile builds): arithmetic of a basic block, inserted into the compiler's intermediate text.
void kw_emu_block(kw_emu_u32 block, kw_emu_u32 flops, kw_emu_u32 instructions);

/// ---- The module.

/// Ends one thread and starts the simdgroup's next fresh one on the same stack; 0 when there is none.
int kw_emu_next_thread(void);
/// Runs threads: `do { kernel(unpacked arguments); } while (kw_emu_next_thread());`. Position-dependent arguments are
/// read from kw_emu_current inside the loop.
typedef void (*KwEmuEntry)(const struct KwEmuArgs* args);

enum { KW_EMU_PARAM_BUFFER = 0, KW_EMU_PARAM_THREADGROUP = 1 };
/// A pointer or reference parameter, as its C++ type says (see kw_emu_param).
struct KwEmuParam {
  kw_emu_u8 kind;
  kw_emu_u8 index;
  kw_emu_u8 granule;
  kw_emu_u8 writable;
  kw_emu_u32 element_bytes;
  kw_emu_u32 line;
  const char* name;
};

struct KwEmuKernel {
  const char* name;  // host name
  KwEmuEntry entry;
  const struct KwEmuParam* params;
  kw_emu_u32 param_count;
  kw_emu_u32 line;
  const char* file;
};

struct KwEmuConstant {
  const char* name;
  void* storage;
  kw_emu_u8* defined;  // set to 1 when a value is given
  kw_emu_u32 index;
  kw_emu_u32 bytes;
};

struct KwEmuModule {
  kw_emu_u32 abi_version;
  kw_emu_u32 kernel_count;
  const struct KwEmuKernel* kernels;
  kw_emu_u32 constant_count;
  const struct KwEmuConstant* constants;
  void (*refresh_constants)(void);  // may be null; called after constants are set, before a launch
};

}  // extern "C"

#ifdef __cplusplus
/// The smallest unit of a T that two threads may write apart: sizeof of a scalar, alignof of a class, 4 at most.
template <class T>
constexpr kw_emu_u8 kw_emu_granule() {
  const auto unit = alignof(T) < sizeof(T) ? alignof(T) : sizeof(T);
  return unit >= 4 ? 4 : unit;
}

template <class T>
struct KwEmuPointee {};
template <class T>
struct KwEmuPointee<T*> {
  typedef T type;
  static constexpr bool writable = true;
};
template <class T>
struct KwEmuPointee<const T*> {
  typedef T type;
  static constexpr bool writable = false;
};
template <class T>
struct KwEmuPointee<T&> : KwEmuPointee<T*> {};
template <class T>
struct KwEmuPointee<T* const> : KwEmuPointee<T*> {};
template <class T>
struct KwEmuPointee<volatile T*> : KwEmuPointee<T*> {};
template <class T>
struct KwEmuPointee<const volatile T*> : KwEmuPointee<const T*> {};
template <>
struct KwEmuPointee<void*> {
  typedef kw_emu_u8 type;
  static constexpr bool writable = true;
};
template <>
struct KwEmuPointee<const void*> {
  typedef kw_emu_u8 type;
  static constexpr bool writable = false;
};

/// The row of a pointer or reference parameter of C++ type P.
template <class P>
constexpr KwEmuParam kw_emu_param(kw_emu_u8 kind, kw_emu_u8 index, const char* name, kw_emu_u32 line) {
  typedef typename KwEmuPointee<P>::type Element;
  return KwEmuParam{kind, index, kw_emu_granule<Element>(), KwEmuPointee<P>::writable, sizeof(Element), line, name};
}
#endif
