#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"

namespace kw::author {

/// Requests of one key, whoever sends them. Starts at the provider's rate, halves on 429, recovers slowly.
class TokenBucket {
 public:
  TokenBucket(Clock& clock, double per_minute);
  /// Takes one token now, or says how many seconds to wait before asking again.
  double take();
  /// The server said no: the rate halves, and nothing is sent for `wait_s`.
  void slow_down(double wait_s);
  /// The server said yes: a twentieth of the way back.
  void speed_up();
  double per_minute() const;

 private:
  void refill();
  Clock& clock_;
  mutable std::mutex mutex_;
  double full_rate_, rate_;  // tokens a second
  double tokens_, last_s_, blocked_until_s_ = 0;
};

/// One bucket for each key and host.
class Buckets {
 public:
  explicit Buckets(Clock& clock) : clock_(clock) {}
  TokenBucket& of(const std::string& host, const std::string& key, double per_minute);

 private:
  Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<TokenBucket>> buckets_;
};

}  // namespace kw::author
