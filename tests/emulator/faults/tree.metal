// emulate: --kernel tree --groups 3 --group 128 --arg rand:f32[384] --arg out:f32[3]
#include <metal_stdlib>
using namespace metal;

kernel void tree(const device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                 uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]],
                 uint group [[threadgroup_position_in_grid]]) {
  threadgroup float part[128];
  part[t] = x[i];  // @1
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !1 race|uninitialised: ;
  for (uint half_size = 64; half_size > 0; half_size /= 2) {
    if (t < half_size) part[t] += part[t + half_size];  // @1 @2 @5
    // !3 out-of-bounds: if (t < half_size) part[t] += part[t + half_size + 64];
    threadgroup_barrier(mem_flags::mem_threadgroup);  // !2 race: ;
    // !4 barrier-divergence: if (t < half_size) threadgroup_barrier(mem_flags::mem_threadgroup);
    // !5 race: threadgroup_barrier(mem_flags::mem_none);
  }
  if (t == 0) out[group] = part[0];
  // !6 unwritten: if (t == 0 && group != 1) out[group] = part[0];
}
