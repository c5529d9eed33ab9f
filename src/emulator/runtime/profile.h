#pragma once
#include <cstdint>
#include <mutex>
#include <vector>

#include "emulator/runtime/launch.h"
#include "emulator/runtime/memory.h"

/// What a kernel did, counted for --profile: traffic, arithmetic, and how well the lanes of a simdgroup kept together.
namespace kw::emulator {

/// Totals of a launch. Those marked "followed" come from a sample of threadgroups.
struct ProfileCounts {
  uint64_t device_read_bytes = 0, device_written_bytes = 0;
  uint64_t threadgroup_read_bytes = 0, threadgroup_written_bytes = 0;
  uint64_t atomics = 0;
  uint64_t flops = 0, instructions = 0;
  uint64_t followed_groups = 0;
  uint64_t device_accesses = 0;       // followed; of a simdgroup, all its lanes together
  uint64_t device_lines = 0;          // followed; 128-byte lines that they touched
  uint64_t device_least_lines = 0;    // followed; lines that the same bytes would need side by side
  uint64_t uncoalesced_accesses = 0;  // followed; those that touched more lines than that
  uint64_t threadgroup_accesses = 0;  // followed
  uint64_t bank_conflicts = 0;        // followed; extra turns over 32 banks of 4 bytes
  uint64_t lane_instructions = 0;     // followed; executed by lanes
  uint64_t slot_instructions = 0;     // followed; 32 x those of the busiest lane, block by block
  void add(const ProfileCounts& other);
};

class Profile {
 public:
  void add(const ProfileCounts& counts);
  ProfileCounts counts;

 private:
  std::mutex mutex_;
};

/// Counts of one operating-system thread.
class ThreadProfile {
 public:
  ThreadProfile(Profile& profile, const char* arena);
  void begin_group(uint64_t linear, uint32_t threads);
  void access(Memory& memory, uintptr_t address, uint32_t bytes, bool write, uintptr_t pc);
  void atomic() { ++counts_.atomics; }
  void block(uint32_t block, uint32_t flops, uint32_t instructions);
  /// The lanes of a simdgroup, or of all of them, are together again: their accesses so far are compared.
  void converge(uint32_t simdgroup);
  void barrier();
  void finish(Profile& profile);

 private:
  static constexpr uint64_t most_followed = 128;
  static constexpr uint32_t log_limit = 1u << 14;  // accesses of a lane between two meetings
  struct Access {
    uintptr_t pc, address;
    uint32_t turn;  // how often this lane has been at this pc since the last meeting
    uint16_t bytes;
    bool device;
    auto key() const { return std::pair(pc, turn); }
  };
  void end_group();
  void compare(std::vector<Access>& together);
  void compare_device(const Access* begin, const Access* end);
  void compare_banks(const Access* begin, const Access* end);

  ProfileCounts counts_;
  uintptr_t arena_;
  bool following_ = false;
  uint32_t threads_ = 0;
  std::vector<std::vector<Access>> logs_;        // by thread
  std::vector<uint32_t> block_instructions_;     // by block
  std::vector<std::vector<uint32_t>> executed_;  // by simdgroup: block * 32 + lane
};

/// Of this operating-system thread, or nullptr.
ThreadProfile* profile_here();
void set_profile_here(ThreadProfile* profile);

}  // namespace kw::emulator
