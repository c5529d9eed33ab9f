// emulate: --kernel copy --threads 1000 --group 256 --arg rand:f32[1000] --arg out:f32[1000] --arg u32:1000
#include <metal_stdlib>
using namespace metal;

kernel void copy(const device float* x [[buffer(0)]], device float* out [[buffer(1)]], constant uint& n [[buffer(2)]],
                 uint i [[thread_position_in_grid]]) {
  if (i >= n) return;
  out[i] = 2.0f * x[i];  // !1 out-of-bounds: out[i + 1] = 2.0f * x[i];
  // !2 out-of-bounds: out[i] = x[i + 1];
  // !3 out-of-bounds: out[i] = x[i] + x[int(i) - 1];
  // !4 unwritten: if (i % 7 != 3) out[i] = 9.0f;
}
