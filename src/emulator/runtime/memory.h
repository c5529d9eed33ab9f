#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "emulator/runtime/launch.h"

/// What checked builds know of memory: which bytes are whose, who wrote and read them last, what was never written.
namespace kw::emulator {

/// Last accesses to one granule. A word is group + 1 (32 bits), time (19), atomic (1), several (2), thread (10).
struct Cell {
  uint64_t written = 0, read = 0;
  uint32_t written_pc = 0, read_pc = 0;
};

/// Order within a threadgroup: accesses carry `now`; what is not later than a barrier's time lies before it.
struct Clock {
  static constexpr uint32_t last = (1u << 19) - 2;
  uint32_t now = 1;
  uint32_t barrier[3] = {};  // device memory, threadgroup memory, execution: any barrier, for a write after reads
  uint32_t simd_barrier[max_simdgroups][3] = {};
  void threadgroup_barrier(uint32_t flags);
  void simdgroup_barrier(uint32_t simdgroup, uint32_t flags);
};

/// A buffer's place in the arena of device memory.
struct Region {
  std::string name;
  uint64_t begin = 0, bytes = 0;  // from the arena's begin
  bool initialised = true;        // by the host: else `bits` says which bytes are
  bool writable = false;          // in this launch
  bool counted = true;            // in profiles; a launch's scalars are not
  uint8_t granule_log2 = 2;
  Cell* cells = nullptr;  // of writable regions during a launch
  uint64_t cells_bytes = 0;
  std::vector<uint64_t> bits;                     // a bit a byte
  std::vector<uint64_t> read_bits, written_bits;  // profile: bytes touched
};

class Memory {
 public:
  static constexpr uint64_t page_bytes = 4096;
  /// `begin` is where the arena is mapped; every region begins on a page of its own, with unused pages around it.
  Memory(char* begin, uint64_t bytes, std::vector<Region> regions);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Before a launch: which regions may be written, in which granules.
  void prepare(const KwEmuKernel& kernel, const KwEmuArgs& args, bool profile);
  /// After it: what was written is initialised.
  void settle();
  /// The region that holds `offset`, or whose gap does.
  Region* near(uint64_t offset) { return &regions_[page_owner_[offset / page_bytes]]; }
  std::vector<Region>& regions() { return regions_; }
  uintptr_t begin() const { return begin_; }
  uint64_t bytes() const { return bytes_; }

 private:
  Region* region_of(const void* address);
  uintptr_t begin_;
  uint64_t bytes_;
  std::vector<Region> regions_;
  std::vector<uint16_t> page_owner_;
};

/// Watches one operating-system thread, which runs one threadgroup at a time.
class Follower {
 public:
  Follower(Launch& launch, char* group_memory, uintptr_t stacks_begin, uint64_t stacks_bytes);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  void begin_group(uint64_t group);
  /// An access that is about to happen.
  void access(uintptr_t address, uint32_t bytes, bool write, uintptr_t pc) {
    if (address - stacks_begin_ < stacks_bytes_) return;
    const uint64_t offset = address - memory_->begin();
    if (offset >= memory_->bytes()) {
      // Ours or constant, unless it lies in the group's memory or just before it.
      const uintptr_t in_arena = address - arena_ + Memory::page_bytes;
      if (in_arena >= GroupArena::capacity_bytes + Memory::page_bytes && address >= Memory::page_bytes) return;
    } else if (!write && !launch_.profile_on && steps_left_ != 1) {
      // Most accesses read what the host wrote and no thread may write.
      const Region& region = *memory_->near(offset);
      const uint64_t byte = offset - region.begin;
      if (!region.cells && region.initialised && byte < region.bytes && bytes <= region.bytes - byte) {
        --steps_left_;
        return;
      }
    }
    follow(address, bytes, write, pc);
  }
  void access_range(uintptr_t address, uint64_t bytes, bool write, uintptr_t pc);
  void atomic(uintptr_t address, uint32_t bytes, uint32_t kind, uintptr_t pc);
  void fence() { fenced_ = true; }
  /// Decides about the last write that raced: storing what was there already harms nobody.
  void settle();

  Clock clock;
  /// Called for a fault after which the launch cannot go on; does not return.
  void (*give_up)() = nullptr;

 private:
  struct Place;
  enum class Kind : uint8_t { read, write, atomic_load, atomic_store, atomic_update };
  struct Pending {
    uintptr_t address = 0;
    uint64_t byte = 0;  // of the region
    uint32_t bytes = 0;
    char before[64] = {};
    Cell* cells = nullptr;  // of the region
    uint8_t granule_log2 = 0;
    uint64_t raced = 0;  // a bit for each byte that belongs to a cell with a race
    RawReport report;
    void race(uint64_t at);
  };
  void follow(uintptr_t address, uint32_t bytes, bool write, uintptr_t pc);
  bool find(uintptr_t address, uint64_t bytes, bool write, uintptr_t pc, Place& place);
  void outside(const Place& place, uintptr_t pc);
  void check_cell(Cell& cell, const Place& place, uint64_t byte, Kind kind, uintptr_t pc);
  void read_cell(Cell& cell, const Place& place, uint64_t byte, uint64_t mine, uintptr_t pc);
  void write_cell(Cell& cell, const Place& place, uint64_t byte, uint64_t mine, uintptr_t pc);
  bool before(uint64_t stamp, uint32_t space) const;
  bool synchronised(uint64_t stamp) const;
  void never_written(const Place& place, uint64_t byte, uintptr_t pc);
  RawReport report(Fault fault, const Place& place, uint64_t byte, uintptr_t pc) const;
  void race(uint64_t stamp, uint32_t other_pc, bool other_write, const Place& place, uint64_t byte, uintptr_t pc);
  uint32_t code_offset(uintptr_t pc) const { return static_cast<uint32_t>(pc - launch_.code_begin); }

  Launch& launch_;
  Memory* memory_;
  uintptr_t arena_, stacks_begin_;
  uint64_t stacks_bytes_;
  Cell* arena_cells_;
  uint64_t group_ = 0, steps_left_ = 0;
  bool fenced_ = false, did_atomic_ = false, has_pending_ = false;
  uint32_t waits_ = 0;
  Pending pending_;
};

}  // namespace kw::emulator
