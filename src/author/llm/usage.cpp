#include "author/llm/usage.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kw::author {
namespace {

/// What a provider wraps around a prompt: roles, separators, its own preamble.
constexpr int64_t kWrapperTokens = 1024;

}  // namespace

Picodollars from_usd(double usd) { return static_cast<Picodollars>(std::llround(usd * static_cast<double>(kDollar))); }
double to_usd(Picodollars amount) { return static_cast<double>(amount) / static_cast<double>(kDollar); }

std::string usd_text(Picodollars amount) {
  const double usd = to_usd(amount);
  return amount != 0 && std::fabs(usd) < 0.0001 ? fmt::format("${:.2g}", usd) : fmt::format("${:.4f}", usd);
}

Usage& Usage::operator+=(const Usage& other) {
  uncached_input += other.uncached_input;
  cache_read += other.cache_read;
  cache_write += other.cache_write;
  output += other.output;
  reasoning += other.reasoning;
  if (other.cost_usd) cost_usd = cost_usd.value_or(0) + *other.cost_usd;
  return *this;
}

Picodollars cost_of(const Usage& u, const Prices& p) {
  const Picodollars listed =
      u.uncached_input * p.input + u.cache_read * p.cache_read + u.cache_write * p.cache_write + u.output * p.output;
  return std::max(listed, u.cost_usd ? from_usd(*u.cost_usd) : 0);
}

Picodollars cost_bound(size_t prompt_bytes, int64_t max_output, const Prices& p) {
  const int64_t input = static_cast<int64_t>(prompt_bytes) + kWrapperTokens;
  return input * std::max({p.input, p.cache_read, p.cache_write}) + max_output * p.output;
}

}  // namespace kw::author
