#include "author/llm/retry.h"

#include <curl/curl.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "base/random.h"

namespace kw::author {
namespace {

/// Failures that another try may mend. Keys, credit and malformed requests are not among them.
constexpr std::string_view kWorthAnotherTry[] = {"llm.rate", "llm.overloaded", "llm.server",   "llm.cut", "llm.stream",
                                                 "http.dns", "http.connect",   "http.timeout", "http.cut"};

double number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return end != text.c_str() && *end == 0 && std::isfinite(value) && value >= 0 ? value : -1;
}

const std::string* header(const HttpReply* reply, const char* name) {
  if (reply == nullptr) return nullptr;
  const auto found = reply->headers.find(name);
  return found == reply->headers.end() ? nullptr : &found->second;
}

/// Seconds between the server's two dates; a jump of our own clock changes nothing.
double until_date(const std::string& when, const HttpReply* reply) {
  const std::string* now = header(reply, "date");
  if (now == nullptr) return -1;
  const auto then_s = curl_getdate(when.c_str(), nullptr), now_s = curl_getdate(now->c_str(), nullptr);
  return then_s < 0 || now_s < 0 ? -1 : std::max(0.0, static_cast<double>(then_s - now_s));
}

double asked_wait_s(const HttpReply* reply, double body_delay_s) {
  if (const std::string* ms = header(reply, "retry-after-ms"); ms && number(*ms) >= 0) return number(*ms) / 1000;
  if (const std::string* after = header(reply, "retry-after")) {
    const double seconds = number(*after);
    if (seconds >= 0) return seconds;
    if (const double dated = until_date(*after, reply); dated >= 0) return dated;
  }
  return body_delay_s;
}

bool worth_it(const Failure& failure, const HttpReply* reply) {
  if (const std::string* told = header(reply, "x-should-retry")) return *told == "true";
  for (std::string_view id : kWorthAnotherTry)
    if (failure.id == id) return true;
  return false;
}

}  // namespace

RetryAdvice advise(const Failure& failure, const HttpReply* reply, double body_delay_s, int tries,
                   const RetryPolicy& policy, uint64_t jitter_seed) {
  // A server may not talk us into trying a refused key or an empty account again.
  if (failure.id == "llm.auth" || failure.id == "llm.spend") return {};
  if (tries > policy.retries || !worth_it(failure, reply)) return {};
  const double asked = asked_wait_s(reply, body_delay_s);
  if (asked >= 0) return {asked <= policy.longest_s, asked};
  const double step = std::min(policy.most_s, policy.first_s * std::ldexp(1.0, tries - 1));
  return {true, step * (0.75 + 0.5 * Random(jitter_seed + static_cast<uint64_t>(tries)).uniform())};
}

}  // namespace kw::author
