#pragma once
#include <memory>

#include "emulator/runtime/launch.h"
#include "emulator/runtime/memory.h"

/// Threads of a threadgroup as fibers of one operating-system thread.
namespace kw::emulator {

class ThreadProfile;

/// Which code a lane waits in: return addresses, outermost first. Lanes that wait in the same place meet; of several
/// places the one that comes first in the code is served first.
struct Meeting {
  uintptr_t outer = 0, inner = 0;
  auto operator<=>(const Meeting&) const = default;
};

/// Memory for the stacks of one threadgroup, with an unmapped page below each.
class Stacks {
 public:
  static constexpr size_t stack_bytes = 64 * 1024;
  explicit Stacks(uint32_t count);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  /// The upper end of a stack, shifted so that stacks do not fall onto the same lines of the cache.
  char* top(uint32_t i) const { return begin_ + (i + 1) * stack_bytes - (i % 23) * 192; }
  uintptr_t begin() const { return reinterpret_cast<uintptr_t>(begin_); }
  uint64_t bytes() const { return uint64_t{count_} * stack_bytes; }

 private:
  char* begin_;
  uint32_t count_;
};

class Scheduler {
 public:
  explicit Scheduler(Launch& launch);
  ~Scheduler();
  /// Runs threadgroups of the launch until none is left or the launch is stopped.
  void run();
  const Counts& counts() const { return counts_; }
  Follower* follower() { return follower_.get(); }

  // What generated code calls, on a fiber.
  void threadgroup_barrier(uint32_t flags, const KwEmuSite& site);
  /// What lanes meet for: a KW_EMU_OP_, mem_flags of a barrier, and who must come (0: whoever does).
  struct Purpose {
    uint32_t kind, flags, mask;
  };
  void simd(void* value, uint32_t bytes, KwEmuCombine combine, const Purpose& purpose, const KwEmuSite& site,
            const Meeting& meeting);
  bool next_thread();
  uint32_t live_lanes() const { return simdgroups_[current_ / lanes_per_simdgroup].live; }
  /// Ends the launch for good; does not return.
  [[noreturn]] void give_up();
  [[noreturn]] void out_of_group_memory(const KwEmuGroupSlot& slot);
  Launch& launch() { return launch_; }

 private:
  static constexpr uint32_t slot_bytes = 64;
  static constexpr int none = -1;
  struct Fiber {
    void* stack = nullptr;  // where it was left
    char* top = nullptr;
    Meeting meeting;
    KwEmuCombine combine = nullptr;
    Purpose purpose{};
    KwEmuSite site{};
  };
  struct Simdgroup {
    uint32_t full = 0;  // lanes that exist
    uint32_t ready = 0, live = 0, fresh = 0, at_simd = 0, at_barrier = 0;
    alignas(64) char slots[lanes_per_simdgroup * slot_bytes];
  };

  static void fiber_main();
  bool begin_group();
  void place_group(uint64_t linear);
  void size_group();
  int pick() {
    const Simdgroup& s = simdgroups_[cursor_];
    return s.ready && !seeded_ ? first_ready(s) : pick_slowly();
  }
  int first_ready(const Simdgroup& s) const {
    return static_cast<int>(cursor_ * lanes_per_simdgroup) + __builtin_ctz(s.ready);
  }
  int pick_slowly();
  int choose(uint32_t simdgroup);
  uint32_t choose_simdgroup();
  void meet(uint32_t simdgroup);
  uint32_t complete_meeting(const Simdgroup& s, const Fiber* fibers, uint32_t active);
  void release_barrier();
  void check_barrier();
  void become(int fiber);
  void block(int self);
  void go(void** from, int to);
  void count_step(const KwEmuSite& site);
  void too_many_steps(const KwEmuSite& site);
  RawReport here(Fault fault, const KwEmuSite& site) const;
  uint32_t random();

  Launch& launch_;
  KwEmuArgs args_{};
  Counts counts_;
  KwEmuGroup group_{};
  uint32_t size_ = 0, runnable_ = 0, cursor_ = 0, waiting_ = 0, ended_ = 0, barrier_flags_ = 0;
  int current_ = 0, next_ = none;
  uint64_t random_ = 1, group_number_ = 0, steps_left_ = 0;
  KwEmuSite barrier_site_{}, other_site_{};
  uint32_t other_thread_ = 0;
  bool sites_differ_ = false, seeded_ = false, checked_ = false;
  void* main_stack_ = nullptr;
  std::unique_ptr<Stacks> stacks_;
  char* arena_ = nullptr;
  std::unique_ptr<Follower> follower_;
  std::unique_ptr<ThreadProfile> profile_;
  std::unique_ptr<KwEmuThread[]> threads_;
  std::unique_ptr<Fiber[]> fibers_;
  std::unique_ptr<Simdgroup[]> simdgroups_;
};

/// The scheduler of this operating-system thread, and in checked launches its follower; or nullptr.
extern __thread Scheduler* running_scheduler;
extern __thread Follower* running_follower;

}  // namespace kw::emulator
