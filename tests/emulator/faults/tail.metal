// emulate: --kernel tail --groups 4 --group 256 --arg rand:f32[1000] --arg out:f32[1000] --arg u32:1000
#include <metal_stdlib>
using namespace metal;

kernel void tail(const device float* x [[buffer(0)]], device float* out [[buffer(1)]], constant uint& n [[buffer(2)]],
                 uint i [[thread_position_in_grid]]) {
  if (i >= n) return;  // !1 out-of-bounds: ;
  // !2 out-of-bounds: if (i > n) return;
  // !3 unwritten: if (i + 1 >= n) return;
  const float value = x[i];  // @1 @2
  out[i] = value > 0.0f ? value : 0.0f;  // @1 @2
}
