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
    double idle_waiting_s = 0;  // not measuring although a measurement waited
    int measurements = 0;
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
    std::unique_lock<std::mutex> lock_;
    double begun_s_;
  };
  Account account() const;

 private:
  std::mutex turn_;
  mutable std::mutex mutex_;
  int waiting_ = 0;
  double free_since_s_ = 0, wanted_since_s_ = 0;
  Account account_;
};

/// The same target, whose sessions take a turn at the device for every timing: for authors that measure by themselves.
std::unique_ptr<target::Target> gated(target::Target& target, Device& device);

}  // namespace kw::swarm
