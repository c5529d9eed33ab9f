// emulate: --kernel halo --groups 5 --group 64 --arg rand:f16[320] --arg out:f16[320] --arg u32:320
#include <metal_stdlib>
using namespace metal;

kernel void halo(const device half* x [[buffer(0)]], device half* out [[buffer(1)]], constant uint& n [[buffer(2)]],
                 uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]]) {
  threadgroup half near[66];
  near[t + 1] = x[i];  // @1
  if (t == 0) near[0] = i > 0 ? x[i - 1] : half(0);
  // !2 out-of-bounds: if (t == 0) near[0] = x[int(i) - 1];
  // !3 uninitialised: if (t == 1) near[1] = x[i];
  if (t == 63) near[65] = i + 1 < n ? x[i + 1] : half(0);
  // !4 out-of-bounds: if (t == 63) near[65] = i < n ? x[i + 1] : half(0);
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !1 race|uninitialised: ;
  out[i] = half((near[t] + near[t + 1] + near[t + 2]) / half(3));  // @1 @3
  // !5 out-of-bounds: out[i] = half((near[t] + near[t + 1] + near[t + 3]) / half(3));
}
