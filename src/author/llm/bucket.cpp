#include "author/llm/bucket.h"

#include <algorithm>

#include "base/hash.h"

namespace kw::author {
namespace {

constexpr double kBurst = 8;            // requests that may leave at once
constexpr double kSlowestShare = 0.01;  // of the full rate

}  // namespace

TokenBucket::TokenBucket(Clock& clock, double per_minute)
    : clock_(clock),
      full_rate_(std::max(per_minute, 0.1) / 60),
      rate_(full_rate_),
      tokens_(kBurst),
      last_s_(clock.now_s()) {}

void TokenBucket::refill() {
  const double now = clock_.now_s();
  tokens_ = std::min(kBurst, tokens_ + rate_ * std::max(0.0, now - last_s_));
  last_s_ = now;
}

double TokenBucket::take() {
  const std::lock_guard lock(mutex_);
  refill();
  if (last_s_ < blocked_until_s_) return blocked_until_s_ - last_s_;
  if (tokens_ < 1) return (1 - tokens_) / rate_;
  tokens_ -= 1;
  return 0;
}

void TokenBucket::slow_down(double wait_s) {
  const std::lock_guard lock(mutex_);
  refill();
  rate_ = std::max(full_rate_ * kSlowestShare, rate_ / 2);
  tokens_ = std::min(tokens_, 1.0);
  blocked_until_s_ = std::max(blocked_until_s_, last_s_ + wait_s);
}

void TokenBucket::speed_up() {
  const std::lock_guard lock(mutex_);
  rate_ += (full_rate_ - rate_) / 20;
}

double TokenBucket::per_minute() const {
  const std::lock_guard lock(mutex_);
  return rate_ * 60;
}

TokenBucket& Buckets::of(const std::string& host, const std::string& key, double per_minute) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<TokenBucket>& bucket = buckets_[sha256(host + "\n" + key)];
  if (!bucket) bucket = std::make_unique<TokenBucket>(clock_, per_minute);
  return *bucket;
}

}  // namespace kw::author
