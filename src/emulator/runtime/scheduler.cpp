#include "emulator/runtime/scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/result.h"
#include "emulator/runtime/profile.h"
#include "emulator/runtime/switch.h"

__thread KwEmuCurrent kw_emu_current;

namespace kw::emulator {
namespace {

constexpr uint32_t barrier_of_the_living = 8;

void fill_poison(char* begin, size_t bytes) {
  constexpr uint64_t pattern = 0x0001000100010001u * KW_EMU_POISON16;
  for (size_t at = 0; at + 8 <= bytes; at += 8) std::memcpy(begin + at, &pattern, 8);
}

uint32_t full_lanes(uint32_t size, uint32_t simdgroup) {
  const uint32_t left = size - simdgroup * lanes_per_simdgroup;
  return left >= lanes_per_simdgroup ? ~0u : (1u << left) - 1;
}

/// Values are small: a call of memcpy costs more than they do.
void copy_value(void* to, const void* from, uint32_t bytes) {
  switch (bytes) {
    case 4:
      std::memcpy(to, from, 4);
      return;
    case 8:
      std::memcpy(to, from, 8);
      return;
    case 16:
      std::memcpy(to, from, 16);
      return;
    default:
      std::memcpy(to, from, bytes);
  }
}

bool same(const KwEmuSite& a, const KwEmuSite& b) {
  return a.line == b.line && a.column == b.column && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

void give_up_here() { running_scheduler->give_up(); }

}  // namespace

__thread Scheduler* running_scheduler = nullptr;
__thread Follower* running_follower = nullptr;

Stacks::Stacks(uint32_t count) : count_(count) {
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* mapped = ::mmap(nullptr, count * stack_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  check(mapped != MAP_FAILED, "no memory for the threads' stacks");
  begin_ = static_cast<char*>(mapped);
  for (uint32_t i = 0; i < count; ++i) ::mprotect(begin_ + i * stack_bytes, 4096, PROT_NONE);
}

Stacks::~Stacks() { ::munmap(begin_, count_ * stack_bytes); }

Scheduler::Scheduler(Launch& launch) : launch_(launch) {
  const Size3& group = launch.dim.group;
  const uint32_t most = group[0] * group[1] * group[2];
  check(most > 0 && most <= max_group_threads, "threads per threadgroup");
  stacks_ = std::make_unique<Stacks>(most);
  threads_ = std::make_unique<KwEmuThread[]>(most);
  fibers_ = std::make_unique<Fiber[]>(most);
  simdgroups_ = std::make_unique<Simdgroup[]>(max_simdgroups);
  for (uint32_t i = 0; i < most; ++i) fibers_[i].top = stacks_->top(i);
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  void* arena = ::mmap(nullptr, GroupArena::capacity_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  check(arena != MAP_FAILED, "no memory for a threadgroup");
  arena_ = static_cast<char*>(arena);
  fill_poison(arena_, GroupArena::capacity_bytes);
  seeded_ = launch.seed != 0;
  checked_ = launch.mode != Mode::plain;
}

Scheduler::~Scheduler() { ::munmap(arena_, GroupArena::capacity_bytes); }

void Scheduler::run() {
  running_scheduler = this;
  if (checked_) follower_ = std::make_unique<Follower>(launch_, arena_, stacks_->begin(), stacks_->bytes());
  if (follower_) follower_->give_up = give_up_here;
  running_follower = follower_.get();
  if (launch_.mode == Mode::profile) profile_ = std::make_unique<ThreadProfile>(*launch_.profile, arena_);
  const Size3 groups = launch_.dim.groups();
  for (size_t i = 0; i < 3; ++i) {
    group_.groups[i] = groups[i];
    group_.grid[i] = launch_.dim.threads[i];
    group_.dispatch_size[i] = launch_.dim.group[i];
  }
  const Size3& size = launch_.dim.group;
  group_.dispatch_simdgroups = (size[0] * size[1] * size[2] + lanes_per_simdgroup - 1) / lanes_per_simdgroup;
  kw_emu_current = {nullptr, &group_, arena_};
  args_ = launch_.args;  // threadgroup arguments are offsets + 1 there
  for (void*& at : args_.threadgroup) at = at ? arena_ + (reinterpret_cast<uintptr_t>(at) - 1) : arena_;
  if (begin_group()) {
    const int first = pick();
    go(&main_stack_, first);
  }
  if (profile_) profile_->finish(*launch_.profile);
  profile_.reset();
  kw_emu_current = {};
  running_scheduler = nullptr;
  running_follower = nullptr;
}

/// A stack that has nothing left to run starts what pick() chose.
void Scheduler::fiber_main() {
  for (;;) {
    Scheduler& self = *running_scheduler;
    self.launch_.kernel->entry(&self.args_);
    void* abandoned = nullptr;
    if (self.next_ == none) kw_emu_switch_stack(&abandoned, self.main_stack_);
    self.go(&abandoned, self.next_);
  }
}

bool Scheduler::begin_group() {
  uint64_t linear = 0;
  if (!launch_.claim(linear)) return false;
  place_group(linear);
  ++counts_.groups;
  counts_.threads += size_;
  fill_poison(arena_, launch_.arena->used_bytes());
  for (uint32_t i = 0; i < group_.simdgroups; ++i) {
    Simdgroup& s = simdgroups_[i];
    s.ready = s.live = s.fresh = s.full;
    s.at_simd = s.at_barrier = 0;
  }
  runnable_ = group_.simdgroups == 32 ? ~0u : (1u << group_.simdgroups) - 1;
  cursor_ = waiting_ = ended_ = 0;
  sites_differ_ = false;
  steps_left_ = launch_.step_limit ? launch_.step_limit : ~uint64_t{0};
  random_ = (launch_.seed ^ linear * 0x9e3779b97f4a7c15u) | 1;
  if (seeded_) cursor_ = choose_simdgroup();
  if (follower_) follower_->begin_group(linear);
  if (profile_) profile_->begin_group(linear, size_);
  return true;
}

void Scheduler::place_group(uint64_t linear) {
  group_number_ = linear;
  bool resized = size_ == 0;
  for (size_t i = 0; i < 3; ++i) {
    group_.position[i] = static_cast<uint32_t>(linear % group_.groups[i]);
    linear /= group_.groups[i];
    group_.origin[i] = group_.position[i] * group_.dispatch_size[i];
    const uint32_t size = std::min(group_.dispatch_size[i], group_.grid[i] - group_.origin[i]);
    resized |= size != group_.size[i];
    group_.size[i] = size;
  }
  if (resized) size_group();
}

void Scheduler::size_group() {
  size_ = group_.size[0] * group_.size[1] * group_.size[2];
  group_.simdgroups = (size_ + lanes_per_simdgroup - 1) / lanes_per_simdgroup;
  for (uint32_t i = 0; i < group_.simdgroups; ++i) simdgroups_[i].full = full_lanes(size_, i);
  for (uint32_t i = 0; i < size_; ++i)
    threads_[i] = {{i % group_.size[0], i / group_.size[0] % group_.size[1], i / (group_.size[0] * group_.size[1])},
                   i,
                   i % lanes_per_simdgroup,
                   i / lanes_per_simdgroup};
}

uint32_t Scheduler::random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return static_cast<uint32_t>(random_ >> 32);
}

namespace {

uint32_t nth_bit(uint32_t mask, uint32_t n) {
  for (; n > 0; --n) mask &= mask - 1;
  return static_cast<uint32_t>(std::countr_zero(mask));
}

}  // namespace

uint32_t Scheduler::choose_simdgroup() {
  if (!seeded_) return static_cast<uint32_t>(std::countr_zero(runnable_));
  return nth_bit(runnable_, random() % static_cast<uint32_t>(std::popcount(runnable_)));
}

int Scheduler::choose(uint32_t simdgroup) {
  const uint32_t ready = simdgroups_[simdgroup].ready;
  const uint32_t lane = seeded_ ? nth_bit(ready, random() % static_cast<uint32_t>(std::popcount(ready)))
                                : static_cast<uint32_t>(std::countr_zero(ready));
  return static_cast<int>(simdgroup * lanes_per_simdgroup + lane);
}

/// The fiber to go on with, or none when every threadgroup has ended.
int Scheduler::pick_slowly() {
  for (;;) {
    Simdgroup& s = simdgroups_[cursor_];
    if (s.ready) return choose(cursor_);
    if (s.at_simd) {
      meet(cursor_);
      if (seeded_) cursor_ = choose_simdgroup();
      continue;
    }
    runnable_ &= ~(1u << cursor_);
    if (runnable_)
      cursor_ = choose_simdgroup();
    else if (waiting_)
      release_barrier();
    else if (!begin_group())
      return none;
  }
}

/// No lane of the simdgroup can go on: those that wait in the first place of the code meet there.
void Scheduler::meet(uint32_t simdgroup) {
  Simdgroup& s = simdgroups_[simdgroup];
  Fiber* fibers = &fibers_[simdgroup * lanes_per_simdgroup];
  Meeting first = fibers[std::countr_zero(s.at_simd)].meeting;
  uint32_t mask = fibers[std::countr_zero(s.at_simd)].purpose.mask;
  uint32_t active = 0;
  for (uint32_t left = s.at_simd; left; left &= left - 1) {
    const int lane = std::countr_zero(left);
    if (fibers[lane].meeting < first) {
      first = fibers[lane].meeting;
      mask = fibers[lane].purpose.mask;
      active = 0;
    }
    if (fibers[lane].meeting == first && fibers[lane].purpose.mask == mask) active |= 1u << lane;
  }
  if (mask & s.live & ~active) [[unlikely]]
    active = complete_meeting(s, fibers, active);
  const Fiber& any = fibers[std::countr_zero(active)];
  if (any.combine) {
    any.combine(active, s.slots, slot_bytes);
    ++counts_.simd_operations[any.purpose.kind & 3];
  } else {
    ++counts_.simdgroup_barriers;
    if (follower_) follower_->clock.simdgroup_barrier(simdgroup, any.purpose.flags);
  }
  if (profile_) profile_->converge(simdgroup);
  s.at_simd &= ~active;
  s.ready |= active;
}

/// Lanes in `active` wait for others that are not there: of several places the first in which all are. Where there is
/// none the lanes would wait for ever (or not, which is worse): that is told, and they go on.
uint32_t Scheduler::complete_meeting(const Simdgroup& s, const Fiber* fibers, uint32_t active) {
  uint32_t best = 0;
  for (uint32_t left = s.at_simd; left;) {
    const Fiber& one = fibers[std::countr_zero(left)];
    uint32_t there = 0;
    for (uint32_t lanes = left; lanes; lanes &= lanes - 1) {
      const Fiber& other = fibers[std::countr_zero(lanes)];
      if (other.meeting == one.meeting && other.purpose.mask == one.purpose.mask) there |= lanes & -lanes;
    }
    left &= ~there;
    if (one.purpose.mask & s.live & ~there) continue;
    if (!best || one.meeting < fibers[std::countr_zero(best)].meeting) best = there;
  }
  if (best) return best;
  const Fiber& one = fibers[std::countr_zero(active)];
  RawReport raw = here(Fault::warp_divergence, one.site);
  raw.count = static_cast<uint32_t>(std::popcount(active));
  raw.memory_bytes = static_cast<uint64_t>(std::popcount(one.purpose.mask & s.live));
  launch_.reports->add(raw);
  return active;
}

RawReport Scheduler::here(Fault fault, const KwEmuSite& site) const {
  RawReport raw;
  raw.fault = fault;
  raw.site = site;
  std::copy_n(group_.position, 3, raw.group.begin());
  std::copy_n(threads_[static_cast<size_t>(current_)].position, 3, raw.thread.begin());
  return raw;
}

void Scheduler::check_barrier() {
  const bool all_must_come = !(barrier_flags_ & barrier_of_the_living);
  if (!sites_differ_ && !(ended_ && checked_ && all_must_come)) return;
  RawReport raw = here(Fault::barrier_divergence, barrier_site_);
  raw.count = waiting_;
  raw.memory_bytes = size_;
  if (sites_differ_) {
    raw.other_site = other_site_;
    raw.other_thread = other_thread_;
  }
  launch_.reports->add(raw);
  if (sites_differ_) give_up();
}

void Scheduler::release_barrier() {
  check_barrier();
  ++counts_.barriers;
  if (follower_) follower_->clock.threadgroup_barrier(barrier_flags_);
  if (profile_) profile_->barrier();
  waiting_ = 0;
  runnable_ = 0;
  for (uint32_t i = 0; i < group_.simdgroups; ++i) {
    Simdgroup& s = simdgroups_[i];
    s.ready |= s.at_barrier;
    s.at_barrier = 0;
    runnable_ |= s.ready ? 1u << i : 0;
  }
  cursor_ = choose_simdgroup();
}

inline void Scheduler::become(int fiber) {
  current_ = fiber;
  kw_emu_current.thread = &threads_[static_cast<size_t>(fiber)];
}

inline void Scheduler::go(void** from, int to) {
  become(to);
  ++counts_.switches;
  Fiber& fiber = fibers_[static_cast<size_t>(to)];
  Simdgroup& s = simdgroups_[static_cast<uint32_t>(to) / lanes_per_simdgroup];
  const uint32_t bit = 1u << (static_cast<uint32_t>(to) % lanes_per_simdgroup);
  if (s.fresh & bit) {
    s.fresh &= ~bit;
    fiber.stack = prepare_stack(fiber.top, fiber_main);
  }
  kw_emu_switch_stack(from, fiber.stack);
}

inline void Scheduler::block(int self) {
  const int to = pick();
  if (to != self) go(&fibers_[static_cast<size_t>(self)].stack, to);
}

inline void Scheduler::count_step(const KwEmuSite& site) {
  if (--steps_left_ == 0) [[unlikely]]
    too_many_steps(site);
}

void Scheduler::too_many_steps(const KwEmuSite& site) {
  launch_.reports->add(here(Fault::endless, site));
  give_up();
}

void Scheduler::threadgroup_barrier(uint32_t flags, const KwEmuSite& site) {
  if (follower_) follower_->settle();
  count_step(site);
  const int self = current_;
  Simdgroup& s = simdgroups_[static_cast<uint32_t>(self) / lanes_per_simdgroup];
  const uint32_t bit = 1u << (static_cast<uint32_t>(self) % lanes_per_simdgroup);
  s.ready &= ~bit;
  s.at_barrier |= bit;
  if (waiting_++ == 0) {
    barrier_site_ = site;
    barrier_flags_ = flags;
  } else if (!same(site, barrier_site_) && !sites_differ_) {
    sites_differ_ = true;
    other_site_ = site;
    other_thread_ = static_cast<uint32_t>(self);
  }
  block(self);
}

void Scheduler::simd(void* value, uint32_t bytes, KwEmuCombine combine, const Purpose& purpose, const KwEmuSite& site,
                     const Meeting& meeting) {
  if (follower_) follower_->settle();
  count_step(site);
  const int self = current_;
  const uint32_t lane = static_cast<uint32_t>(self) % lanes_per_simdgroup;
  Simdgroup& s = simdgroups_[static_cast<uint32_t>(self) / lanes_per_simdgroup];
  check(bytes <= slot_bytes, "bytes of a simdgroup operation");
  char* slot = s.slots + lane * slot_bytes;
  if (bytes) copy_value(slot, value, bytes);
  Fiber& fiber = fibers_[static_cast<size_t>(self)];
  fiber.meeting = meeting;
  fiber.combine = combine;
  fiber.purpose = purpose;
  fiber.site = site;
  s.ready &= ~(1u << lane);
  s.at_simd |= 1u << lane;
  block(self);
  if (bytes) copy_value(value, slot, bytes);
}

bool Scheduler::next_thread() {
  const int self = current_;
  if (follower_) follower_->settle();
  const uint32_t bit = 1u << (static_cast<uint32_t>(self) % lanes_per_simdgroup);
  Simdgroup& s = simdgroups_[static_cast<uint32_t>(self) / lanes_per_simdgroup];
  s.live &= ~bit;
  s.ready &= ~bit;
  ++ended_;
  next_ = pick();
  if (next_ == none) return false;
  Simdgroup& to = simdgroups_[static_cast<uint32_t>(next_) / lanes_per_simdgroup];
  const uint32_t to_bit = 1u << (static_cast<uint32_t>(next_) % lanes_per_simdgroup);
  if (!(to.fresh & to_bit)) return false;
  // A thread that has not started goes on with this stack.
  to.fresh &= ~to_bit;
  std::swap(fibers_[static_cast<size_t>(next_)].top, fibers_[static_cast<size_t>(self)].top);
  become(next_);
  return true;
}

void Scheduler::give_up() {
  launch_.stop = true;
  void* abandoned = nullptr;
  kw_emu_switch_stack(&abandoned, main_stack_);
  __builtin_unreachable();
}

void Scheduler::out_of_group_memory(const KwEmuGroupSlot& slot) {
  RawReport raw = here(Fault::threadgroup_memory, KwEmuSite{slot.file, slot.line, 0});
  raw.memory = slot.name;
  raw.memory_bytes = uint64_t{launch_.arena->declared_bytes()} + slot.bytes;
  launch_.reports->add(raw);
  give_up();
}

}  // namespace kw::emulator
