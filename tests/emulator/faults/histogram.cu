// emulate: --kernel histogram --groups 3 --group 96 --arg iota:i32[700] --arg zeros:i32[16] --arg i32:700
__global__ void histogram(const int* x, int* out, int n) {
  __shared__ int bins[16];
  if (threadIdx.x < 16) bins[threadIdx.x] = 0;  // @2
  // !1 uninitialised: if (threadIdx.x < 15) bins[threadIdx.x] = 0;
  __syncthreads();                              // !2 race|uninitialised: ;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&bins[(x[i] + 5) % 16], 1);  // @1 @2 @4
    // !3 race: bins[(x[i] + 5) % 16] += 1;
  // !6 out-of-bounds: atomicAdd(&bins[(x[i] + 5) % 17], 1);
  __syncthreads();                                                   // !4 race: ;
  if (threadIdx.x < 16) atomicAdd(&out[threadIdx.x], bins[threadIdx.x]);  // @4
  // !5 race: if (threadIdx.x < 16) out[threadIdx.x] += bins[threadIdx.x];
}
