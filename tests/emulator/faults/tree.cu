// emulate: --kernel tree --groups 5 --group 128 --threadgroup-bytes 0=512 --arg rand:f32[600] --arg out:f32[5] --arg i32:600
extern "C" __global__ void tree(const float* x, float* out, int n) {
  extern __shared__ float parts[];
  const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  parts[t] = i < n ? x[i] : 0.0f;  // @2
  // !1 out-of-bounds: parts[t] = i < n + 8 ? x[i] : 0.0f;
  // !5 out-of-bounds: parts[t + 1] = i < n ? x[i] : 0.0f;
  // !6 uninitialised: if (t != 77) parts[t] = i < n ? x[i] : 0.0f;
  __syncthreads();  // !2 race|uninitialised: ;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (t < half) parts[t] += parts[t + half];  // @2 @3 @6
    // !4 race: if (t < 2 * half - 1) parts[t] += parts[t + half - 1];
    __syncthreads();                            // !3 race: ;
    // !7 barrier-divergence: if (t < half) __syncthreads(); else if (half > 1) __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = parts[0];
  // !8 unwritten: if (t == 0 && blockIdx.x < 4) out[blockIdx.x] = parts[0];
}
