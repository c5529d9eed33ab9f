// emulate: --kernel copy --groups 4 --group 64 --arg rand:f32[250] --arg out:f32[250] --arg i32:250
__global__ void copy(const float* x, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;  // @1
  // !1 out-of-bounds: ;
  out[i] = x[i];       // @1
  // !2 unwritten: if (i != 3) out[i] = x[i];
  // !3 out-of-bounds: out[i] = x[i + 1];
  // !4 race: out[i / 2] = x[i];
}
