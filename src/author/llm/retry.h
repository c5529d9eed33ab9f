#pragma once
#include <cstdint>

#include "author/llm/http.h"

namespace kw::author {

struct RetryPolicy {
  int retries = 2;       // after the first try
  double first_s = 0.5;  // doubled each time
  double most_s = 8;
  double longest_s = 60;  // what a server may ask for; beyond it the call fails and says until when
};

struct RetryAdvice {
  bool retry = false;
  double wait_s = 0;
};

/// What to do after try number `tries` (1: the first). `reply` is null where no answer came; `body_delay_s` is what the
/// error's body asks for (negative: nothing). Honours x-should-retry, retry-after-ms and retry-after (seconds, or a
/// date which is read against the server's own Date, never against our clock); else backs off with jitter.
RetryAdvice advise(const Failure& failure, const HttpReply* reply, double body_delay_s, int tries,
                   const RetryPolicy& policy, uint64_t jitter_seed);

}  // namespace kw::author
