// emulate: --kernel softmax_rows --groups 5 --group 128 --arg rand:f32[5,300] --arg out:f32[5,300] --arg u32:300
#include <cuda_runtime.h>
#include <float.h>

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, offset));
  return v;
}
__device__ __forceinline__ float warp_sum(float v) {
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}

extern "C" __global__ void __launch_bounds__(256) softmax_rows(const float* __restrict__ x, float* __restrict__ y, int n) {
  __shared__ float parts[32];
  const float* row = x + blockIdx.x * n;
  float* out = y + blockIdx.x * n;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  float most = -FLT_MAX;
  for (int i = threadIdx.x; i < n; i += blockDim.x) most = fmaxf(most, row[i]);
  most = warp_max(most);
  if (lane == 0) parts[warp] = most;
  __syncthreads();
  most = warp_max(lane < warps ? parts[lane] : -FLT_MAX);
  __syncthreads();
  float sum = 0.0f;
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += __expf(row[i] - most);
  sum = warp_sum(sum);
  if (lane == 0) parts[warp] = sum;
  __syncthreads();
  sum = warp_sum(lane < warps ? parts[lane] : 0.0f);
  for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = __expf(row[i] - most) / sum;
}
