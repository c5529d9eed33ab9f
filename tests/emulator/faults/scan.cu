// emulate: --kernel scan --groups 1 --group 256 --arg rand:f32[256] --arg out:f32[256]
__global__ void scan(const float* x, float* out) {
  __shared__ float sums[8];
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  float v = x[t];
  for (int step = 1; step < 32; step *= 2) {
    const float before = __shfl_up_sync(0xffffffffu, v, step);
    if (lane >= step) v += before;
  }
  if (lane == 31) sums[warp] = v;  // @1
  // !2 race: sums[warp] = v;
  __syncthreads();                 // !1 race|uninitialised: ;
  if (warp == 0) {
    float s = lane < 8 ? sums[lane] : 0.0f;  // @1 @3
    // !4 out-of-bounds: float s = sums[lane];
    for (int step = 1; step < 8; step *= 2) {
      const float before = __shfl_up_sync(0xffffffffu, s, step);
      // !5 warp-divergence: const float before = lane < 8 ? __shfl_up_sync(0xffffffffu, s, step) : 0.0f;
      if (lane >= step) s += before;
    }
    if (lane < 8) sums[lane] = s;  // @3
    __syncwarp();
    // !6 barrier-divergence: __syncthreads();
  }
  __syncthreads();                               // @6
  // !3 race: ;
  out[t] = v + (warp > 0 ? sums[warp - 1] : 0.0f);  // @3
  // !7 out-of-bounds: out[t] = v + sums[warp - 1];
}
