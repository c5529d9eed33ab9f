#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace kw::author {

/// Money in 10^-12 USD: a token's price is then a whole number and sums are exact.
using Picodollars = int64_t;
constexpr Picodollars kDollar = 1'000'000'000'000;
Picodollars from_usd(double usd);
double to_usd(Picodollars amount);
/// "$0.0421": four digits, more only where the amount would otherwise show as zero.
std::string usd_text(Picodollars amount);

/// Tokens of one call, whatever the provider calls them. `uncached_input` leaves out both cache fields.
struct Usage {
  int64_t uncached_input = 0, cache_read = 0, cache_write = 0;
  int64_t output = 0;              // all of it
  int64_t reasoning = 0;           // of which was thought
  std::optional<double> cost_usd;  // where the provider says what it charges
  Usage& operator+=(const Usage& other);
  int64_t input() const { return uncached_input + cache_read + cache_write; }
};

/// Of one token.
struct Prices {
  Picodollars input = 0, cache_read = 0, cache_write = 0, output = 0;
};

/// What the usage costs by the price list, or what the provider says where it says more.
Picodollars cost_of(const Usage& usage, const Prices& prices);

/// No call with a prompt of so many bytes and so many output tokens can cost more: no token is shorter than a byte.
Picodollars cost_bound(size_t prompt_bytes, int64_t max_output, const Prices& prices);

}  // namespace kw::author
