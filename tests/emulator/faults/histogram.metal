// emulate: --kernel histogram --groups 4 --group 64 --arg rand:u32[256] --arg zeros:u32[10]
#include <metal_stdlib>
using namespace metal;

kernel void histogram(const device uint* x [[buffer(0)]], device atomic_uint* bins [[buffer(1)]],
                      uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]]) {
  threadgroup atomic_uint local[10];
  if (t < 10) atomic_store_explicit(&local[t], 0u, memory_order_relaxed);  // !3 uninitialised: ;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !4 uninitialised: ;
  atomic_fetch_add_explicit(&local[x[i]], 1u, memory_order_relaxed);  // @1 @3 @4
  // !2 out-of-bounds: atomic_fetch_add_explicit(&local[x[i] + 1], 1u, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (t < 10) {
    const uint count = atomic_load_explicit(&local[t], memory_order_relaxed);
    atomic_fetch_add_explicit(&bins[t], count, memory_order_relaxed);
    // !1 race: ((device uint*)bins)[t] += count;
  }
}
