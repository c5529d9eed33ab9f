#pragma once
#include <functional>

namespace kw {

/// Time, so that tests can play it. Waits and deadlines read the monotonic hand only: the wall clock may jump.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual double now_s() = 0;   // monotonic, from an arbitrary start
  virtual double wall_s() = 0;  // seconds since 1970; for what people read, never for waits
  /// False when `cancelled` turned true before the time was over.
  virtual bool sleep_s(double seconds, const std::function<bool()>& cancelled) = 0;
};

Clock& system_clock();

}  // namespace kw
