#include "author/llm/retry.h"

#include <doctest/doctest.h>

#include "author/llm/bucket.h"
#include "fake_clock.h"

using namespace kw;
using namespace kw::author;

namespace {

const RetryPolicy policy;

RetryAdvice advice(const std::string& id, std::map<std::string, std::string> headers, int tries = 1) {
  const HttpReply reply{429, std::move(headers)};
  return advise({id, "", ""}, &reply, -1, tries, policy, 7);
}

}  // namespace

TEST_CASE("retry-after wins over the backoff, milliseconds over seconds, and the server's word over both") {
  CHECK(advice("llm.rate", {{"retry-after", "3"}}).wait_s == 3);
  CHECK(advice("llm.rate", {{"retry-after", "3"}, {"retry-after-ms", "250"}}).wait_s == 0.25);
  CHECK_FALSE(advice("llm.rate", {{"x-should-retry", "false"}}).retry);
  CHECK(advice("llm.request", {{"x-should-retry", "true"}}).retry);
  CHECK_FALSE(advice("llm.rate", {{"retry-after", "3600"}}).retry);
  CHECK(advice("llm.rate", {{"retry-after", "3600"}}).wait_s == 3600);
  CHECK(advice("llm.rate", {{"retry-after", "-5"}}).wait_s < 1);
  CHECK(advice("llm.rate", {{"retry-after", "soon"}}).wait_s < 1);
}

TEST_CASE("a date is read against the server's own clock") {
  const auto dated =
      advice("llm.rate", {{"date", "Sun, 06 Nov 1994 08:49:37 GMT"}, {"retry-after", "Sun, 06 Nov 1994 08:49:57 GMT"}});
  CHECK(dated.retry);
  CHECK(dated.wait_s == 20);
}

TEST_CASE("the backoff doubles with jitter up to its end, and tries end") {
  RetryPolicy long_policy;
  long_policy.retries = 10;
  double step = 0.5;
  for (int tries = 1; tries <= 8; ++tries, step = std::min(8.0, step * 2)) {
    const auto told = advise({"llm.server", "", ""}, nullptr, -1, tries, long_policy, 99);
    CHECK(told.retry);
    CHECK(told.wait_s >= 0.75 * step);
    CHECK(told.wait_s <= 1.25 * step);
  }
  CHECK_FALSE(advise({"llm.server", "", ""}, nullptr, -1, 3, policy, 1).retry);
}

TEST_CASE("what another try cannot mend is not tried again, whatever the server says") {
  for (const char* id : {"llm.auth", "llm.spend"})
    CHECK_FALSE(advice(id, {{"x-should-retry", "true"}, {"retry-after", "1"}}).retry);
  for (const char* id : {"llm.request", "llm.model", "llm.context", "llm.refusal", "llm.too_large", "llm.utf8"})
    CHECK_FALSE(advice(id, {}).retry);
  for (const char* id : {"llm.rate", "llm.overloaded", "llm.server", "llm.cut", "http.dns", "http.connect", "http.cut"})
    CHECK(advice(id, {}).retry);
}

TEST_CASE("a bucket is shared by a key, slows down on 429 and recovers") {
  testing::FakeClock clock;
  Buckets buckets(clock);
  TokenBucket& bucket = buckets.of("https://host", "key", 60);
  CHECK(&bucket == &buckets.of("https://host", "key", 60));
  CHECK(&bucket != &buckets.of("https://host", "other", 60));
  int sent = 0;
  while (bucket.take() == 0) ++sent;
  CHECK(sent == 8);  // the burst
  clock.monotonic_s += 1;
  CHECK(bucket.take() == 0);
  CHECK(bucket.take() > 0.9);
  bucket.slow_down(5);
  CHECK(bucket.per_minute() == 30);
  clock.monotonic_s += 4;
  CHECK(bucket.take() == doctest::Approx(1));
  clock.monotonic_s += 1;
  CHECK(bucket.take() == 0);
  for (int i = 0; i < 100; ++i) bucket.speed_up();
  CHECK(bucket.per_minute() > 59);
}

TEST_CASE("a jump of the wall clock moves no wait") {
  testing::FakeClock clock;
  TokenBucket bucket(clock, 60);
  while (bucket.take() == 0) {
  }
  const double before = bucket.take();
  clock.wall_clock_s -= 7200;
  CHECK(bucket.take() == before);
  clock.wall_clock_s += 86400;
  CHECK(bucket.take() == before);
}
