// emulate: --kernel reduce --groups 4 --group 128 --arg rand:f32[1000] --arg out:f32[4] --arg i32:1000
__global__ void reduce(const float* x, float* out, int n) {
  __shared__ float parts[4];  // !1 out-of-bounds: __shared__ float parts[3];
  float sum = 0.0f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    // !2 out-of-bounds: for (int i = blockIdx.x * blockDim.x + threadIdx.x; i <= n; i += gridDim.x * blockDim.x) {
    sum += x[i];  // @2
  }
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;  // @1 @3 @4
  // !4 race: parts[threadIdx.x / 32] = sum;
  __syncthreads();  // !3 race|uninitialised: ;
  if (threadIdx.x == 0) {
    float total = 0.0f;
    for (int i = 0; i < blockDim.x / 32; ++i) total += parts[i];  // @3 @1
    // !6 out-of-bounds: for (int i = 0; i <= blockDim.x / 32; ++i) total += parts[i];
    out[blockIdx.x] = total;  // !7 out-of-bounds: out[blockIdx.x + 1] = total;
    // !8 race: out[0] = total;
    // !9 unwritten: if (blockIdx.x != 2) out[blockIdx.x] = total;
  }
}
