// emulate: --kernel transpose --groups 2,3 --group 16,16 --arg rand:f32[40,20] --arg out:f32[20,40] --arg i32:40 --arg i32:20
__global__ void transpose(const float* x, float* out, int rows, int columns) {
  __shared__ float tile[16][17];
  int column = blockIdx.x * 16 + threadIdx.x, row = blockIdx.y * 16 + threadIdx.y;
  if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = x[row * columns + column];  // @1
  // !2 out-of-bounds: if (column < columns) tile[threadIdx.y][threadIdx.x] = x[row * columns + column];
  __syncthreads();  // !1 race|uninitialised: ;
  column = blockIdx.x * 16 + threadIdx.y, row = blockIdx.y * 16 + threadIdx.x;
  if (row < rows && column < columns) out[column * rows + row] = tile[threadIdx.x][threadIdx.y];  // @1
  // !3 out-of-bounds: if (row < rows) out[column * rows + row] = tile[threadIdx.x][threadIdx.y];
  // !4 uninitialised: if (row < rows && column < columns) out[column * rows + row] = tile[threadIdx.x][threadIdx.y + 1];
  // !5 race: if (row < rows && column < columns) out[column * columns + row] = tile[threadIdx.x][threadIdx.y];
}
