// emulate: --kernel scan --groups 2 --group 128 --arg rand:f32[256] --arg out:f32[256]
#include <metal_stdlib>
using namespace metal;

kernel void scan(const device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                 uint i [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                 uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float totals[4];
  const float mine = simd_prefix_inclusive_sum(x[i]);
  if (lane == 31) totals[simdgroup] = mine;  // @1
  // !2 race: totals[simdgroup] = mine;
  // !3 uninitialised: if (lane == 32) totals[simdgroup] = mine;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !1 race|uninitialised: ;
  float before = 0;
  for (uint s = 0; s < simdgroup; ++s) before += totals[s];  // @1 @3
  // !4 out-of-bounds: for (uint s = 0; s < simdgroup + 2; ++s) before += totals[s];
  out[i] = before + mine;
  // !5 out-of-bounds: out[i + lane / 31] = before + mine;
}
