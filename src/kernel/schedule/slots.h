#pragma once
#include <string>
#include <vector>

#include "kernel/plan.h"

namespace kw::kernel::schedule {

/// Scratch buffers shared by values whose lifetimes do not meet: one list of slots a dtype.
class Slots {
 public:
  explicit Slots(std::string prefix) : prefix_(std::move(prefix)) {}
  /// Name of a free slot with room for `count` elements.
  std::string take(DType dtype, int64_t count);
  void give_back(const std::string& name);
  std::vector<Buffer> buffers() const;

 private:
  struct Slot {
    std::string name;
    DType dtype;
    int64_t count;
    bool free;
  };
  std::string prefix_;
  std::vector<Slot> slots_;
};

}  // namespace kw::kernel::schedule
