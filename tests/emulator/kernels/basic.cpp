#include "tests/emulator/kernels/by_hand.h"

static void axpy(const float* x, const float* y, float* out) {
  uint i = grid_x();
  out[i] = 2.0f * x[i] + y[i];
}
ENTRY(axpy, BUFFER(const float, 0), BUFFER(const float, 1), BUFFER(float, 2))

static void reduce(const float* x, float* out) {
  GROUP_ARRAY(float, partial, 32);
  float sum = simd_sum(x[grid_x()]);
  if (lane() == 0) partial[simdgroup()] = sum;
  barrier();
  if (simdgroup() == 0) {
    float all = simd_sum(lane() < kw_emu_current.group->simdgroups ? partial[lane()] : 0.0f);
    if (lane() == 0) out[kw_emu_current.group->position[0]] = all;
  }
}
ENTRY(reduce, BUFFER(const float, 0), BUFFER(float, 1))

static void reduce_no_barrier(const float* x, float* out) {
  GROUP_ARRAY(float, partial, 32);
  float sum = simd_sum(x[grid_x()]);
  if (lane() == 0) partial[simdgroup()] = sum;
  if (simdgroup() == 0) {
    float all = simd_sum(lane() < kw_emu_current.group->simdgroups ? partial[lane()] : 0.0f);
    if (lane() == 0) out[kw_emu_current.group->position[0]] = all;
  }
}
ENTRY(reduce_no_barrier, BUFFER(const float, 0), BUFFER(float, 1))

static void overrun(const float* x, float* out) { out[grid_x() + 1] = x[grid_x()]; }
ENTRY(overrun, BUFFER(const float, 0), BUFFER(float, 1))

static void diverge(const float* x, float* out) {
  if (local() < 16) barrier();
  out[grid_x()] = x[grid_x()];
}
ENTRY(diverge, BUFFER(const float, 0), BUFFER(float, 1))

static void endless(const float* x, float* out) {
  volatile uint i = 0;
  while (grid_x() == 3) i = i + 1;
  out[grid_x()] = x[grid_x()];
}
ENTRY(endless, BUFFER(const float, 0), BUFFER(float, 1))

static void tree(const float* x, float* out) {
  GROUP_ARRAY(float, part, 256);
  part[local()] = x[grid_x()];
  barrier();
  for (uint s = 128; s > 0; s /= 2) {
    if (local() < s) part[local()] += part[local() + s];
    barrier();
  }
  if (local() == 0) out[kw_emu_current.group->position[0]] = part[0];
}
ENTRY(tree, BUFFER(const float, 0), BUFFER(float, 1))

static const KwEmuParam three[] = {kw_emu_param<const float*>(0, 0, "x", 3), kw_emu_param<const float*>(0, 1, "y", 3),
                                   kw_emu_param<float*>(0, 2, "out", 3)};
static const KwEmuParam two[] = {kw_emu_param<const float*>(0, 0, "x", 3), kw_emu_param<float*>(0, 1, "out", 3)};
static const KwEmuKernel kernels[] = {
    {"axpy", entry_axpy, three, 3, 3, __FILE__},
    {"reduce", entry_reduce, two, 2, 9, __FILE__},
    {"reduce_no_barrier", entry_reduce_no_barrier, two, 2, 21, __FILE__},
    {"overrun", entry_overrun, two, 2, 32, __FILE__},
    {"diverge", entry_diverge, two, 2, 35, __FILE__},
    {"endless", entry_endless, two, 2, 41, __FILE__},
    {"tree", entry_tree, two, 2, 48, __FILE__},
};
static const KwEmuModule module = {KW_EMU_ABI_VERSION, 7, kernels, 0, nullptr, nullptr};
extern "C" const KwEmuModule* kw_emu_module(void) { return &module; }
