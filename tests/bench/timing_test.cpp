#include "bench/timing.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/random.h"
#include "bench/bench.h"

using namespace kw;
using namespace kw::bench;

namespace {

std::vector<double> noisy_ratios(double centre, double spread, int count, uint64_t seed) {
  Random random(seed);
  std::vector<double> ratios;
  for (int i = 0; i < count; ++i) ratios.push_back(centre * (1 + spread * random.normal()));
  return ratios;
}

const char* reply = R"({"type":"bench","note":"n","a_a":[[1.0,1.0],[1.01,1.0],[1.0,1.0]],"comparisons":[
 {"baseline":"eager","cold":[[2.0,1.0],[2.1,1.0],[1.9,1.0],[2.0,1.0]],"warm":[[3.0,1.0]]},
 {"baseline":"compile","failure":"no compiler"},
 {"baseline":"onnxruntime","cold":[[1.5,1.0],[1.5,1.0],[1.5,1.0],[1.5,1.0]]}]})";

}  // namespace

TEST_CASE("the median of an even count lies between the two in the middle") {
  CHECK(median_of({3, 1, 2}) == 2);
  CHECK(median_of({4, 1, 2, 3}) == 2.5);
  CHECK(median_of({}) == 0);
}

TEST_CASE("the bootstrap interval covers the true median about as often as it says") {
  int covered = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const Interval interval = bootstrap_median(noisy_ratios(1.5, 0.1, 40, seed), seed, 1000);
    CHECK(interval.lo <= interval.median);
    CHECK(interval.median <= interval.hi);
    covered += interval.lo <= 1.5 && 1.5 <= interval.hi;
  }
  CHECK(covered >= 180);
  CHECK(covered <= 199);
}

TEST_CASE("one wild block does not move the interval") {
  std::vector<double> ratios = noisy_ratios(1.2, 0.005, 31, 5);
  const Interval before = bootstrap_median(ratios, 1);
  ratios[3] = 40;
  const Interval after = bootstrap_median(ratios, 1);
  CHECK(std::abs(before.hi - after.hi) < 0.01);
}

TEST_CASE("verdicts") {
  struct Row {
    Interval interval;
    double a_a;
    TimingVerdict verdict;
  };
  const double infinity = INFINITY;
  const Row rows[] = {
      {{1.10, 1.03, 1.20}, 1.00, TimingVerdict::faster}, {{1.10, 1.02, 1.20}, 1.00, TimingVerdict::noisy},
      {{1.03, 1.01, 1.05}, 1.00, TimingVerdict::same},   {{1.00, 0.99, 1.01}, 1.00, TimingVerdict::same},
      {{0.90, 0.85, 0.97}, 1.00, TimingVerdict::slower}, {{1.00, 0.90, 1.10}, 1.00, TimingVerdict::noisy},
      {{2.00, 1.90, 2.10}, 1.05, TimingVerdict::noisy},  {{2.00, 1.90, 2.10}, NAN, TimingVerdict::noisy},
      {{2.00, 0, infinity}, 1.00, TimingVerdict::noisy}, {{NAN, NAN, NAN}, 1.00, TimingVerdict::noisy},
  };
  for (const Row& row : rows) CHECK(decide(row.interval, row.a_a, 0.03) == row.verdict);
}

TEST_CASE("a reply becomes intervals, and the hardest baseline is the one to beat") {
  BenchRequest request;
  request.seed = 1;
  const Timing timing = *timing_of_reply(reply, request);
  REQUIRE(timing.comparisons.size() == 3);
  CHECK(timing.a_a == 1.0);
  CHECK(timing.comparisons[0].median == doctest::Approx(2.0));
  CHECK(timing.comparisons[0].warm_median == 3.0);
  CHECK(timing.comparisons[0].verdict == TimingVerdict::faster);
  CHECK(timing.comparisons[1].failure == "no compiler");
  CHECK(timing.comparisons[1].verdict == TimingVerdict::noisy);
  CHECK(timing.fastest == 2);
  CHECK(timing.plausible);
}

TEST_CASE("a time below the roofline is implausible and proves nothing") {
  BenchRequest request;
  request.roofline_s = 2.0;
  const Timing timing = *timing_of_reply(reply, request);
  CHECK(!timing.plausible);
  for (const Comparison& comparison : timing.comparisons) CHECK(comparison.verdict == TimingVerdict::noisy);
}

TEST_CASE("a timing survives its JSON") {
  const Timing before = *timing_of_reply(reply, {});
  const Timing after = *timing_from_json(to_json(before));
  CHECK(to_json(after) == to_json(before));
  CHECK(after.comparisons[2].baseline == "onnxruntime");
}

TEST_CASE("bad replies are failures") {
  CHECK(timing_of_reply("", {}).failure().id == "bench.reply");
  CHECK(timing_of_reply("{}", {}).failure().id == "bench.reply");
  CHECK(timing_of_reply(R"({"a_a":[[1]],"comparisons":[]})", {}).failure().id == "bench.reply");
  CHECK(timing_of_reply(R"({"type":"error","id":"bench.package","message":"gone"})", {}).failure().id ==
        "bench.package");
  CHECK(timing_from_json(R"({"comparisons":[],"fastest":3,"a_a":1,"a_a_limit":1,"plausible":true,"note":""})")
            .failure()
            .id == "bench.json");
  CHECK(timing_from_json("[").failure().id == "bench.json");
}

TEST_CASE("a worker that is not there is named") {
  BenchRequest request;
  request.python = "/nonexistent/python";
  CHECK(run_bench(request).failure().id == "bench.worker");
}
