// One kernel for each construct of docs/metal-coverage.md. Each runs on 32 threads (8x4) of the threadgroup at (2, 1)
// of a 3x2 grid; EXPECT writes the line of what does not hold.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;

#define EXPECT(...) \
  if (!(__VA_ARGS__)) failed[0] = __LINE__
#define LANE uint lane [[thread_index_in_simdgroup]]
#define COMMON device uint* failed [[buffer(0)]], device float* memory [[buffer(1)]], LANE

kernel void position_attributes(COMMON, uint3 in_grid [[thread_position_in_grid]],
                                ushort2 in_group [[thread_position_in_threadgroup]],
                                uint3 group [[threadgroup_position_in_grid]]) {
  EXPECT(in_group.x == lane % 8 && in_group.y == lane / 8);
  EXPECT(in_grid.x == 16 + lane % 8 && in_grid.y == 4 + lane / 8 && in_grid.z == 0);
  EXPECT(all(group == uint3(2, 1, 0)));
}

kernel void size_attributes(COMMON, uint3 threads [[threads_per_threadgroup]], uint2 groups [[threadgroups_per_grid]],
                            uint3 grid [[threads_per_grid]], uint3 full [[dispatch_threads_per_threadgroup]],
                            uint simds [[simdgroups_per_threadgroup]], uint width [[threads_per_simdgroup]],
                            uint quads [[quadgroups_per_threadgroup]]) {
  EXPECT(all(threads == uint3(8, 4, 1)) && all(full == threads));
  EXPECT(all(groups == uint2(3, 2)) && all(grid == uint3(24, 8, 1)));
  EXPECT(simds == 1 && width == 32 && quads == 8);
}

kernel void index_attributes(COMMON, uint index [[thread_index_in_threadgroup]], ushort simd [[simdgroup_index_in_threadgroup]],
                             uint quad_lane [[thread_index_in_quadgroup]], uint quad [[quadgroup_index_in_threadgroup]]) {
  EXPECT(index == lane && simd == 0 && quad_lane == lane % 4 && quad == lane / 4);
}

[[kernel]] [[max_total_threads_per_threadgroup(64)]] void kernel_attribute(COMMON) { EXPECT(lane < 32); }

// Buffers without an index take the places in order; the attribute parameter does not count.
kernel void implicit_buffers(device uint* failed, LANE, const device float* memory, constant float& first) {
  EXPECT(memory[3] == 3.0f && first == 20.0f);
}

kernel void reference_arguments(device uint& failed_first [[buffer(0)]], constant float4& v [[buffer(1)]], LANE) {
  device uint* failed = &failed_first;
  EXPECT(v.z == 2.0f);
}

kernel void array_arguments(device uint* failed [[buffer(0)]], constant const float memory[3] [[buffer(1)]], LANE) {
  EXPECT(memory[2] == 2.0f);
}

struct Params {
  uint count;
  float2 scale;
  packed_float3 offset;
};
kernel void struct_arguments(device uint* failed [[buffer(0)]], constant Params& p [[buffer(3)]], LANE) {
  EXPECT(sizeof(Params) == 32 && p.count == 7 && p.scale.y == 2.5f && p.offset[2] == 4.5f);
}

template <typename T, int N>
[[kernel]] void sum_of(device uint* failed [[buffer(0)]], const device float* memory [[buffer(1)]], LANE) {
  T total = 0;
  for (int i = 0; i < N; ++i) total += T(memory[i]);
  EXPECT(float(total) == float(N * (N - 1) / 2));
}
template [[host_name("template_host_name_float")]] [[kernel]] decltype(sum_of<float, 8>) sum_of<float, 8>;
template [[host_name("template_host_name_half")]] kernel void sum_of<half, 4>(device uint*, const device float*, uint);
#define instantiate(name, ...) template [[host_name("template_" name)]] [[kernel]] decltype(__VA_ARGS__) __VA_ARGS__;
instantiate("host_name", sum_of<bfloat, 5>)

[[host_name("plain_host_name")]] kernel void renamed(COMMON) { EXPECT(lane < 32); }

namespace inner {
constant float table[3] = {1, 2, 4};
struct Limits {
  static constexpr constant float top = 8.0f;
  static const constant int count = 3;
};
kernel void namespaces_and_constants(COMMON) {
  EXPECT(table[2] == 4 && Limits::top == 8 && Limits::count == 3);
}
}  // namespace inner

constant int fc_int [[function_constant(0)]];
constant bool fc_absent [[function_constant(1)]];
constant float fc_scale [[function_constant(2)]];
constant bool fc_given = is_function_constant_defined(fc_scale);
constant float fc_twice = fc_given ? 2 * fc_scale : 1.0f;
kernel void function_constants(COMMON, device float* extra [[buffer(4), function_constant(fc_given)]]) {
  EXPECT(fc_int == -3 && fc_given && fc_twice == 5.0f && !is_function_constant_defined(fc_absent));
}

kernel void literals(COMMON) {
  auto plain = 1.5;
  EXPECT(sizeof(plain) == 4 && sizeof(1.0h) == 2 && sizeof(2.0bf) == 2);
  EXPECT(0.1h == half(0.1f) && 1e-3h < 0.0011h && 0x1p-2 == 0.25f);
}

kernel void half_rounding(COMMON) {
  half big = 2048.0h, one = 1.0h;
  EXPECT(big + one == 2048.0h);                   // ties to even, after every operation
  EXPECT((big + one) + one == 2048.0h && big + (one + one) == 2050.0h);
  EXPECT(half(65520.0f) == half(INFINITY) && half(65519.0f) == HALF_MAX);
  EXPECT(as_type<ushort>(half(5.9604645e-8f)) == 1 && numeric_limits<half>::epsilon() == 0.0009765625h);
}

kernel void bfloat_rounding(COMMON) {
  bfloat a = 256.0bf, one = 1.0bf;
  EXPECT(a + one == a && a + bfloat(3.0f) == bfloat(260.0f));
  EXPECT(as_type<ushort>(bfloat(1.00390625f)) == 0x3f80 && as_type<ushort>(bfloat(1.01171875f)) == 0x3f82);
  float wide = one * 1.5f;
  bfloat from_int = 7;
  EXPECT(wide == 1.5f && from_int == 7 && sizeof(a * 2) == 2 && sizeof(a * 2.0f) == 4);
  bool yes = lane < 32;
  EXPECT((yes ? a : 0) == a && isnan(float(numeric_limits<bfloat>::quiet_NaN())));
}

kernel void vectors(COMMON) {
  float4 a(1, 2, 3, 4), b = 2.0f, c = {4, 3, 2, 1};
  EXPECT(all(a + c == float4(5)) && all(a * b == float4(2, 4, 6, 8)) && all((a < c) == bool4(true, true, false, false)));
  vec<int, 3> d(int2(1, 2), 3);
  d <<= 1;
  d[1] += 5;
  EXPECT(d.x == 2 && d.y == 9 && d.z == 6 && sizeof(int3) == 16 && alignof(half3) == 8);
  EXPECT(all(float2(d.xy) == float2(2, 9)) && any(d == 6) && all(-d == int3(-2, -9, -6)) && all((~d & 1) == 1 - (d & 1)));
  constexpr float4 fixed = {1, 2, 3, 4};
  static_assert(fixed.y == 2, "vectors are constant expressions");
}

kernel void swizzles(COMMON) {
  float4 a(1, 2, 3, 4);
  a.xy = a.wz;
  EXPECT(all(a == float4(4, 3, 3, 4)));
  a.zw += float2(1, 1);
  a.rgb = a.bgr;
  EXPECT(all(a == float4(4, 3, 4, 5)) && all(a.xxyy == float4(4, 4, 3, 3)) && dot(a.xyz, a.zyx) == 41);
  float3 cut = a.wzy;
  EXPECT(cut.x == 5 && max(a.xy, a.zw).x == 4);
}

kernel void packed_vectors(COMMON) {
  packed_float3 p = packed_float3(1, 2, 3);
  device packed_float3* rows = (device packed_float3*)(memory);
  EXPECT(sizeof(packed_float3) == 12 && alignof(packed_half4) == 2 && rows[1].y == 4.0f);
  float3 sum = float3(p) + rows[1];
  p.z = 9;
  p *= 2;
  EXPECT(all(sum == float3(4, 6, 8)) && p[2] == 18.0f);
}

kernel void matrices(COMMON) {
  float2x2 m(float2(1, 2), float2(3, 4));
  EXPECT(all(m * float2(1, 1) == float2(4, 6)) && all(float2(1, 1) * m == float2(3, 7)));
  EXPECT(determinant(m) == -2 && transpose(m)[0][1] == 3 && (m * m)[1][1] == 22);
  half4x4 h(float4x4(2.0f));
  EXPECT(h[3][3] == 2.0h && h[3][0] == 0.0h && half2x4(half4(1), half4(2))[1][2] == 2.0h);
}

kernel void as_types(COMMON) {
  EXPECT(as_type<uint>(1.0f) == 0x3f800000u && as_type<float>(0x40000000) == 2.0f);
  EXPECT(all(as_type<ushort2>(0x00010002u) == ushort2(2, 1)) && as_type<half>(ushort(0x3c00)) == 1.0h);
  EXPECT(as_type<long>(int2(-1, -1)) == -1l && as_type<char4>(0x7f000001).w == 0x7f);
}

kernel void math_functions(COMMON) {
  EXPECT(abs(exp(1.0f) - 2.7182817f) < 1e-6f && abs(precise::tanh(0.5f) - 0.46211717f) < 1e-6f);
  EXPECT(rsqrt(4.0f) == 0.5f && fast::exp2(3.0f) == 8.0f && precise::divide(1.0f, 4.0f) == 0.25f && pow(2.0f, 10) == 1024.0f);
  EXPECT(fma(2.0f, 3.0f, 1.0f) == 7.0f && fmod(7.5f, 2.0f) == 1.5f && fract(-0.25f) == 0.75f && sinpi(1.0f) == 0.0f);
  EXPECT(all(floor(float2(1.5f, -1.5f)) == float2(1, -2)) && round(2.5f) == 3.0f && rint(2.5f) == 2.0f && sign(-2.0f) == -1.0f);
  int power = 0;
  EXPECT(frexp(12.0f, power) == 0.75f && power == 4 && ldexp(0.75f, 4) == 12.0f);
  float whole, cosine;
  EXPECT(modf(2.75f, whole) == 0.75f && whole == 2.0f && sincos(0.0f, cosine) == 0.0f && cosine == 1.0f);
  EXPECT(sqrt(2.0h) == half(1.4142135f) && fmax3(1.0f, 3.0f, 2.0f) == 3.0f && fmedian3(1.0f, 3.0f, 2.0f) == 2.0f);
}

kernel void common_functions(COMMON) {
  EXPECT(clamp(5, 0, 3) == 3 && all(clamp(float2(-1, 2), 0.0f, 1.0f) == float2(0, 1)) && saturate(1.5f) == 1.0f);
  EXPECT(mix(1.0f, 3.0f, 0.5f) == 2.0f && step(1.0f, 0.5f) == 0.0f && smoothstep(0.0f, 1.0f, 0.5f) == 0.5f);
  EXPECT(max(3u, 4u) == 4u && min(-1, 1) == -1 && abs(-7) == 7 && max3(1, 5, 3) == 5 && median3(1, 5, 3) == 3);
  EXPECT(max(NAN, 1.0f) == 1.0f && min(1.0f, NAN) == 1.0f);
}

kernel void relational_functions(COMMON) {
  EXPECT(isnan(NAN) && !isnan(1.0f) && isinf(-INFINITY) && isfinite(1.0h) && !isnormal(1e-40f) && signbit(-0.0f));
  EXPECT(select(1, 2, true) == 2 && all(select(float2(1), float2(2), bool2(true, false)) == float2(2, 1)));
  EXPECT(any(bool3(false, true, false)) && !all(bool2(true, false)) && isunordered(NAN, 1.0f));
}

kernel void integer_functions(COMMON) {
  EXPECT(popcount(0xf0u) == 4 && clz(1u) == 31 && ctz(8u) == 3 && clz(ushort(1)) == 15 && reverse_bits(1u) == 0x80000000u);
  EXPECT(mulhi(0x80000000u, 4u) == 2u && addsat(uchar(250), uchar(10)) == 255 && subsat(3u, 5u) == 0u && absdiff(-3, 4) == 7u);
  EXPECT(rotate(0x80000001u, 1u) == 3u && extract_bits(0xabcdu, 4, 8) == 0xbcu && extract_bits(int(0xf0), 4, 4) == -1);
  EXPECT(insert_bits(0u, 0xfu, 8, 4) == 0xf00u && hadd(3, 4) == 3 && rhadd(3, 4) == 4 && mad24(3, 4, 5) == 17);
}

kernel void geometric_functions(COMMON) {
  EXPECT(dot(float3(1, 2, 3), float3(4, 5, 6)) == 32 && all(cross(float3(1, 0, 0), float3(0, 1, 0)) == float3(0, 0, 1)));
  EXPECT(length(float2(3, 4)) == 5 && distance(float2(1, 1), float2(4, 5)) == 5 && abs(normalize(float2(3, 4)).x - 0.6f) < 1e-6f);
  EXPECT(all(reflect(float2(1, -1), float2(0, 1)) == float2(1, 1)));
}

kernel void pack_functions(COMMON) {
  EXPECT(all(unpack_unorm4x8_to_float(0xff000000u) == float4(0, 0, 0, 1)) && pack_float_to_unorm4x8(float4(1, 0, 0, 0)) == 0xffu);
  EXPECT(unpack_snorm2x16_to_float(0x00007fffu).x == 1.0f);
}

kernel void threadgroup_variables(COMMON) {
  threadgroup float row[32], other[2][16];
  threadgroup __attribute__((aligned(16))) half4 wide[4];
  row[lane] = float(lane);
  other[lane / 16][lane % 16] = 100 + lane;
  if (lane < 4) wide[lane] = half4(lane);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  threadgroup const float* back = row + 31;
  EXPECT(*(back - lane) == 31 - lane && other[1][15] == 131 && wide[3].w == 3.0h);
}

kernel void threadgroup_arguments(COMMON, threadgroup float* dynamic [[threadgroup(0)]]) {
  dynamic[lane] = lane;
  threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
  EXPECT(dynamic[lane ^ 1] == float(lane ^ 1));
}

kernel void simd_reductions(COMMON) {
  EXPECT(simd_sum(lane) == 496 && simd_max(float(lane)) == 31 && simd_min(int(lane) - 5) == -5 && simd_product(lane < 5 ? 2 : 1) == 32);
  EXPECT(simd_and(lane | 8) == 8u && simd_or(lane) == 31u && simd_xor(lane == 3 ? 5u : 0u) == 5u);
  EXPECT(all(simd_sum(float2(lane, 1)) == float2(496, 32)) && simd_sum(1.0h) == 32.0h);
}

kernel void simd_prefixes(COMMON) {
  EXPECT(simd_prefix_inclusive_sum(1u) == lane + 1 && simd_prefix_exclusive_sum(lane) == lane * (lane - 1) / 2);
  EXPECT(simd_prefix_exclusive_product(lane == 0 ? 3 : 1) == (lane == 0 ? 1 : 3));
}

kernel void simd_shuffles(COMMON) {
  EXPECT(simd_shuffle(lane, ushort(31 - lane)) == 31 - lane && simd_shuffle_xor(lane, 5) == (lane ^ 5) && simd_broadcast(lane, 7) == 7);
  uint down = simd_shuffle_down(lane, 3), up = simd_shuffle_up(lane, 2);
  EXPECT(lane > 28 || down == lane + 3);
  EXPECT(lane < 2 || up == lane - 2);
  EXPECT(simd_shuffle_rotate_down(lane, 3) == (lane + 3) % 32 && simd_shuffle_rotate_up(lane, 3) == (lane + 29) % 32);
  EXPECT(simd_shuffle_and_fill_down(lane, 100 + lane, 4) == (lane < 28 ? lane + 4 : 100 + lane - 28));
  EXPECT(simd_shuffle_and_fill_up(lane, 100 + lane, 4) == (lane >= 4 ? lane - 4 : 100 + lane + 28));
  EXPECT(simd_broadcast_first(lane + 9) == 9 && all(simd_shuffle(float4(lane), ushort(2)) == float4(2)));
}

kernel void simd_votes(COMMON) {
  EXPECT(simd_all(lane < 32) && simd_any(lane == 9) && !simd_any(lane == 40));
  simd_vote even = simd_ballot(lane % 2 == 0);
  EXPECT((simd_vote::vote_t)even == 0x55555555ull && !even.all() && even.any() && simd_active_threads_mask().all());
  EXPECT(simd_is_first() == (lane == 0));
}

kernel void quad_functions(COMMON) {
  EXPECT(quad_sum(lane) == lane / 4 * 16 + 6 && quad_max(lane) == lane / 4 * 4 + 3 && quad_broadcast(lane, 2) == lane / 4 * 4 + 2);
  EXPECT(quad_shuffle_xor(lane, 1) == (lane ^ 1) && quad_shuffle(lane, ushort(3 - lane % 4)) == lane / 4 * 4 + 3 - lane % 4);
  EXPECT(quad_prefix_inclusive_sum(1u) == lane % 4 + 1 && quad_all(true) && quad_ballot(lane % 4 == 1).any());
}

kernel void barriers_and_fences(COMMON) {
  threadgroup uint turn[1];
  if (lane == 0) turn[0] = 5;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  EXPECT(turn[0] == 5);
  atomic_thread_fence(mem_flags::mem_device, memory_order_seq_cst, thread_scope_device);
  threadgroup_barrier(mem_flags::mem_none);
}

kernel void simdgroup_matrices(COMMON) {
  threadgroup float a[64], b[64], c[64];
  for (uint i = lane; i < 64; i += 32) {
    a[i] = i % 7;
    b[i] = i % 5;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_float8x8 x, y, sum = make_filled_simdgroup_matrix<float, 8>(1.0f);
  simdgroup_load(x, a, 8);
  simdgroup_load(y, b, 8, ulong2(0, 0), true);
  simdgroup_multiply_accumulate(sum, x, y, sum);
  simdgroup_store(sum, c, 8);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = lane; i < 64; i += 32) {
    float wanted = 1;
    for (uint k = 0; k < 8; ++k) wanted += a[i / 8 * 8 + k] * b[i % 8 * 8 + k];
    EXPECT(c[i] == wanted);
  }
  simdgroup_half8x8 unit(1.0h), twice;
  simdgroup_matrix<float, 8, 8> product;
  simdgroup_multiply(twice, unit, unit);
  simdgroup_multiply(product, x, x * simdgroup_float8x8(2.0f));
  EXPECT(twice.thread_elements()[0] == unit.thread_elements()[0]);
}

kernel void atomics(COMMON, device atomic_uint* counter [[buffer(5)]], device atomic<float>* total [[buffer(6)]]) {
  threadgroup atomic_int most;
  if (lane == 0) atomic_store_explicit(&most, -1, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  uint before = atomic_fetch_add_explicit(counter, 1u, memory_order_relaxed);
  atomic_fetch_add_explicit(total, 0.5f, memory_order_relaxed);
  atomic_fetch_max_explicit(&most, int(lane), memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
  EXPECT(before < 32 && atomic_load_explicit(counter, memory_order_relaxed) == 32);
  EXPECT(atomic_load_explicit(total, memory_order_relaxed) == 16.0f && atomic_load_explicit(&most, memory_order_relaxed) == 31);
  threadgroup_barrier(mem_flags::mem_device);
  uint expected = atomic_load_explicit(counter, memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(counter, &expected, expected + 2, memory_order_relaxed, memory_order_relaxed)) {
  }
  threadgroup_barrier(mem_flags::mem_device);
  EXPECT(atomic_fetch_or_explicit(counter, 0u, memory_order_relaxed) == 96);
}

// Overloads and members that differ in address space alone.
float first_of(device const float* p) { return p[0]; }
float first_of(threadgroup const float* p) { return p[0]; }
float first_of(thread const float* p) { return p[0]; }
struct Box {
  float value;
  Box(float v) thread : value(v) {}
  Box(float v) device : value(v) {}
  float get() const thread { return value; }
  float get() const device { return value; }
  float get() const constant { return value; }
};
template <typename T>
struct pointee {};
template <typename T>
struct pointee<device T*> {
  typedef T type;
};
template <typename T>
struct pointee<threadgroup T*> {
  typedef T type;
};
kernel void address_space_overloads(COMMON) {
  threadgroup float shared[1];
  if (lane == 0) shared[0] = 6;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float own[1] = {7};
  EXPECT(first_of(memory) == 0 && first_of(shared) == 6 && first_of(own) == 7 && Box(3).get() == 3);
  pointee<device float*>::type x = 2.5f;
  EXPECT(x == 2.5f);
}

kernel void language(COMMON) {
  auto twice = [&](float v) { return 2 * v + lane; };
  EXPECT(twice(2) == 4 + lane);
  metal::array<int, 3> a = {1, 2, 3};
  int sum = 0;
#pragma unroll(3)
  for (ushort i = 0; i < a.size(); ++i) sum += a[i];
  EXPECT(sum == 6 && is_same_v<decltype(sum), int> && numeric_limits<uint>::max() == 0xffffffffu);
  if constexpr (sizeof(half) == 2) sum += 1;
  uniform<int> u = make_uniform(3);
  EXPECT(sum == 7 && u == 3 && metal::is_floating_point<bfloat>::value);
}

kernel void coherent_arguments(device uint* failed [[buffer(0)]],
                               volatile coherent(device) const device float* watched [[buffer(1)]], LANE) {
  EXPECT(watched[2] == 2.0f);
}
