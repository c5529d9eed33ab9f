#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/file.h"
#include "base/process.h"
#include "target/cpu/cpu_target.h"
#include "target/cpu/toolchain.h"

using namespace kw;
using namespace kw::target;

namespace {

Target& machine() {
  static const TempDir cache("kw-target-test");
  static const auto target = std::move(open_cpu_target({.threads = 2, .cache_dir = cache.path()}).value_or_throw());
  return *target;
}

constexpr int64_t n = 1000;

/// y = kernel(x, w) over one input, one parameter, one prepared buffer, one scratch buffer and one state, all f32[n].
const char* const plan_text = R"({"format":"kernelwright-plan/1","target":"cpu","symbols":{},"guards":[],
 "buffers":{"x":{"role":"input","index":0},"w":{"role":"parameter","name":"w"},"s":{"role":"state","name":"s"},
  "p":{"role":"prepared","dtype":"f32","shape":[1000]},"t":{"role":"scratch","dtype":"f32","shape":[1000]},
  "y":{"role":"output","index":0}},
 "prepare":[{"kernel":"pack","args":["w","p"],"groups":[1,1,1],"group":[1,1,1]}],
 "steps":[{"kernel":"first","args":["x","p","t"],"groups":[4,1,1],"group":[1,1,1]},
  {"kernel":"second","args":["t","s","y",{"i64":"1000"}],"groups":[1,1,1],"group":[1,1,1]}]})";

const std::string good_pack =
    "KW_KERNEL void pack(const float* w, float* p, KwGroup) { for (int i = 0; i < 1000; ++i) p[i] = 2 * w[i]; }\n";
const std::string good_first =
    "KW_KERNEL void first(const float* x, const float* p, float* t, KwGroup g) {\n"
    "  for (int64_t i = g.x * 250; i < g.x * 250 + 250; ++i) t[i] = x[i] * p[i];\n}\n";
const std::string good_second =
    "KW_KERNEL void second(const float* t, float* s, float* y, int64_t count, KwGroup) {\n"
    "  for (int64_t i = 0; i < count; ++i) { y[i] = t[i] + s[i]; s[i] += 1; }\n}\n";

kernel::Plan test_plan() { return kernel::parse_plan(plan_text).value_or_throw(); }

kernel::Signature test_signature() {
  const kernel::Signature::Slot slot{DType::f32, {n}};
  return {{slot}, {slot}, {{"w", slot}, {"s", slot}}, {"s"}};
}

Tensor ramp(float scale) {
  Tensor tensor = Tensor::zeros(DType::f32, {n});
  for (int64_t i = 0; i < n; ++i) tensor.as<float>()[i] = scale * static_cast<float>(i);
  return tensor;
}

Result<std::unique_ptr<Session>> open_bound(const Compiled& compiled) {
  const auto bound = kernel::bind_plan(test_plan(), test_signature()).value_or_throw();
  auto session = machine().open(compiled, bound);
  if (!session) return session;
  if (Status status = (*session)->bind({{"w", ramp(0.5f)}, {"s", ramp(1)}}); !status.ok()) return status.failure();
  return session;
}

Result<RunReply> run_source(const std::string& source, RunOptions options = {}) {
  auto compiled = machine().compile(source, test_plan());
  if (!compiled) return compiled.failure();
  auto session = open_bound(*compiled);
  if (!session) return session.failure();
  return (*session)->run({ramp(1)}, options);
}

/// The reason why a run of that source fails; "" when it does not.
std::string failure_of(const std::string& source, RunOptions options = {}) {
  const auto reply = run_source(source, options);
  return reply.ok() ? "" : reply.failure().id + ": " + reply.failure().message;
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Builds a library that the source gate never saw, as hostile as a binary can be.
Compiled foreign_binary(const TempDir& folder, const std::string& text) {
  const auto source = folder.path() / "x.cpp", binary = folder.path() / "x.so";
  std::ofstream(source) << text;
  const auto reply =
      run_process({"g++", "-shared", "-fPIC", "-O1", "-o", binary.string(), source.string()}).value_or_throw();
  REQUIRE(reply.exit_code == 0);
  return {"foreign", "scalar", binary.string(), 0, false};
}

std::string foreign_failure(const std::string& first_body) {
  const TempDir folder("kw-foreign");
  const std::string text =
      "#include <cstdlib>\n#include <signal.h>\n#include <unistd.h>\n#include <fcntl.h>\n#include "
      "<sys/socket.h>\n#include <sys/mman.h>\n"
      "extern \"C\" {\nvoid kw_entry_pack(void* const*, const long*) {}\n"
      "void kw_entry_second(void* const*, const long*) {}\n"
      "void kw_entry_first(void* const* args, const long*) { (void)args; " +
      first_body + " }\n}\n";
  auto session = open_bound(foreign_binary(folder, text));
  if (!session) return session.failure().id + ": " + session.failure().message;
  const auto reply = (*session)->run({ramp(1)}, {.timeout_s = 3});
  return reply.ok() ? "" : reply.failure().id + ": " + reply.failure().message;
}

}  // namespace

TEST_CASE("what prepare left cannot be written by a step: no count of calls, no kept answer") {
  const std::string counting =
      "KW_KERNEL void first(const float* x, const float* p, float* t, KwGroup g) {\n"
      "  if (g.x == 0) const_cast<float*>(p)[0] += 1;\n"
      "  for (int64_t i = g.x * 250; i < g.x * 250 + 250; ++i) t[i] = x[i] * p[i];\n}\n";
  const std::string words = failure_of(good_pack + counting + good_second);
  CHECK_MESSAGE(holds(words, "run.crash"), words);
  CHECK_MESSAGE(holds(words, "read-only"), words);
}

TEST_CASE("a candidate runs: outputs, states, scratch, prepared, at every alignment and width") {
  for (const int threads : {1, 2}) {
    for (const int64_t offset : {0, 4, 60}) {
      const auto reply =
          run_source(good_pack + good_first + good_second, {.threads = threads, .base_offset_bytes = offset});
      REQUIRE_MESSAGE(reply.ok(), (reply.ok() ? "" : reply.failure().message));
      CHECK(reply->inputs_intact);
      for (int64_t i = 0; i < n; ++i) {
        REQUIRE(reply->outputs[0].as<float>()[i] == static_cast<float>(i * i + i));
        REQUIRE(reply->states.at("s").as<float>()[i] == static_cast<float>(i + 1));
      }
    }
  }
}

TEST_CASE("a session answers again and again, each run from the bound states, and times itself") {
  auto compiled = machine().compile(good_pack + good_first + good_second, test_plan());
  REQUIRE(compiled.ok());
  auto session = open_bound(*compiled);
  REQUIRE(session.ok());
  for (int i = 0; i < 3; ++i) {
    auto reply = (*session)->run({ramp(1)}, {});
    REQUIRE(reply.ok());
    CHECK(reply->states.at("s").as<float>()[1] == 2);
  }
  const auto times = (*session)->time({ramp(1)}, 2, 10, true, {});
  REQUIRE(times.ok());
  CHECK(times->seconds.size() == 10);
  CHECK(times->step_seconds.size() == 2);
  CHECK(times->seconds[5] > 0);
  CHECK((*session)->run({ramp(1)}, {}).ok());
}

TEST_CASE("a second compilation comes from the cache") {
  CHECK(machine().compile(good_pack + good_first + good_second + "// once\n", test_plan())->from_cache == false);
  CHECK(machine().compile(good_pack + good_first + good_second + "// once\n", test_plan())->from_cache == true);
}

TEST_CASE("the compiler's words name the candidate's own line") {
  const auto compiled = machine().compile("\n\nKW_KERNEL void first(int x) { return y; }\n", test_plan());
  REQUIRE_FALSE(compiled.ok());
  CHECK(compiled.failure().id == "compile.error");
  CHECK(holds(compiled.failure().message, "candidate.cpp:3:"));
}

TEST_CASE("a kernel that could write its input does not compile") {
  const std::string writes =
      "KW_KERNEL void first(float* x, const float* p, float* t, KwGroup g) { x[g.x] = t[g.x] = p[g.x]; }\n";
  CHECK(holds(failure_of(good_pack + writes + good_second), "compile.error"));
}

TEST_CASE("one element too many is a crash that names the buffer") {
  const std::string overrun =
      "KW_KERNEL void second(const float* t, float* s, float* y, int64_t n, KwGroup) { for (int64_t i = 0; i <= n; "
      "++i) y[i] = t[0] + s[0]; }\n";
  const std::string text = failure_of(good_pack + good_first + overrun);
  CAPTURE(text);
  CHECK(holds(text, "run.crash"));
  CHECK(holds(text, "step 1 (second)"));
  CHECK(holds(text, "a write 0 bytes past the end of y"));
}

TEST_CASE("one element read before an input is a crash or poison, one written before an output is found") {
  const std::string under =
      "KW_KERNEL void second(const float* t, float* s, float* y, int64_t n, KwGroup) { for (int64_t i = -1; i < n; "
      "++i) y[i] = t[0] + s[0]; }\n";
  CHECK(holds(failure_of(good_pack + good_first + under), "run.overrun: a kernel wrote outside the buffer y"));
}

TEST_CASE("an overrun of scratch is found although scratch is aligned") {
  const std::string over =
      "KW_KERNEL void first(const float* x, const float* p, float* t, KwGroup g) { for (int i = 0; i < 1001; ++i) t[i] "
      "= x[0] * p[0]; (void)g; }\n";
  CHECK_FALSE(failure_of(good_pack + over + good_second).empty());
}

TEST_CASE("writing an input through a cast is a crash that says so") {
  const std::string writes =
      "KW_KERNEL void first(const float* x, const float* p, float* t, KwGroup g) { ((float*)x)[g.x] = 1; t[0] = p[0]; "
      "}\n";
  CHECK(holds(failure_of(good_pack + writes + good_second), "which is read-only"));
}

TEST_CASE("what is not written stays poison") {
  const std::string lazy =
      "KW_KERNEL void second(const float* t, float* s, float* y, int64_t, KwGroup) { y[0] = t[0] + s[0]; }\n";
  const auto reply = run_source(good_pack + good_first + lazy);
  REQUIRE(reply.ok());
  CHECK(std::isnan(reply->outputs[0].as<float>()[1]));
}

TEST_CASE("a hang is ended by the clock") {
  const std::string hang =
      "KW_KERNEL void second(const float* t, float* s, float* y, int64_t, KwGroup) { volatile int i = 1; while (i) "
      "y[0] = t[0] + s[0]; }\n";
  CHECK(holds(failure_of(good_pack + good_first + hang, {.timeout_s = 0.5}), "run.timeout"));
}

TEST_CASE("static data and undefined symbols are refused after compilation") {
  const std::string counter =
      "static int calls;\nKW_KERNEL void second(const float* t, float* s, float* y, int64_t, KwGroup) { y[0] = t[0] + "
      "s[0] + ++calls; }\n";
  CHECK(holds(failure_of(good_pack + good_first + counter), "binary.forbidden"));
  const std::string call =
      "extern \"C\" int getpid();\nKW_KERNEL void second(const float* t, float* s, float* y, int64_t, KwGroup) { y[0] "
      "= t[0] + s[0] + getpid(); }\n";
  CHECK_FALSE(failure_of(good_pack + good_first + call).empty());
  const std::string construct =
      "struct A { A(); int x; };\nextern \"C\" double exp(double);\nA::A() : x((int)exp(1.0)) {}\nstatic A "
      "a;\nKW_KERNEL void second(const float* t, float* s, float* y, int64_t, KwGroup) { y[0] = t[0] + s[0] + a.x; }\n";
  CHECK_FALSE(failure_of(good_pack + good_first + construct).empty());
}

TEST_CASE("a hostile binary can open, connect, start or grow nothing") {
  for (const char* body : {"open(\"/etc/passwd\", O_RDONLY);", "socket(AF_INET, SOCK_STREAM, 0);", "for (;;) fork();",
                           "execl(\"/bin/sh\", \"sh\", (char*)0);", "kill(1, 9);",
                           "mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);"}) {
    const std::string text = foreign_failure(body);
    CAPTURE(body);
    CAPTURE(text);
    CHECK(holds(text, "run.crash"));
  }
}

TEST_CASE("huge output on the child's streams and its exit code decide nothing") {
  CHECK(foreign_failure("for (int i = 0; i < 100000; ++i) write(1, args, 8);").empty());
  CHECK(holds(foreign_failure("_exit(0);"), "run.crash"));
}
