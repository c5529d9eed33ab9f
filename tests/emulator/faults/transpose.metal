// emulate: --kernel transpose --groups 3,4 --group 16,16 --arg rand:f32[50,40] --arg out:f32[40,50] --arg u32:50 --arg u32:40
#include <metal_stdlib>
using namespace metal;

kernel void transpose(const device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                      constant uint& rows [[buffer(2)]], constant uint& columns [[buffer(3)]],
                      uint2 group [[threadgroup_position_in_grid]], uint2 t [[thread_position_in_threadgroup]]) {
  threadgroup float tile[16][17];
  const uint row = group.y * 16 + t.y, column = group.x * 16 + t.x;
  if (row < rows && column < columns) tile[t.y][t.x] = x[row * columns + column];  // @1
  // !2 out-of-bounds: if (row <= rows && column < columns) tile[t.y][t.x] = x[row * columns + column];
  threadgroup_barrier(mem_flags::mem_threadgroup);  // !1 race|uninitialised: ;
  // !3 barrier-divergence: if (row < rows) threadgroup_barrier(mem_flags::mem_threadgroup);
  const uint to_row = group.x * 16 + t.y, to_column = group.y * 16 + t.x;
  if (to_row < columns && to_column < rows) out[to_row * rows + to_column] = tile[t.x][t.y];  // @1 @4
  // !4 uninitialised: if (to_row < columns && to_column < rows) out[to_row * rows + to_column] = tile[t.x][16];
  // !5 out-of-bounds: if (to_row <= columns && to_column < rows) out[to_row * rows + to_column] = tile[t.x][t.y];
}
