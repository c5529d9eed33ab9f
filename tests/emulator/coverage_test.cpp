// Every construct of docs/metal-coverage.md, run on a runtime of one thread for each lane.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <set>

#include "base/file.h"
#include "emulator/front/compile.h"
#include "thread_runtime.h"

using namespace kw;
using namespace kw::emulator;

namespace {

struct Params {
  uint32_t count, gap;
  float scale[2], offset[3], tail;
};

/// The line at which the kernel's expectations fail, 0 if they hold.
uint32_t run_kernel(const KwEmuKernel& kernel) {
  uint32_t failed = 0, counter = 0;
  float memory[64], total = 0, first = 20.0f, extra = 0;
  alignas(64) float dynamic[64];
  for (int i = 0; i < 64; ++i) memory[i] = static_cast<float>(i);
  Params params = {7, 0, {1.5f, 2.5f}, {0, 0, 4.5f}, 0};
  KwEmuArgs args{};
  void* buffers[] = {&failed, memory, &first, &params, &extra, &counter, &total};
  std::copy(std::begin(buffers), std::end(buffers), args.buffer);
  args.threadgroup[0] = dynamic;
  thread_runtime::run(kernel.entry, args);
  return failed;
}

void set_constant(const KwEmuModule& module, uint32_t index, const void* value) {
  for (uint32_t i = 0; i < module.constant_count; ++i) {
    if (module.constants[i].index != index) continue;
    std::memcpy(module.constants[i].storage, value, module.constants[i].bytes);
    *module.constants[i].defined = 1;
  }
}

const KwEmuModule& load(const KernelModule& module) {
  void* handle = dlopen(module.binary.c_str(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(handle, dlerror());
  return *reinterpret_cast<const KwEmuModule* (*)()>(dlsym(handle, "kw_emu_module"))();
}

}  // namespace

TEST_CASE("an expectation that does not hold is told by its line") {
  const TempDir cache("kw-metal-coverage");
  auto toolchain = find_host_toolchain(cache.path());
  REQUIRE(toolchain.ok());
  const std::string text =
      "#include <metal_stdlib>\nkernel void f(device uint* failed [[buffer(0)]], uint lane "
      "[[thread_index_in_simdgroup]]) {\n"
      "  if (!(metal::simd_sum(lane) == 495)) failed[0] = __LINE__;\n}\n";
  const auto module = compile_source(*toolchain, {text, "wrong.metal", {}, {}}, {});
  REQUIRE_MESSAGE(module.ok(), module.failure().message);
  CHECK(run_kernel(load(*module).kernels[0]) == 3);
}

TEST_CASE("every construct does what the kernel that uses it expects") {
  const TempDir cache("kw-metal-coverage");
  auto toolchain = find_host_toolchain(cache.path());
  REQUIRE_MESSAGE(toolchain.ok(), toolchain.failure().message);
  const std::string text = read_file("tests/emulator/coverage.metal").value_or_throw();
  const auto module = compile_source(*toolchain, {text, "coverage.metal", {}, {}}, {});
  REQUIRE_MESSAGE(module.ok(), module.failure().message);
  const KwEmuModule& loaded = load(*module);
  const int32_t number = -3;
  const float scale = 2.5f;
  set_constant(loaded, 0, &number);
  set_constant(loaded, 2, &scale);
  loaded.refresh_constants();
  const std::string page = read_file("docs/metal-coverage.md").value_or_throw();
  std::set<std::string> names;
  for (uint32_t i = 0; i < loaded.kernel_count; ++i) {
    const std::string name = loaded.kernels[i].name;
    INFO(name);
    CHECK_MESSAGE(run_kernel(loaded.kernels[i]) == 0, "coverage.metal:" << run_kernel(loaded.kernels[i]));
    CHECK_MESSAGE(page.find("`" + name + "`") != std::string::npos, "docs/metal-coverage.md does not name " << name);
    names.insert(name);
  }
  // The page's last column names kernels that exist.
  for (size_t at = 0; (at = page.find("| `", at)) != std::string::npos; ++at) {
    const size_t end = page.find('`', at + 3);
    if (page.substr(end, 3) == "` |" && page[end + 3] == '\n')
      CHECK_MESSAGE(names.count(page.substr(at + 3, end - at - 3)), page.substr(at + 3, end - at - 3));
  }
}
