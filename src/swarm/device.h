#pragma once
#include <memory>
#include <mutex>

#include "target/target.h"

namespace kw::swarm {

/// The device as a shared thing: one measurement at a time, and an account of how well it is used.
class Device {
 public:
  struct Account {
    double busy_s = 0;          // measuring
    double idle_ready_s = 0;    // not measuring although a measurement waited for its turn
    double idle_waiting_s = 0;  // the same, what was still being prepared for its measurement included
    int measurements = 0;
  };
  /// Somebody has something to measure from here on; what is still to be prepared counts as waiting.
  class Wish {
   public:
    explicit Wish(Device& device);
    ~Wish();
    Wish(const Wish&) = delete;
    Wish& operator=(const Wish&) = delete;

   private:
    Device& device_;
  };
  /// Held while measuring.
  class Turn {
   public:
    explicit Turn(Device& device);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Device& device_;
    Wish wish_;
    std::unique_lock<std::mutex> lock_;
  };
  Account account() const;

 private:
  void note(int wished, int ready, int measuring);

  std::mutex turn_;
  mutable std::mutex mutex_;
  int wished_ = 0, ready_ = 0, measuring_ = 0;
  double changed_s_ = 0;
  Account account_;
};

/// The same target, whose sessions take a turn at the device for every timing: for authors that measure by themselves.
std::unique_ptr<target::Target> gated(target::Target& target, Device& device);

}  // namespace kw::swarm
