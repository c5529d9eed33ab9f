// emulate: --kernel reduce --groups 6 --group 256 --arg rand:f32[1536] --arg out:f32[6]
#include <metal_stdlib>
using namespace metal;

kernel void reduce(const device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                   uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]],
                   uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float parts[8];
  const float part = simd_sum(x[i]);
  if (lane == 0) parts[simdgroup] = part;  // @1
  // !5 uninitialised: if (lane == 0 && simdgroup != 3) parts[simdgroup] = part;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !1 race|uninitialised: ;
  // !2 barrier-divergence: if (lane < 16) threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    const float all = simd_sum(lane < 8 ? parts[lane] : 0.0f);  // @1 @5
    // !3 out-of-bounds: const float all = simd_sum(lane < 9 ? parts[lane] : 0.0f);
    if (lane == 0) out[group] = all;
    // !4 out-of-bounds: if (lane == 0) out[group + 1] = all;
    // !6 race: out[group] = all + lane;
  }
  (void)t;
}
