#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "emulator/runtime/abi.h"

/// One launch as the worker process runs it: shared by its operating-system threads.
namespace kw::emulator {

using Size3 = std::array<uint32_t, 3>;

enum class Mode : uint8_t { plain, checked, profile };

constexpr uint32_t lanes_per_simdgroup = 32, max_group_threads = 1024, max_simdgroups = 32;

struct Dim {
  Size3 threads{1, 1, 1};  // of the whole grid; need not be a multiple of `group`
  Size3 group{1, 1, 1};
  Size3 groups() const {
    Size3 count;
    for (size_t i = 0; i < 3; ++i) count[i] = threads[i] / group[i] + (threads[i] % group[i] != 0);
    return count;
  }
};

enum class Fault : uint8_t {
  race,
  out_of_bounds,
  read_only,
  uninitialised,
  barrier_divergence,
  warp_divergence,
  endless,
  threadgroup_memory,
  crash,
};

/// A fault as the worker knows it: addresses of code, not lines yet.
struct RawReport {
  Fault fault = Fault::race;
  uint64_t pc = 0, other_pc = 0;  // in the module; 0 none
  KwEmuSite site{}, other_site{};
  bool write = false, other_write = false, device = false, atomic = false;
  std::string memory;  // name of the buffer or variable
  int64_t byte = 0;    // from its first byte
  uint64_t memory_bytes = 0;
  uint32_t access_bytes = 0;
  Size3 group{}, thread{};    // threadgroup_position_in_grid, thread_position_in_threadgroup
  uint64_t other_group = 0;   // linear
  uint32_t other_thread = 0;  // thread_index_in_threadgroup
  uint32_t count = 0;         // of something, see the sentence
};

/// Faults of a launch, each place once.
class Reports {
 public:
  void add(const RawReport& report);
  std::vector<RawReport> take();

 private:
  static constexpr size_t most = 64;
  std::mutex mutex_;
  std::vector<RawReport> reports_;
};

/// What a launch did. Of a profile run some are scaled from the groups that were followed.
struct Counts {
  uint64_t threads = 0, groups = 0, switches = 0, barriers = 0, simdgroup_barriers = 0;
  uint64_t simd_operations[4] = {};  // by KW_EMU_OP_
  void add(const Counts& other);
};

/// The layout of a threadgroup's memory: dynamic arguments first, then the variables met so far.
class GroupArena {
 public:
  static constexpr uint32_t capacity_bytes = 256 * 1024, line_bytes = 16, max_variables = 512;
  struct Variable {
    const char* name;
    const char* file;
    uint32_t line, begin, bytes, first_cell;
    uint8_t granule_log2;
  };
  /// `gap_bytes` lie between variables, so that a small overrun falls into none.
  explicit GroupArena(uint32_t gap_bytes) : gap_bytes_(gap_bytes) {}
  /// Offset, or capacity_bytes where it does not fit.
  uint32_t place(const char* name, const char* file, uint32_t line, uint32_t bytes, uint32_t align, uint32_t granule);
  /// The offset of a variable that a kernel declares; the same for all threads. fails: capacity_bytes
  uint32_t place(KwEmuGroupSlot* slot);
  /// The variable that holds `offset`, or nullptr.
  const Variable* find(uint32_t offset) const {
    const uint16_t number = owner_[offset / line_bytes].load(std::memory_order_relaxed);
    return number ? &variables_[number - 1] : nullptr;
  }
  uint32_t used_bytes() const { return used_.load(std::memory_order_relaxed); }
  uint32_t declared_bytes() const { return declared_; }
  void forget_slots();

 private:
  uint32_t gap_bytes_;
  std::mutex mutex_;
  std::atomic<uint32_t> used_{0};
  uint32_t declared_ = 0, count_ = 0, cells_ = 0;
  std::array<Variable, max_variables> variables_{};
  std::array<std::atomic<uint16_t>, capacity_bytes / line_bytes> owner_{};
  std::vector<KwEmuGroupSlot*> slots_;
};

class Memory;
class Profile;

struct Launch {
  const KwEmuKernel* kernel = nullptr;
  KwEmuArgs args{};
  uintptr_t code_begin = 0;  // where the module is loaded
  Dim dim;
  Mode mode = Mode::plain;
  uint64_t seed = 0;                  // 0: in order
  uint64_t step_limit = 0;            // per threadgroup, of barriers and (checked) memory accesses; 0 none
  std::vector<uint64_t> only_groups;  // linear; empty: all
  Memory* memory = nullptr;           // checked and profile
  Profile* profile = nullptr;
  bool profile_on = false;  // mode is Mode::profile
  GroupArena* arena = nullptr;
  Reports* reports = nullptr;
  std::atomic<uint64_t> next{0};
  std::atomic<bool> stop{false};

  uint64_t group_count() const;
  /// The next group to run (linear), or false.
  bool claim(uint64_t& group);
};

}  // namespace kw::emulator
