#include "emulator/runtime/launch.h"

#include <algorithm>
#include <bit>

namespace kw::emulator {
namespace {

uint64_t mixed(uint64_t x) {
  x ^= x >> 31;
  x *= 0x9e3779b97f4a7c15u;
  x ^= x >> 29;
  return x * 0xbf58476d1ce4e5b9u ^ x >> 32;
}

/// A permutation of [0, count) chosen by `seed`: a Feistel network over the next power of four, walked until inside.
uint64_t permuted(uint64_t at, uint64_t count, uint64_t seed) {
  const int half = (std::bit_width(count - 1) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = at >> half, right = at & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t next = left ^ (mixed(right + (seed ^ round << 56)) & mask);
      left = right;
      right = next;
    }
    at = left << half | right;
  } while (at >= count);
  return at;
}

bool same_place(const RawReport& a, const RawReport& b) {
  return a.fault == b.fault && a.pc == b.pc && a.other_pc == b.other_pc && a.site.line == b.site.line &&
         a.other_site.line == b.other_site.line && a.memory == b.memory;
}

}  // namespace

void Reports::add(const RawReport& report) {
  const std::lock_guard lock(mutex_);
  if (reports_.size() >= most) return;
  for (const RawReport& known : reports_)
    if (same_place(known, report)) return;
  reports_.push_back(report);
}

std::vector<RawReport> Reports::take() {
  const std::lock_guard lock(mutex_);
  return std::move(reports_);
}

void Counts::add(const Counts& other) {
  threads += other.threads;
  groups += other.groups;
  switches += other.switches;
  barriers += other.barriers;
  simdgroup_barriers += other.simdgroup_barriers;
  for (size_t i = 0; i < std::size(simd_operations); ++i) simd_operations[i] += other.simd_operations[i];
}

uint32_t GroupArena::place(const char* name, const char* file, uint32_t line, uint32_t bytes, uint32_t align,
                           uint32_t granule) {
  align = std::max({align, line_bytes, 1u});
  const uint64_t begin = (uint64_t{used_.load()} + align - 1) / align * align;
  const uint64_t end = begin + bytes;
  if (end + gap_bytes_ > capacity_bytes || count_ == max_variables) return capacity_bytes;
  const uint8_t granule_log2 = granule >= 4 ? 2 : granule >= 2 ? 1 : 0;
  variables_[count_++] = {name, file, line, static_cast<uint32_t>(begin), bytes, cells_, granule_log2};
  cells_ += (bytes >> granule_log2) + 1;
  for (uint64_t at = begin; at < end; at += line_bytes)
    owner_[at / line_bytes].store(static_cast<uint16_t>(count_), std::memory_order_relaxed);
  declared_ += bytes;
  used_ = static_cast<uint32_t>((end + gap_bytes_ + line_bytes - 1) / line_bytes * line_bytes);
  return static_cast<uint32_t>(begin);
}

uint32_t GroupArena::place(KwEmuGroupSlot* slot) {
  const std::lock_guard lock(mutex_);
  if (const uint32_t known = __atomic_load_n(&slot->offset_plus_one, __ATOMIC_RELAXED)) return known - 1;
  const uint32_t offset = place(slot->name, slot->file, slot->line, slot->bytes, slot->align, slot->granule);
  if (offset == capacity_bytes) return offset;
  slots_.push_back(slot);
  __atomic_store_n(&slot->offset_plus_one, offset + 1, __ATOMIC_RELEASE);
  return offset;
}

void GroupArena::forget_slots() {
  for (KwEmuGroupSlot* slot : slots_) slot->offset_plus_one = 0;
  slots_.clear();
}

uint64_t Launch::group_count() const {
  if (!only_groups.empty()) return only_groups.size();
  const Size3 count = dim.groups();
  return uint64_t{count[0]} * count[1] * count[2];
}

bool Launch::claim(uint64_t& group) {
  if (stop.load(std::memory_order_relaxed)) return false;
  const uint64_t count = group_count();
  const uint64_t at = next.fetch_add(1, std::memory_order_relaxed);
  if (at >= count) return false;
  group = seed && count > 1 ? permuted(at, count, seed) : at;
  if (!only_groups.empty()) group = only_groups[group];
  return true;
}

}  // namespace kw::emulator
