// libFuzzer target: the first byte picks a signature, the rest is a Plan's JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kernel/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kw;
  if (size == 0) return 0;
  kernel::Signature signature;
  for (int i = 0; i < data[0] % 3; ++i) signature.inputs.push_back({DType::f32, {6, 8}});
  signature.outputs = {{DType::f32, {6, 8}}};
  signature.parameters = {{"w", {DType::f32, {8, 8}}}, {"mean", {DType::f32, {8}}}};
  if (data[0] & 16) signature.states = {"mean"};
  auto plan = kernel::parse_plan({reinterpret_cast<const char*>(data + 1), size - 1});
  if (!plan) return 0;
  if (!kernel::parse_plan(kernel::to_json(*plan)).ok()) std::abort();  // what we write we must read
  kernel::Limits limits;
  limits.max_launches = 4096;
  (void)kernel::bind_plan(*plan, signature, limits).ok();
  return 0;
}
