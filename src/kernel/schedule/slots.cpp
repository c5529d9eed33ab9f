#include "kernel/schedule/slots.h"

#include <fmt/format.h>

#include <algorithm>

namespace kw::kernel::schedule {

std::string Slots::take(DType dtype, int64_t count) {
  count = std::max<int64_t>(count, 1);
  Slot* best = nullptr;
  for (Slot& s : slots_)
    if (s.free && s.dtype == dtype && s.count >= count && (!best || s.count < best->count)) best = &s;
  if (!best)  // growing a free slot beats a new one
    for (Slot& s : slots_)
      if (s.free && s.dtype == dtype && (!best || s.count > best->count)) best = &s;
  if (!best) {
    slots_.push_back({fmt::format("{}s{}", prefix_, slots_.size()), dtype, count, true});
    best = &slots_.back();
  }
  best->count = std::max(best->count, count);
  best->free = false;
  return best->name;
}

void Slots::give_back(const std::string& name) {
  for (Slot& s : slots_)
    if (s.name == name) s.free = true;
}

std::vector<Buffer> Slots::buffers() const {
  std::vector<Buffer> list;
  for (const Slot& s : slots_) {
    Buffer b;
    b.name = s.name;
    b.role = Role::scratch;
    b.dtype = s.dtype;
    b.shape = {s.count};
    list.push_back(std::move(b));
  }
  return list;
}

}  // namespace kw::kernel::schedule
