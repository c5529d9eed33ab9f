#pragma once
#include <atomic>

#include "base/clock.h"

namespace kw::testing {

/// Sleeping moves the hands and takes no time. The wall clock may be set to anything.
struct FakeClock final : Clock {
  std::atomic<double> monotonic_s{1000}, wall_clock_s{1.7e9}, slept_s{0};
  double jump_while_sleeping_s = 0;  // of the wall clock
  double now_s() override { return monotonic_s; }
  double wall_s() override { return wall_clock_s; }
  bool sleep_s(double seconds, const std::function<bool()>& cancelled) override {
    if (cancelled && cancelled()) return false;
    monotonic_s = monotonic_s + seconds;
    wall_clock_s = wall_clock_s + seconds + jump_while_sleeping_s;
    slept_s = slept_s + seconds;
    return true;
  }
};

}  // namespace kw::testing
