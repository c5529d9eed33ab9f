// emulate: --kernel softmax_rows --groups 5 --group 96 --arg rand:f32[5,200] --arg out:f32[5,200] --arg u32:200
#include <metal_stdlib>
using namespace metal;

kernel void softmax_rows(const device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                         constant uint& width [[buffer(2)]], uint row [[threadgroup_position_in_grid]],
                         uint t [[thread_index_in_threadgroup]], uint size [[threads_per_threadgroup]],
                         uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                         uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float parts[32];
  const device float* in = x + row * width;
  float most = -INFINITY;
  for (uint c = t; c < width; c += size) most = max(most, in[c]);
  // !4 out-of-bounds: for (uint c = t; c <= width; c += size) most = max(most, in[c]);
  most = simd_max(most);
  if (lane == 0) parts[simdgroup] = most;  // @1
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !1 race|uninitialised: ;
  most = simd_max(lane < simdgroups ? parts[lane] : -INFINITY);  // @1 @2
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !2 race: ;
  float sum = 0;
  for (uint c = t; c < width; c += size) sum += exp(in[c] - most);
  sum = simd_sum(sum);
  if (lane == 0) parts[simdgroup] = sum;  // @2 @3
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !3 race: ;
  sum = simd_sum(lane < simdgroups ? parts[lane] : 0.0f);  // @3
  for (uint c = t; c < width; c += size) out[row * width + c] = exp(in[c] - most) / sum;
  // !5 unwritten: for (uint c = t + size; c < width; c += size) out[row * width + c] = exp(in[c] - most) / sum;
  // !6 race: for (uint c = t; c < width; c += size) out[row * 100 + c] = exp(in[c] - most) / sum;
}
