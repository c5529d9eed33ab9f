// emulate: --kernel softmax --groups 3 --group 64 --arg rand:f32[3,200] --arg out:f32[3,200] --arg i32:200
__device__ float warp_sum(float v) {
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}
__global__ void softmax(const float* x, float* out, int n) {
  __shared__ float most[2], sums[2];
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  const float* row = x + blockIdx.x * n;
  float m = -INFINITY;
  for (int i = t; i < n; i += 64) m = fmaxf(m, row[i]);
  for (int offset = 16; offset > 0; offset /= 2) m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, offset));
  if (lane == 0) most[warp] = m;  // @1
  __syncthreads();                // !1 race|uninitialised: ;
  m = fmaxf(most[0], most[1]);    // @1
  float s = 0.0f;
  for (int i = t; i < n; i += 64) s += expf(row[i] - m);
  s = warp_sum(s);
  if (lane == 0) sums[warp] = s;  // @2
  // !3 race: sums[warp] = s + lane;
  s = __shfl_sync(0xffffffffu, s, 0);
  // !6 warp-divergence: if (lane < 16) s = __shfl_sync(0xffffffffu, s, 0);
  __syncthreads();  // !2 race|uninitialised: ;
  // !4 barrier-divergence: if (warp == 0) __syncthreads(); else __syncthreads();
  s = sums[0] + sums[1];                                                         // @2
  for (int i = t; i < n; i += 64) out[blockIdx.x * n + i] = expf(row[i] - m) / s;  // !5 out-of-bounds: for (int i = t; i < n + 1; i += 64) out[blockIdx.x * n + i] = expf(row[i] - m) / s;
  // !7 unwritten: for (int i = t; i < n - 1; i += 64) out[blockIdx.x * n + i] = expf(row[i] - m) / s;
  // !8 race: for (int i = t; i < n; i += 64) out[i] = expf(row[i] - m) / s;
}
