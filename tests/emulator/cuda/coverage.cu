// One kernel for each construct of docs/cuda-coverage.md. Each runs on 6 blocks (3x2) of 64 threads (32x2); EXPECT keeps
// the line of what does not hold. memory holds 0, 1, ... 1023.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math_constants.h>
#include <mma.h>

#include <cstdint>
#include <limits>
#include <type_traits>

#define EXPECT(...) \
  if (!(__VA_ARGS__)) atomicMax(failed, __LINE__)
#define COMMON unsigned *failed, const float *memory, float *out, int n
#define FULL 0xffffffffu

extern "C" __global__ void positions(COMMON) {
  EXPECT(blockDim.x == 32 && blockDim.y == 2 && blockDim.z == 1);
  EXPECT(gridDim.x == 3 && gridDim.y == 2 && gridDim.z == 1);
  EXPECT(threadIdx.x < 32 && threadIdx.y < 2 && threadIdx.z == 0 && blockIdx.x < 3 && blockIdx.y < 2);
  const dim3 block = blockDim;
  const uint3 at = threadIdx;
  EXPECT(block.x == blockDim.x && at.y == threadIdx.y && warpSize == 32 && n == 1024);
  out[((blockIdx.y * 3 + blockIdx.x) * 2 + threadIdx.y) * 32 + threadIdx.x] = threadIdx.x;
}

struct Params {
  int count;
  float2 scale;
  unsigned char tail;
};
__global__ void __launch_bounds__(64, 2) launch_bounds_and_pragmas(COMMON) {
  float sum = 0;
#pragma unroll 4
  for (int i = 0; i < 8; ++i) sum += memory[i];
  EXPECT(sum == 28.0f && sizeof(Params) == 24);
}

__global__ void pointers(unsigned* __restrict__ failed, const float* __restrict__ memory, float* __restrict__ out,
                         const int n) {
  const float4* wide = reinterpret_cast<const float4*>(memory);
  EXPECT(wide[2].y == 9.0f && __ldg(memory + 5) == 5.0f && __ldg(wide).w == 3.0f);
  EXPECT(__ldcs(memory + 1) == 1.0f && n > 0);
  if (threadIdx.x == 0 && threadIdx.y == 0 && blockIdx.x == 0 && blockIdx.y == 0) __stcs(out, 1.0f);
}

__constant__ float table[4] = {1.0f, 2.0f, 4.0f, 8.0f};
__device__ const int offsets[2] = {3, 5};
__device__ constexpr float third = 1.0f / 3.0f;
static __device__ __forceinline__ float looked_up(int i) { return table[i & 3]; }
__host__ __device__ __noinline__ int both(int x) { return x + 1; }
constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
__global__ void constants_and_functions(COMMON) {
  EXPECT(looked_up(3) == 8.0f && offsets[1] == 5 && third > 0.33f && both(2) == 3);
  EXPECT(ceil_div(7, 2) == 4 && table[1] == 2.0f);
}

template <typename T, int N>
__global__ void summed(COMMON) {
  T sum = 0;
  for (int i = 0; i < N; ++i) sum += static_cast<T>(memory[i]);
  if constexpr (std::is_same_v<T, float>) {
    EXPECT(sum == 28.0f);
  } else {
    EXPECT(sum == 6);
  }
}
template __global__ void summed<float, 8>(COMMON);
template __global__ void summed<int, 4>(unsigned*, const float*, float*, int);

namespace inner {
struct Scaler {
  float by;
  __device__ explicit Scaler(float x) : by(x) {}
  __device__ float operator()(float x) const { return x * by; }
};
__global__ void classes_and_lambdas(COMMON) {
  const Scaler twice(2.0f);
  auto thrice = [&](float x) { return twice(x) + x; };
  EXPECT(twice(4.0f) == 8.0f && thrice(1.0f) == 3.0f);
  EXPECT(std::numeric_limits<float>::max() > 3e38f && std::numeric_limits<int>::min() < 0);
  EXPECT(std::numeric_limits<unsigned char>::max() == 255 && -std::numeric_limits<float>::infinity() < 0);
}
}  // namespace inner

__global__ void shared_static(COMMON) {
  __shared__ float row[2][33];
  __shared__ __align__(16) float flat[64], more[2];
  __shared__ int count;
  __shared__ Params params;
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    count = 7;
    more[0] = 2.0f;
    params.count = 3;
  }
  row[threadIdx.y][threadIdx.x] = memory[threadIdx.x];
  reinterpret_cast<float4*>(flat)[threadIdx.x % 16] = make_float4(1, 2, 3, 4);
  __syncthreads();
  EXPECT(row[1 - threadIdx.y][31 - threadIdx.x] == 31.0f - threadIdx.x);
  EXPECT(count == 7 && more[0] == 2.0f && flat[6] == 3.0f && params.count == 3);
}

__global__ void shared_dynamic(COMMON) {
  extern __shared__ __align__(16) unsigned char raw[];
  float* first = reinterpret_cast<float*>(raw);
  int* second = reinterpret_cast<int*>(raw + 256);
  const int t = threadIdx.y * 32 + threadIdx.x;
  first[t] = memory[t];
  second[t] = t;
  __syncthreads();
  EXPECT(first[63 - t] == 63.0f - t && second[63 - t] == 63 - t);
}

__global__ void block_barriers(COMMON) {
  const int t = threadIdx.y * 32 + threadIdx.x;
  EXPECT(__syncthreads_count(t % 4 == 0) == 16);
  EXPECT(__syncthreads_and(t < 64) != 0 && __syncthreads_and(t < 63) == 0);
  EXPECT(__syncthreads_or(t == 5) != 0 && __syncthreads_or(t == 64) == 0);
}

// Threads that have ended need not come to a barrier.
__global__ void early_return(COMMON) {
  __shared__ int last;
  if (threadIdx.y == 1 && threadIdx.x > 8) return;
  if (threadIdx.x == 0 && threadIdx.y == 0) last = 3;
  __syncthreads();
  EXPECT(last == 3);
  const int there = __reduce_add_sync(FULL, 1);
  EXPECT(there == (threadIdx.y == 1 ? 9 : 32));
}

__global__ void warp_barrier(COMMON) {
  __shared__ float line[64];
  const int t = threadIdx.y * 32 + threadIdx.x;
  line[t] = memory[t];
  __syncwarp();
  EXPECT(line[t ^ 1] == static_cast<float>(t ^ 1));
  __syncwarp(FULL);
  if (t % 2 == 0) {
    line[t] = 5;
    __syncwarp(0x55555555u);
    EXPECT(line[t ^ 2] == 5);
  }
}

__global__ void shuffles(COMMON) {
  const int lane = threadIdx.x;
  EXPECT(__shfl_sync(FULL, lane, 7) == 7 && __shfl_sync(FULL, lane * 2.0f, 40) == 16.0f);
  EXPECT(__shfl_up_sync(FULL, lane, 3) == (lane < 3 ? lane : lane - 3));
  EXPECT(__shfl_down_sync(FULL, lane, 3) == (lane > 28 ? lane : lane + 3));
  EXPECT(__shfl_xor_sync(FULL, lane, 5) == (lane ^ 5));
  EXPECT(__shfl_sync(FULL, lane, 9, 8) == lane / 8 * 8 + 1);
  EXPECT(__shfl_down_sync(FULL, lane, 2, 4) == (lane % 4 > 1 ? lane : lane + 2));
  EXPECT(__shfl_up_sync(FULL, lane, 2, 4) == (lane % 4 < 2 ? lane : lane - 2));
  EXPECT(__shfl_xor_sync(FULL, lane, 16, 16) == (lane < 16 ? lane : lane - 16));
  EXPECT(__shfl_sync(FULL, 1.0 + lane, 2) == 3.0 && __shfl_sync(FULL, 1ll << lane, 20) == 1ll << 20);
  EXPECT(__half2float(__shfl_sync(FULL, __float2half(lane), 6)) == 6.0f);
  float v = lane;
  for (int step = 16; step > 0; step >>= 1) v += __shfl_down_sync(FULL, v, step);
  EXPECT(lane != 0 || v == 496.0f);
}

// The halves of a warp meet apart, by their masks.
__global__ void masked_shuffles(COMMON) {
  const int lane = threadIdx.x;
  int v;
  if (lane < 16)
    v = __shfl_xor_sync(0x0000ffffu, lane, 1);
  else
    v = __shfl_xor_sync(0xffff0000u, lane, 2);
  EXPECT(v == (lane < 16 ? lane ^ 1 : lane ^ 2));
  for (int i = 0; i < lane % 4; ++i) {
    const unsigned here = __activemask();
    EXPECT(here >> lane & 1u);
    EXPECT(__shfl_sync(here, lane, lane) == lane);
  }
  EXPECT(__popc(__ballot_sync(FULL, 1)) == 32);
}

__global__ void votes(COMMON) {
  const int lane = threadIdx.x;
  EXPECT(__ballot_sync(FULL, lane % 2) == 0xaaaaaaaau && __any_sync(FULL, lane == 9) && !__any_sync(FULL, lane == 32));
  EXPECT(__all_sync(FULL, lane < 32) && !__all_sync(FULL, lane < 31) && __activemask() == FULL);
  EXPECT(__match_any_sync(FULL, lane / 16) == (lane < 16 ? 0xffffu : 0xffff0000u));
  int same = 0;
  EXPECT(__match_all_sync(FULL, 3.5f, &same) == FULL && same);
  EXPECT(__match_all_sync(FULL, lane, &same) == 0 && !same);
}

__global__ void warp_reductions(COMMON) {
  const int lane = threadIdx.x;
  EXPECT(__reduce_add_sync(FULL, lane) == 496 && __reduce_add_sync(FULL, 2u) == 64u);
  EXPECT(__reduce_min_sync(FULL, 5 - lane) == -26 && __reduce_max_sync(FULL, lane - 40) == -9);
  EXPECT(__reduce_min_sync(FULL, 100u + lane) == 100u && __reduce_max_sync(FULL, 100u + lane) == 131u);
  EXPECT(__reduce_and_sync(FULL, 0xf0u | lane) == 0xf0u && __reduce_or_sync(FULL, 1u << lane) == FULL);
  EXPECT(__reduce_xor_sync(FULL, 1u << lane) == FULL);
}

__global__ void atomics_shared(COMMON) {
  __shared__ int i;
  __shared__ unsigned u;
  __shared__ float f;
  __shared__ unsigned long long w;
  const int t = threadIdx.y * 32 + threadIdx.x;
  if (t == 0) i = 0, u = 0, f = 0, w = 0;
  __syncthreads();
  atomicAdd(&i, 2);
  atomicAdd(&f, 0.5f);
  atomicOr(&u, 1u << threadIdx.x);
  atomicAdd(&w, 1ull << 33);
  __syncthreads();
  EXPECT(i == 128 && f == 32.0f && u == FULL && w == 64ull << 33);
  __syncthreads();
  atomicMax(&i, 1000 + t);
  atomicAnd(&u, ~(1u << threadIdx.x));
  atomicMin(&w, static_cast<unsigned long long>(t));
  __syncthreads();
  EXPECT(i == 1063 && u == 0 && w == 0);
  __syncthreads();
  atomicMin(&i, -t);
  atomicXor(&u, 1u);
  atomicSub(&i, 1);
  atomicInc(&u, 5);
  __syncthreads();
  EXPECT(u <= 5);
  __syncthreads();
  if (t == 0) EXPECT(atomicExch(&i, 9) < 0 && atomicCAS(&i, 9, 4) == 9 && atomicCAS(&i, 9, 5) == 4 && i == 4);
  if (t == 1) EXPECT(atomicDec(&u, 3) <= 5);
}

__global__ void atomics_global(COMMON) {
  atomicAdd(&out[0], 1.0f);
  atomicAdd_block(&out[1], 1.0f);
  atomicMax(reinterpret_cast<int*>(&out[2]), static_cast<int>(threadIdx.x));
  atomicExch(&out[3], 2.0f);
  atomicAdd(reinterpret_cast<unsigned long long*>(&out[4]), 1ull);
  atomicAdd(reinterpret_cast<double*>(&out[6]), 0.25);
  atomicAdd(reinterpret_cast<__half*>(&out[8]), __float2half(1.0f));
  int* word = reinterpret_cast<int*>(&out[9]);
  int seen = atomicAdd(word, 0), wanted;
  do {
    wanted = seen;
    seen = atomicCAS(word, wanted, wanted + 3);
  } while (seen != wanted);
  __threadfence();
}

__global__ void vector_types(COMMON) {
  const float4 a = make_float4(1, 2, 3, 4);
  const int2 b = make_int2(5, 6);
  const uchar4 c = make_uchar4(1, 2, 3, 255);
  float3 d = {1, 2, 3};
  double2 e = make_double2(0.5, 1.5);
  d.y += a.w;
  EXPECT(sizeof(float4) == 16 && alignof(float4) == 16 && sizeof(float3) == 12 && alignof(float2) == 8);
  EXPECT(sizeof(uchar4) == 4 && alignof(uchar4) == 4 && sizeof(double2) == 16 && sizeof(longlong2) == 16);
  EXPECT(a.x + b.y == 7 && c.w == 255 && d.y == 6 && e.x + e.y == 2 && make_short4(1, 2, 3, 4).z == 3);
  const uint4 f = *reinterpret_cast<const uint4*>(memory + 4);
  EXPECT(__uint_as_float(f.z) == 6.0f && make_ulonglong2(1, 2).y == 2 && make_char2(-1, 1).x == -1);
}

__global__ void half_precision(COMMON) {
  const __half one = __float2half(1.0f), tiny = __float2half(0.00048828125f);
  EXPECT(sizeof(half) == 2 && __half2float(__hadd(one, tiny)) == 1.0f);  // a tie, to even
  EXPECT(__half2float(one + tiny + tiny) == 1.0f && __half2float(__hadd(one, __hadd(tiny, tiny))) == 1.0009765625f);
  EXPECT(__half2float(__hfma(__float2half(1.0009765625f), __float2half(1.0009765625f), __float2half(-1.001953125f))) ==
         0.00000095367431640625f);  // fused: the product is not rounded
  EXPECT(__hlt(one, __float2half(2.0f)) && one > tiny && __hisnan(__float2half(CUDART_NAN_F)) && __hisinf(hexp(__float2half(20.0f))));
  EXPECT(__half2float(__hmax(one, tiny)) == 1.0f && __half2float(hsqrt(__float2half(4.0f))) == 2.0f);
  EXPECT(__half_as_ushort(one) == 0x3c00 && __half2float(__ushort_as_half(0x7bff)) == 65504.0f);
  EXPECT(__half2float(__float2half_rz(1.0009f)) == 1.0f && __half2float(__float2half_ru(1.0001f)) == 1.0009765625f);
  EXPECT(__half2int_rn(__float2half(2.5f)) == 2 && __half2float(__int2half_rn(2049)) == 2048.0f);
  EXPECT(__half2float(__float2half(70000.0f)) == CUDART_INF_F && __half2float(__double2half(1.0 + 1.0 / 2048 + 1e-9)) == 1.0009765625f);
  const __half2 pair = __floats2half2_rn(1.0f, 2.0f), twice = __hadd2(pair, pair);
  EXPECT(__low2float(twice) == 2.0f && __high2float(__hmul2(twice, pair)) == 8.0f);
  const float2 back = __half22float2(__hfma2(pair, pair, __float2half2_rn(1.0f)));
  EXPECT(back.x == 2.0f && back.y == 5.0f && __half2float(__low2half(pair)) == 1.0f);
  const __half2* wide = reinterpret_cast<const __half2*>(memory);
  EXPECT(sizeof(__half2) == 4 && __low2float(wide[0]) == 0.0f);
  half h = 3.0f;
  h += __float2half(0.5f);
  const float f = h;
  EXPECT(f == 3.5f && static_cast<int>(static_cast<float>(h)) == 3 && __half2float(-h) == -3.5f);
}

__global__ void bfloat_precision(COMMON) {
  const __nv_bfloat16 one = __float2bfloat16(1.0f), tiny = __float2bfloat16(0.00390625f);
  EXPECT(sizeof(nv_bfloat16) == 2 && __bfloat162float(__hadd(one, tiny)) == 1.0f);
  EXPECT(__bfloat162float(one + (tiny + tiny)) == 1.0078125f && __bfloat162float(__float2bfloat16(3e38f)) > 2.9e38f);
  EXPECT(__bfloat162float(__hfma(one, tiny, one)) == 1.0f && __hgt(one, tiny) && __bfloat16_as_ushort(one) == 0x3f80);
  const __nv_bfloat162 pair = __floats2bfloat162_rn(1.0f, 2.0f);
  EXPECT(__bfloat1622float2(__hmul2(pair, pair)).y == 4.0f && __bfloat162float(__high2bfloat16(pair)) == 2.0f);
  EXPECT(__bfloat162float(__float2bfloat16_rn(1.01f)) == 1.0078125f && __bfloat162float(hexp2(one)) == 2.0f);
}

__device__ bool near(double got, double wanted, double relative) { return fabs(got - wanted) <= relative * fabs(wanted); }
__global__ void math(COMMON) {
  const float x = memory[3] / 4.0f;  // 0.75
  EXPECT(near(expf(x), 2.117000016612675, 3e-7) && near(exp2f(x), 1.681792830507429, 3e-7) && exp2f(3.0f) == 8.0f);
  EXPECT(near(logf(x), -0.287682072451781, 3e-7) && near(log2f(x), -0.415037499278844, 3e-7) && near(log10f(x), -0.124938736608300, 3e-7));
  EXPECT(near(sinf(x), 0.681638760023334, 3e-7) && near(cosf(x), 0.731688868873821, 3e-7) && near(tanf(x), 0.931596459944072, 6e-7));
  EXPECT(near(tanhf(x), 0.635148952387287, 3e-7) && near(erff(x), 0.711155633653515, 3e-7) && near(erfcf(x), 0.288844366346485, 1e-6));
  EXPECT(near(rsqrtf(x), 1.154700538379252, 3e-7) && sqrtf(9.0f) == 3.0f && near(cbrtf(x), 0.908560296416070, 3e-7));
  EXPECT(near(powf(x, 2.5f), 0.487139289628747, 1e-6) && near(sinhf(x), 0.822316731935830, 6e-7) && near(asinf(x), 0.848062078981481, 6e-7));
  EXPECT(near(log1pf(x), 0.559615787935423, 3e-7) && near(expm1f(x), 1.117000016612675, 3e-7) && near(atan2f(x, 2.0f), 0.358770670270572, 6e-7));
  EXPECT(fmaf(2.0f, 3.0f, 4.0f) == 10.0f && fmodf(5.5f, 2.0f) == 1.5f && fminf(1.0f, NAN) == 1.0f && fmaxf(-0.5f, 2.0f) == 2.0f);
  EXPECT(floorf(-1.5f) == -2.0f && ceilf(1.2f) == 2.0f && rintf(2.5f) == 2.0f && roundf(2.5f) == 3.0f && truncf(-1.7f) == -1.0f);
  EXPECT(isnan(NAN) && isinf(INFINITY) && isfinite(x) && signbit(-x) && copysignf(1.0f, -2.0f) == -1.0f && fabsf(-x) == x);
  EXPECT(near(erfinvf(0.5f), 0.476936276204470, 1e-6) && near(normcdff(1.0f), 0.841344746068543, 1e-6) && near(erfinvf(-0.99f), -1.821386367718449, 1e-6));
  EXPECT(sinpif(1.0f) == 0.0f && cospif(0.5f) == 0.0f && near(rcbrtf(8.0f), 0.5, 3e-7) && near(exp10f(2.0f), 100.0, 3e-7));
  EXPECT(min(3, 5) == 3 && max(2.5f, 1.0f) == 2.5f && abs(-4) == 4 && min(7u, 9u) == 7u && max(1ll, 2ll) == 2);
  EXPECT(ldexpf(0.75f, 2) == 3.0f && hypotf(3.0f, 4.0f) == 5.0f && lroundf(2.5f) == 3 && near(exp(0.75), 2.117000016612675, 1e-14));
  float s, c, whole;
  int exponent;
  sincosf(x, &s, &c);
  EXPECT(near(s, 0.681638760023334, 3e-7) && near(c, 0.731688868873821, 3e-7) && modff(2.25f, &whole) == 0.25f && whole == 2.0f);
  EXPECT(frexpf(6.0f, &exponent) == 0.75f && exponent == 3 && near(sqrt(2.0), 1.4142135623730951, 1e-15) && near(pow(2.0, 0.5), 1.4142135623730951, 1e-15));
}

// Within the errors that CUDA states for its approximations.
__global__ void fast_math(COMMON) {
  const float x = memory[3] / 4.0f;
  EXPECT(near(__expf(x), 2.117000016612675, 4e-7) && near(__expf(10.0f), 22026.465794806718, 2e-6) && __expf(-200.0f) == 0.0f);
  EXPECT(near(__logf(x), -0.287682072451781, 1e-6) && near(__log2f(x), -0.415037499278844, 1e-6) && near(__powf(2.5f, 1.5f), 3.952847075210474, 2e-6));
  EXPECT(fabsf(__sinf(x) - 0.68163876f) < 5e-7f && fabsf(__cosf(x) - 0.73168887f) < 5e-7f && near(__tanf(x), 0.931596459944072, 3e-6));
  EXPECT(near(__fdividef(x, 3.0f), 0.25, 3e-7) && __saturatef(1.5f) == 1.0f && __saturatef(-1.0f) == 0.0f && __frcp_rn(4.0f) == 0.25f);
  EXPECT(__fadd_rn(1.0f, x) == 1.75f && __fmul_rn(x, 2.0f) == 1.5f && __fmaf_rn(x, 2.0f, 1.0f) == 2.5f && __fsqrt_rn(x * 3.0f) == 1.5f);
  EXPECT(__fadd_ru(1.0f, 1e-10f) > 1.0f && __fadd_rd(1.0f, -1e-10f) < 1.0f && __fadd_rz(1.0f, 1e-10f) == 1.0f);
}

__global__ void conversions_and_bits(COMMON) {
  EXPECT(__float2int_rn(2.5f) == 2 && __float2int_rz(-2.7f) == -2 && __float2int_rd(-2.2f) == -3 && __float2int_ru(2.2f) == 3);
  EXPECT(__float2int_rz(3e9f) == 2147483647 && __float2uint_rz(-1.0f) == 0u && __int2float_rn(16777217) == 16777216.0f);
  EXPECT(__float_as_int(1.0f) == 0x3f800000 && __int_as_float(0x40000000) == 2.0f && __double_as_longlong(1.0) == 0x3ff0000000000000ll);
  EXPECT(__popc(0xf0f0u) == 8 && __clz(1) == 31 && __clz(0) == 32 && __ffs(8) == 4 && __brev(1u) == 0x80000000u && __popcll(~0ull) == 64);
  EXPECT(__byte_perm(0x33221100u, 0x77665544u, 0x7531u) == 0x77553311u && __funnelshift_l(0x80000000u, 1u, 1) == 3u);
  EXPECT(__mulhi(1 << 30, 8) == 2 && __umulhi(0x80000000u, 4u) == 2u && __umul64hi(1ull << 63, 4ull) == 2 && __mul24(3, -4) == -12);
  EXPECT(__dp4a(0x01020304, 0x01010101, 5) == 15 && __sad(3, -4, 1u) == 8u && __hadd(3, 6) == 4 && __rhadd(3, 6) == 5);
  const int8_t narrow = static_cast<int8_t>(-3);
  const uint64_t wide = static_cast<uint64_t>(narrow);
  EXPECT(wide == 0xfffffffffffffffdull && INT_MAX == 2147483647 && sizeof(size_t) == 8 && sizeof(long long) == 8);
}

__global__ void groups_of_threads(COMMON) {
  namespace cg = cooperative_groups;
  __shared__ int line[64];
  cg::thread_block block = cg::this_thread_block();
  line[block.thread_rank()] = static_cast<int>(block.thread_rank());
  block.sync();
  EXPECT(block.size() == 64 && line[63 - block.thread_rank()] == 63 - static_cast<int>(block.thread_rank()));
  EXPECT(block.group_index().x == blockIdx.x && block.thread_index().y == threadIdx.y);
  auto warp = cg::tiled_partition<32>(block);
  auto quad = cg::tiled_partition<4>(warp);
  const int lane = static_cast<int>(warp.thread_rank());
  EXPECT(warp.size() == 32 && quad.size() == 4 && quad.thread_rank() == lane % 4u && warp.meta_group_rank() == threadIdx.y);
  EXPECT(warp.shfl_down(lane, 1) == (lane == 31 ? 31 : lane + 1) && quad.shfl(lane, 2) == lane / 4 * 4 + 2);
  EXPECT(quad.shfl_xor(lane, 1) == (lane ^ 1) && warp.shfl_up(lane, 2) == (lane < 2 ? lane : lane - 2));
  EXPECT(cg::reduce(warp, lane, cg::plus<int>()) == 496 && cg::reduce(quad, lane, cg::greater<int>()) == lane / 4 * 4 + 3);
  EXPECT(cg::reduce(warp, 1.5f * lane, cg::less<float>()) == 0.0f && warp.any(lane == 3) && !quad.all(lane % 4));
  EXPECT(cg::inclusive_scan(warp, lane, cg::plus<int>()) == lane * (lane + 1) / 2);
  EXPECT(cg::exclusive_scan(quad, 1, cg::plus<int>()) == lane % 4);
  EXPECT(warp.ballot(lane < 4) == 15u && quad.ballot(lane % 2) == 10u);
  warp.sync();
  cg::sync(block);
  if (lane % 3 == 0) {
    cg::coalesced_group some = cg::coalesced_threads();
    EXPECT(some.size() == 11 && some.thread_rank() == lane / 3u && some.shfl(lane, 2) == 6);
    EXPECT(cg::reduce(some, 1, cg::plus<int>()) == 11);
  }
}

template <typename T>
__device__ T made(float x) {
  return static_cast<T>(x);
}
template <typename T, int K, typename Fragment>
__device__ void multiply_tile(unsigned* failed, T* a, T* b, float* c) {
  namespace w = nvcuda::wmma;
  const int lane = threadIdx.x;
  for (int i = lane; i < 16 * K; i += 32) {
    a[i] = made<T>(static_cast<float>(i % 7) - 3.0f);
    b[i] = made<T>(static_cast<float>(i % 5) * 0.5f);
  }
  for (int i = lane; i < 256; i += 32) c[i] = static_cast<float>(i % 3);
  __syncwarp();
  w::fragment<w::matrix_a, 16, 16, K, Fragment, w::row_major> fa;
  w::fragment<w::matrix_b, 16, 16, K, Fragment, w::col_major> fb;
  w::fragment<w::accumulator, 16, 16, K, float> fc;
  w::load_matrix_sync(fa, a, K);
  w::load_matrix_sync(fb, b, K);
  w::load_matrix_sync(fc, c, 16, w::mem_row_major);
  w::mma_sync(fc, fa, fb, fc);
  for (int i = 0; i < fc.num_elements; ++i) fc.x[i] *= 2.0f;
  __syncwarp();
  w::store_matrix_sync(c, fc, 16, w::mem_row_major);
  __syncwarp();
  for (int i = lane; i < 256; i += 32) {
    float sum = static_cast<float>(i % 3);
    for (int k = 0; k < K; ++k)
      sum += static_cast<float>(a[i / 16 * K + k]) * static_cast<float>(b[i % 16 * K + k]);
    EXPECT(c[i] == 2.0f * sum);
  }
  __syncwarp();
}
__global__ void matrices(COMMON) {
  __shared__ __align__(32) __half ha[256], hb[256];
  __shared__ __align__(32) __nv_bfloat16 ba[256], bb[256];
  __shared__ __align__(32) float fa[128], fb[128], c[256];
  if (threadIdx.y == 0) {
    multiply_tile<__half, 16, __half>(failed, ha, hb, c);
    multiply_tile<__nv_bfloat16, 16, __nv_bfloat16>(failed, ba, bb, c);
    multiply_tile<float, 8, nvcuda::wmma::precision::tf32>(failed, fa, fb, c);
    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float> zero;
    nvcuda::wmma::fill_fragment(zero, 0.0f);
    EXPECT(zero.x[0] == 0.0f && nvcuda::wmma::__float_to_tf32(1.0f + 1.0f / 8192) == 1.0f);
  }
}

// Lanes that leave a loop early; the others go on shuffling among themselves.
__global__ void divergent_loops(COMMON) {
  const int lane = threadIdx.x;
  int sum = 0;
  for (int i = 0; i <= lane; i += 8) {
    const unsigned here = __ballot_sync(__activemask(), 1);
    sum += __popc(here);
  }
  EXPECT(sum > 0);
  __syncwarp();
  EXPECT(__shfl_sync(FULL, lane, 31) == 31);
}
