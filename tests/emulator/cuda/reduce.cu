// emulate: --kernel sum_blocks --groups 4 --group 256 --threadgroup-bytes 0=1024 --arg iota:f32[4000] --arg out:f32[4] --arg u32:4000
extern "C" __global__ void sum_blocks(const float* x, float* y, unsigned n) {
  extern __shared__ float parts[];
  float sum = 0;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
  parts[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) y[blockIdx.x] = parts[0];
}
