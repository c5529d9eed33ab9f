#include "base/clock.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace kw {
namespace {

constexpr double kPollEvery_s = 0.02;

class SystemClock final : public Clock {
 public:
  double now_s() override {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  double wall_s() override {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  bool sleep_s(double seconds, const std::function<bool()>& cancelled) override {
    const double end = now_s() + seconds;
    for (double left = seconds; left > 0; left = end - now_s()) {
      if (cancelled && cancelled()) return false;
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, kPollEvery_s)));
    }
    return !(cancelled && cancelled());
  }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

}  // namespace kw
