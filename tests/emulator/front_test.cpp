#include <dlfcn.h>
#include <doctest/doctest.h>

#include "base/file.h"
#include "emulator/front/compile.h"

using namespace kw;
using namespace kw::emulator;

namespace {

const TempDir& cache() {
  static const TempDir folder("kw-metal-test");
  return folder;
}
const HostToolchain& toolchain() {
  static const HostToolchain found = find_host_toolchain(cache().path()).value_or_throw();
  return found;
}
KernelSource source_of(const std::string& text) { return {text, "test.metal", {}, {}}; }

const char* const rows = R"(#include <metal_stdlib>
using namespace metal;
constant float scale [[function_constant(3)]];
constant bool scaled = is_function_constant_defined(scale);
struct Shape { uint n; };
template <typename T, int N>
[[kernel, max_total_threads_per_threadgroup(64)]] void rows(
    const device T* x [[buffer(1)]], device T* y, constant Shape& shape [[buffer(0)]],
    const device float* bias [[buffer(7), function_constant(scaled)]],
    threadgroup float* dynamic [[threadgroup(0)]],
    uint3 tid [[thread_position_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float part[N];
  part[lane] = simd_sum(float(x[tid.x])) * 1.5h;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[tid.x] = T(part[0]);
}
template [[host_name("rows_" "f32")]] [[kernel]] decltype(rows<float, 32>) rows<float, 32>;
template [[host_name("rows_bf16")]] kernel void rows<bfloat, 8>(const device bfloat*, device bfloat*, constant Shape&,
    const device float*, threadgroup float*, uint3, uint);
)";

}  // namespace

TEST_CASE("a source is described: kernels, arguments, function constants") {
  const auto seen = reflect_source(toolchain(), source_of(rows));
  REQUIRE_MESSAGE(seen.ok(), seen.failure().message);
  REQUIRE(seen->kernels.size() == 2);
  const KernelDescription& kernel = seen->kernels[0];
  CHECK(kernel.name == "rows_f32");
  CHECK(kernel.expression == "rows<float, 32>");
  CHECK(kernel.max_total_threads == 64);
  CHECK(kernel.line == 17);
  REQUIRE(kernel.arguments.size() == 7);
  const ArgumentDescription& x = kernel.arguments[0];
  CHECK(x.name == "x");
  CHECK(x.type == "const T*");
  CHECK(x.source == ArgumentSource::buffer);
  CHECK(x.index == 1u);
  CHECK(x.address_space == AddressSpace::device);
  CHECK_FALSE(x.is_written);
  CHECK(kernel.arguments[1].index == 2u);  // the first free place
  CHECK(kernel.arguments[1].is_written);
  CHECK(kernel.arguments[2].is_reference);
  CHECK_FALSE(kernel.arguments[2].is_written);
  CHECK(kernel.arguments[3].only_if == "scaled");
  CHECK(kernel.arguments[4].source == ArgumentSource::threadgroup);
  CHECK(kernel.arguments[5].source == ArgumentSource::position_in_threadgroup);
  CHECK(kernel.arguments[6].line == 11);
  REQUIRE(seen->constants.size() == 1);
  CHECK(seen->constants[0].name == "scale");
  CHECK(seen->constants[0].index == 3u);
}

TEST_CASE("a source compiles once and exports its module") {
  const auto first = compile_source(toolchain(), source_of(rows), {});
  REQUIRE_MESSAGE(first.ok(), first.failure().message);
  CHECK_FALSE(first->from_cache);
  const auto again = compile_source(toolchain(), source_of(rows), {});
  REQUIRE(again.ok());
  CHECK(again->from_cache);
  CHECK(again->key == first->key);
  CompileOptions checked;
  checked.mode.checked = true;
  checked.kernels = {"rows_f32"};
  const auto third = compile_source(toolchain(), source_of(rows), checked);
  REQUIRE_MESSAGE(third.ok(), third.failure().message);
  CHECK(third->key != first->key);
}

TEST_CASE("messages name the user's line and its words") {
  const auto bad = compile_source(toolchain(),
                                  source_of("#include <metal_stdlib>\nusing namespace metal;\n"
                                            "kernel void f(device float* x [[buffer(0)]],\n"
                                            "              uint i [[thread_position_in_grid]]) {\n"
                                            "  x[i] = missing;\n  x[i] = simd_sum();\n}\n"),
                                  {});
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.failure().id == "msl.compile");
  CHECK(bad.failure().message.find("test.metal:5: use of undeclared identifier 'missing'\n    x[i] = missing;") !=
        std::string::npos);
  CHECK(bad.failure().message.find("test.metal:6: no matching function for call to 'simd_sum'") != std::string::npos);
  const auto none = compile_source(toolchain(), source_of("#include <vector>\n"), {});
  CHECK(none.failure().message ==
        "the Metal source does not preprocess:\ntest.metal:1: 'vector' file not found\n    #include <vector>");
  const auto tensors = compile_source(
      toolchain(), source_of("\n#include <MetalPerformancePrimitives/MetalPerformancePrimitives.h>\n"), {});
  CHECK(tensors.failure().message.find("test.metal:2: tensor operations (mpp) are outside what the emulator covers") !=
        std::string::npos);
  CompileOptions options;
  options.kernels = {"columns"};
  CHECK(compile_source(toolchain(), source_of(rows), options).failure().message ==
        "test.metal has no kernel called \"columns\"");
}

TEST_CASE("an error within metal_stdlib is reported where the user led to it") {
  const auto bad = compile_source(toolchain(),
                                  source_of("#include <metal_stdlib>\nusing namespace metal;\n"
                                            "kernel void f(device float4* x [[buffer(0)]]) {\n"
                                            "  x[0] = x[0] * int4(1);\n}\n"),
                                  {});
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.failure().message.find("test.metal:4: ") != std::string::npos);
  CHECK(bad.failure().message.find("two vectors of different element types") != std::string::npos);
}

TEST_CASE("what only an instantiation shows is said at the user's line") {
  const auto compile = [](const std::string& body) {
    const auto made =
        compile_source(toolchain(), source_of("#include <metal_stdlib>\nusing namespace metal;\n" + body), {});
    REQUIRE_FALSE(made.ok());
    return made.failure().message;
  };
  const std::string large = compile(
      "template <typename T> kernel void f(device T* x [[buffer(0)]]) {\n"
      "  threadgroup T a[4096];\n  { threadgroup T b[4097];\n    x[0] = a[0] + b[0]; }\n}\n"
      "template [[host_name(\"f\")]] kernel void f<float>(device float*);\n");
  CHECK(large.find("test.metal:5: ") != std::string::npos);
  CHECK(large.find("threadgroup variables take more than 32768 bytes") != std::string::npos);
  const std::string wide = compile("kernel void f(device long* x [[buffer(0)]]) {\n  x[0] = simd_sum(x[0]);\n}\n");
  CHECK(wide.find("test.metal:4: ") != std::string::npos);
  CHECK(wide.find("no 64-bit values") != std::string::npos);
  const std::string bfloats = compile("kernel void f(device bfloat* x [[buffer(0)]]) {\n  x[0] = exp(x[0]);\n}\n");
  CHECK(bfloats.find("test.metal:4: ") != std::string::npos);
}

TEST_CASE("what Apple's compiler would refuse is refused, unless it is asked not to be") {
  const KernelSource source = source_of(
      "#include <metal_stdlib>\nkernel void f(device float* x [[buffer(0)]]) {\n  double y = 1; x[0] = y;\n}\n");
  const auto refused = compile_source(toolchain(), source, {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().id == "msl.rejected");
  CHECK(refused.failure().message ==
        "Apple's compiler would refuse this Metal source:\ntest.metal:3: Metal has no double; use float\n    double y "
        "= 1; x[0] = y;");
  CompileOptions lenient;
  lenient.lint = false;
  CHECK(compile_source(toolchain(), source, lenient).ok());
}
