// emulate: --kernel gemm --groups 2,3 --group 16,16 --arg rand:f32[48,40] --arg rand:f32[40,32] --arg out:f32[48,32] --arg u32:32 --arg u32:40
#include <metal_stdlib>
using namespace metal;

kernel void gemm(const device float* a [[buffer(0)]], const device float* b [[buffer(1)]],
                 device float* c [[buffer(2)]], constant uint& n [[buffer(3)]], constant uint& k [[buffer(4)]],
                 uint2 at [[thread_position_in_grid]], uint2 t [[thread_position_in_threadgroup]]) {
  threadgroup float left[16][8];
  threadgroup float right[8][16];
  float sum = 0;
  for (uint k0 = 0; k0 < k; k0 += 8) {
    // !5 out-of-bounds: for (uint k0 = 0; k0 <= k; k0 += 8) {
    if (t.x < 8) left[t.y][t.x] = a[at.y * k + k0 + t.x];  // @1 @2 @5
    // !3 uninitialised: if (t.x < 7) left[t.y][t.x] = a[at.y * k + k0 + t.x];
    if (t.y < 8) right[t.y][t.x] = b[(k0 + t.y) * n + at.x];  // @1 @2 @5
    // !4 out-of-bounds: if (t.y < 9) right[t.y][t.x] = b[(k0 + t.y) * n + at.x];
    threadgroup_barrier(mem_flags::mem_threadgroup);  // !1 race|uninitialised: ;
    for (uint i = 0; i < 8; ++i) sum += left[t.y][i] * right[i][t.x];  // @1 @2 @3
    threadgroup_barrier(mem_flags::mem_threadgroup);  // !2 race: ;
  }
  c[at.y * n + at.x] = sum;
  // !6 race: c[at.y * n + at.x / 2] = sum;
}
