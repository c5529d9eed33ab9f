// CUDA C++ on the emulator: every construct of docs/cuda-coverage.md, in the worker, with and without checks.
#include <doctest/doctest.h>

#include <cstring>
#include <set>

#include "base/file.h"
#include "emulator/library.h"

using namespace kw;
using namespace kw::emulator;

namespace {

KernelSource source_of(const std::string& text, const std::string& name = "kernels.cu") {
  KernelSource source;
  source.text = text;
  source.name = name;
  source.dialect = Dialect::cuda;
  return source;
}

const std::filesystem::path& cache() {
  static const TempDir folder("kw-cuda-test");
  return folder.path();
}

std::string iota_bytes(int count) {
  std::string bytes(static_cast<size_t>(count) * 4, '\0');
  for (int i = 0; i < count; ++i) {
    const auto value = static_cast<float>(i);
    std::memcpy(bytes.data() + i * 4, &value, 4);
  }
  return bytes;
}

std::string as_bytes(int value) { return {reinterpret_cast<const char*>(&value), 4}; }

/// Launches a kernel of coverage.cu; the line of an expectation that does not hold, 0 if all do.
uint32_t run_construct(Library& library, const KernelDescription& kernel, const RunOptions& options,
                       std::vector<Report>& reports) {
  Job job;
  const uint32_t failed = job.buffer({"failed", 4}, as_bytes(0));
  const uint32_t memory = job.buffer({"memory", 4096}, iota_bytes(1024));
  const uint32_t out = job.buffer({"out", 4096}, std::string(4096, '\0'));
  const Status launched =
      job.launch(kernel, {failed, memory, out, job.constant(as_bytes(1024))}, {{0, 512}}, {{96, 4, 1}, {32, 2, 1}});
  REQUIRE_MESSAGE(launched.ok(), launched.failure().message);
  const auto reply = job.run(library.session(), options);
  REQUIRE_MESSAGE(reply.ok(), reply.failure().message);
  reports = reply->reports;
  uint32_t line = 0;
  std::memcpy(&line, library.session().data(failed), 4);
  return line;
}

void run_coverage(Mode mode, uint64_t seed) {
  const auto source = source_of(read_file("tests/emulator/cuda/coverage.cu").value_or_throw(), "coverage.cu");
  LibraryOptions options;
  options.mode = mode;
  options.cache_dir = cache();
  auto library = Library::open(source, options);
  REQUIRE_MESSAGE(library.ok(), library.failure().message);
  RunOptions run;
  run.mode = mode;
  run.seed = seed;
  for (const KernelDescription& kernel : (*library)->reflection().kernels) {
    std::vector<Report> reports;
    const uint32_t line = run_construct(**library, kernel, run, reports);
    CHECK_MESSAGE(line == 0, "coverage.cu:" << line << " in " << kernel.name);
    CHECK_MESSAGE(reports.empty(), kernel.name << ": " << (reports.empty() ? "" : reports[0].sentence));
  }
}

}  // namespace

TEST_CASE("every construct of CUDA does what the kernel that uses it expects") {
  run_coverage(Mode::plain, 0);
  run_coverage(Mode::checked, 0);
  run_coverage(Mode::checked, 7);
}

TEST_CASE("docs/cuda-coverage.md names every kernel of coverage.cu, and no other") {
  const auto toolchain = find_host_toolchain(cache());
  REQUIRE(toolchain.ok());
  const auto reflection = reflect_source(
      *toolchain, source_of(read_file("tests/emulator/cuda/coverage.cu").value_or_throw(), "coverage.cu"));
  REQUIRE_MESSAGE(reflection.ok(), reflection.failure().message);
  const std::string page = read_file("docs/cuda-coverage.md").value_or_throw();
  std::set<std::string> names;
  for (const KernelDescription& kernel : reflection->kernels) {
    names.insert(kernel.name);
    CHECK_MESSAGE(page.find("`" + kernel.name + "`") != std::string::npos, kernel.name);
  }
  for (size_t at = 0; (at = page.find("| `", at)) != std::string::npos; ++at) {
    const size_t end = page.find('`', at + 3);
    if (page.substr(end, 3) == "` |" && page[end + 3] == '\n')
      CHECK_MESSAGE(names.count(page.substr(at + 3, end - at - 3)), page.substr(at + 3, end - at - 3));
  }
}

TEST_CASE("an expectation that does not hold is told by its line") {
  const std::string text =
      "__global__ void f(unsigned* failed, const float* memory, float* out, int n) {\n"
      "  if (!(__reduce_add_sync(0xffffffffu, 1) == 31)) atomicMax(failed, __LINE__);\n}\n";
  LibraryOptions options;
  options.cache_dir = cache();
  auto library = Library::open(source_of(text), options);
  REQUIRE_MESSAGE(library.ok(), library.failure().message);
  std::vector<Report> reports;
  CHECK(run_construct(**library, (*library)->reflection().kernels[0], {}, reports) == 2);
}

TEST_CASE("arguments of a CUDA kernel are places in its list") {
  const auto toolchain = find_host_toolchain(cache());
  REQUIRE(toolchain.ok());
  const auto reflection = reflect_source(
      *toolchain,
      source_of("extern \"C\" __global__ void __launch_bounds__(128, 2)\nrows(const float* __restrict__ x, "
                "float* y,\n  const __grid_constant__ int n, float scale) { extern __shared__ float parts[]; }\n"
                "template <class T, int N> __global__ void t(T* x) {}\n"
                "template __global__ void t<float, 4>(float* x);\n"));
  REQUIRE_MESSAGE(reflection.ok(), reflection.failure().message);
  REQUIRE(reflection->kernels.size() == 2);
  const KernelDescription& rows = reflection->kernels[0];
  CHECK(rows.max_total_threads == 128);
  REQUIRE(rows.arguments.size() == 5);
  CHECK((rows.arguments[0].is_pointer && !rows.arguments[0].is_written && rows.arguments[1].is_written));
  CHECK((rows.arguments[2].is_reference && rows.arguments[2].type == "const int" && rows.arguments[3].name == "scale"));
  CHECK((rows.arguments[4].source == ArgumentSource::threadgroup && rows.arguments[4].name == "parts"));
  CHECK(reflection->kernels[1].name == "t<float,4>");
}
