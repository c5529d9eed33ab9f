#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>

#include "base/file.h"
#include "bench/bench.h"

using namespace kw;
using namespace kw::bench;

namespace {

/// A worker in shell: `compile` never comes back from its preparation, the others are timed.
const char* const stuck = R"(#!/bin/sh
request=$(cat)
case "$request" in *'"compile"'*)
  echo 'progress: preparing compile' >&2
  echo 'limit: compile 0.5' >&2
  sleep 100 & sleep 100
  exit 1
esac
echo 'limit: - 0' >&2
echo '{"type":"bench","note":"","a_a":[[1,1],[1,1]],"comparisons":[{"baseline":"eager","cold":[[2,1],[2,1],[2,1]]},
{"baseline":"onnxruntime","cold":[[1.5,1],[1.5,1],[1.5,1]]}]}' | tr -d '\n'
)";

}  // namespace

TEST_CASE("a baseline that does not come back is killed, and the others are timed without it") {
  const TempDir folder("kw-bench-test");
  BenchRequest request;
  request.python = (folder.path() / "python").string();
  std::ofstream(request.python) << stuck;
  ::chmod(request.python.c_str(), 0755);
  request.baselines = {"eager", "compile", "onnxruntime"};
  request.time_s = 20;
  const auto start = std::chrono::steady_clock::now();
  const auto timing = run_bench(request);
  REQUIRE_MESSAGE(timing.ok(), (timing.ok() ? "" : timing.failure().message));
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 10);
  REQUIRE(timing->comparisons.size() == 3);
  CHECK(timing->comparisons[1].baseline == "compile");
  CHECK(timing->comparisons[1].failure.find("killed") != std::string::npos);
  CHECK(timing->comparisons[0].median == doctest::Approx(2));
  CHECK(timing->comparisons[static_cast<size_t>(timing->fastest)].baseline == "onnxruntime");
}
