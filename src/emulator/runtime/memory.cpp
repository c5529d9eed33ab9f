#include "emulator/runtime/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/result.h"
#include "emulator/runtime/profile.h"

namespace kw::emulator {
namespace {

constexpr int group_shift = 32, time_shift = 13;
/// A barrier without a memory fence (mem_none): what was read before it may be overwritten after it.
constexpr uint32_t execution = 2;
constexpr uint64_t atomic_bit = 1u << 12, thread_mask = 1023;
constexpr uint64_t several_shift = 10, several_mask = 3;
/// Who accessed: one thread, several of one simdgroup, several of a threadgroup, several threadgroups. Of writers
/// "several" means that all wrote the same value.
enum Several : uint64_t { one = 0, of_simdgroup = 1, of_group = 2, of_grid = 3 };

uint64_t group_of(uint64_t stamp) { return stamp >> group_shift; }
uint64_t time_of(uint64_t stamp) { return stamp >> time_shift & ((1u << 19) - 1); }
uint64_t several_of(uint64_t stamp) { return stamp >> several_shift & several_mask; }
uint64_t thread_of(uint64_t stamp) { return stamp & thread_mask; }
uint64_t with(uint64_t stamp, Several several) {
  return (stamp & ~(several_mask << several_shift)) | several << several_shift;
}

uint64_t load(const uint64_t& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }
void store(uint64_t& word, uint64_t value) { __atomic_store_n(&word, value, __ATOMIC_RELAXED); }

void* map_cells(uint64_t bytes) {
  void* cells = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(cells != MAP_FAILED, "no memory for the checker's records");
  return cells;
}

bool bit(const std::vector<uint64_t>& bits, uint64_t at) { return bits[at / 64] >> (at % 64) & 1; }

void set_range(std::vector<uint64_t>& bits, uint64_t begin, uint64_t end) {
  for (uint64_t at = begin; at < end; ++at) bits[at / 64] |= uint64_t{1} << (at % 64);
}

}  // namespace

void Clock::threadgroup_barrier(uint32_t flags) {
  for (uint32_t space = 0; space < 2; ++space)
    if (flags >> space & 1) barrier[space] = now;
  barrier[execution] = now;
  if (now < last) ++now;
}

void Clock::simdgroup_barrier(uint32_t simdgroup, uint32_t flags) {
  for (uint32_t space = 0; space < 2; ++space)
    if (flags >> space & 1) simd_barrier[simdgroup][space] = now;
  simd_barrier[simdgroup][execution] = now;
  if (now < last) ++now;
}

Memory::Memory(char* begin, uint64_t bytes, std::vector<Region> regions)
    : begin_(reinterpret_cast<uintptr_t>(begin)), bytes_(bytes), regions_(std::move(regions)) {
  check(regions_.size() < 65536, "number of regions");
  if (regions_.empty()) regions_.emplace_back();  // whoever has no buffers may touch none
  page_owner_.resize(bytes / page_bytes + 1);
  // A gap's first half belongs to the region before it, its second half to the one after.
  size_t owner = 0;
  for (size_t page = 0; page < page_owner_.size(); ++page) {
    const uint64_t at = page * page_bytes;
    while (owner + 1 < regions_.size()) {
      const uint64_t end = regions_[owner].begin + regions_[owner].bytes;
      if (at < (end + regions_[owner + 1].begin) / 2) break;
      ++owner;
    }
    page_owner_[page] = static_cast<uint16_t>(owner);
  }
  for (Region& region : regions_)
    if (!region.initialised) region.bits.assign(region.bytes / 64 + 1, 0);
}

Memory::~Memory() {
  for (Region& region : regions_)
    if (region.cells) ::munmap(region.cells, region.cells_bytes);
}

Region* Memory::region_of(const void* address) {
  const uint64_t offset = reinterpret_cast<uintptr_t>(address) - begin_;
  return offset < bytes_ ? near(offset) : nullptr;
}

void Memory::prepare(const KwEmuKernel& kernel, const KwEmuArgs& args, bool profile) {
  for (Region& region : regions_) {
    region.writable = false;
    region.granule_log2 = 2;
  }
  for (uint32_t i = 0; i < kernel.param_count; ++i) {
    const KwEmuParam& param = kernel.params[i];
    Region* region = param.kind == KW_EMU_PARAM_BUFFER ? region_of(args.buffer[param.index]) : nullptr;
    if (!region) continue;
    region->writable |= param.writable != 0;
    const uint8_t granule_log2 = param.granule >= 4 ? 2 : param.granule >= 2 ? 1 : 0;
    region->granule_log2 = std::min(region->granule_log2, granule_log2);
  }
  for (Region& region : regions_) {
    if (profile) {
      region.read_bits.resize(region.bytes / 64 + 1);
      region.written_bits.resize(region.bytes / 64 + 1);
    }
    if (!region.writable) continue;
    region.cells_bytes = ((region.bytes >> region.granule_log2) + 1) * sizeof(Cell);
    region.cells = static_cast<Cell*>(map_cells(region.cells_bytes));
  }
}

void Memory::settle() {
  for (Region& region : regions_) {
    if (!region.cells) continue;
    const uint64_t granule = uint64_t{1} << region.granule_log2;
    if (!region.initialised)
      for (uint64_t at = 0; at < region.bytes; at += granule)
        if (region.cells[at / granule].written) set_range(region.bits, at, std::min(at + granule, region.bytes));
    ::munmap(region.cells, region.cells_bytes);
    region.cells = nullptr;
  }
}

/// Where an access lands.
struct Follower::Place {
  bool device = false, writable = true, initialised = true;
  const Region* region = nullptr;
  const GroupArena::Variable* variable = nullptr;
  Cell* cells = nullptr;  // of the whole region; nullptr: not followed
  uint64_t byte = 0;      // from the region's begin; below it wraps around
  uint64_t bytes = 0;     // of the region
  uint32_t access_bytes = 0;
  bool write = false;
  uint8_t granule_log2 = 2;
};

Follower::Follower(Launch& launch, char* group_memory, uintptr_t stacks_begin, uint64_t stacks_bytes)
    : launch_(launch),
      memory_(launch.memory),
      arena_(reinterpret_cast<uintptr_t>(group_memory)),
      stacks_begin_(stacks_begin),
      stacks_bytes_(stacks_bytes),
      arena_cells_(
          static_cast<Cell*>(map_cells((GroupArena::capacity_bytes + GroupArena::max_variables) * sizeof(Cell)))) {}

Follower::~Follower() {
  ::munmap(arena_cells_, (GroupArena::capacity_bytes + GroupArena::max_variables) * sizeof(Cell));
}

void Follower::begin_group(uint64_t group) {
  if (has_pending_) settle();
  clock = Clock{};
  group_ = group + 1;
  fenced_ = did_atomic_ = false;
  steps_left_ = launch_.step_limit ? launch_.step_limit : ~uint64_t{0};
}

bool Follower::find(uintptr_t address, uint64_t bytes, bool write, uintptr_t pc, Place& place) {
  place.write = write;
  place.access_bytes = static_cast<uint32_t>(std::min<uint64_t>(bytes, ~0u));
  if (const uint64_t offset = address - launch_.memory->begin(); offset < launch_.memory->bytes()) {
    Region* region = launch_.memory->near(offset);
    place.device = true;
    place.region = region;
    place.writable = region->writable;
    place.initialised = region->initialised;
    place.cells = region->cells;
    place.byte = offset - region->begin;
    place.bytes = region->bytes;
    place.granule_log2 = region->granule_log2;
  } else if (const uint64_t before = arena_ - address; before - 1 < Memory::page_bytes) {
    place.initialised = false;
    if ((place.variable = launch_.arena->find(0))) {
      place.byte = 0 - before;
      place.bytes = place.variable->bytes;
    }
  } else if (const uint64_t at = address - arena_; at < GroupArena::capacity_bytes) {
    place.initialised = false;
    place.variable = launch_.arena->find(static_cast<uint32_t>(at));
    for (uint32_t back = 1; !place.variable && back <= 16 && at >= back * GroupArena::line_bytes; ++back)
      place.variable = launch_.arena->find(static_cast<uint32_t>(at - back * GroupArena::line_bytes));
    if (place.variable) {
      place.byte = at - place.variable->begin;
      place.bytes = place.variable->bytes;
      place.cells = arena_cells_ + place.variable->first_cell;
      place.granule_log2 = place.variable->granule_log2;
    }
  } else if (address >= Memory::page_bytes) {
    return false;  // a constant of the module, or something of the runtime's
  }
  if (place.byte < place.bytes && bytes <= place.bytes - place.byte) return true;
  outside(place, pc);
  return false;
}

void Follower::outside(const Place& place, uintptr_t pc) {
  launch_.reports->add(report(Fault::out_of_bounds, place, place.byte, pc));
  give_up();
}

RawReport Follower::report(Fault fault, const Place& place, uint64_t byte, uintptr_t pc) const {
  RawReport raw;
  raw.fault = fault;
  raw.pc = code_offset(pc);
  raw.write = place.write;
  raw.device = place.device;
  raw.memory = place.region ? place.region->name : place.variable ? place.variable->name : "";
  raw.byte = static_cast<int64_t>(byte);
  raw.memory_bytes = place.bytes;
  raw.access_bytes = place.access_bytes;
  std::copy_n(kw_emu_current.group->position, 3, raw.group.begin());
  std::copy_n(kw_emu_current.thread->position, 3, raw.thread.begin());
  return raw;
}

void Follower::follow(uintptr_t address, uint32_t bytes, bool write, uintptr_t pc) {
  if (has_pending_) settle();
  if (--steps_left_ == 0) {
    launch_.reports->add(report(Fault::endless, Place{}, 0, pc));
    give_up();
  }
  Place place;
  if (!find(address, bytes, write, pc, place)) return;
  if (write && !place.writable) {
    launch_.reports->add(report(Fault::read_only, place, place.byte, pc));
    give_up();
  }
  if (launch_.profile_on) profile_here()->access(*launch_.memory, address, bytes, write, pc);
  const uint32_t granule = 1u << place.granule_log2;
  if (!place.cells) {
    if (!place.initialised && !bit(place.region->bits, place.byte)) never_written(place, place.byte, pc);
    return;
  }
  Cell* cell = place.cells + (place.byte >> place.granule_log2);
  Cell* const end = place.cells + ((place.byte + bytes + granule - 1) >> place.granule_log2);
  for (uint64_t byte = place.byte; cell != end; ++cell, byte += granule)
    check_cell(*cell, place, byte, write ? Kind::write : Kind::read, pc);
}

void Follower::access_range(uintptr_t address, uint64_t bytes, bool write, uintptr_t pc) {
  for (uint64_t at = 0; at < bytes; at += 4096)
    access(address + at, static_cast<uint32_t>(std::min<uint64_t>(bytes - at, 4096)), write, pc);
}

void Follower::atomic(uintptr_t address, uint32_t bytes, uint32_t kind, uintptr_t pc) {
  if (address - stacks_begin_ < stacks_bytes_) return;
  if (has_pending_) settle();
  Place place;
  if (!find(address, bytes, kind != KW_EMU_ATOMIC_LOAD, pc, place)) return;
  if (place.device) did_atomic_ = true;
  if (launch_.profile_on) profile_here()->atomic();
  if (!place.cells) return;
  const Kind kinds[] = {Kind::atomic_load, Kind::atomic_store, Kind::atomic_update};
  check_cell(place.cells[place.byte >> place.granule_log2], place, place.byte, kinds[kind % 3], pc);
}

bool Follower::before(uint64_t stamp, uint32_t space) const {
  const uint32_t simdgroup = kw_emu_current.thread->simdgroup;
  const uint64_t time = time_of(stamp), several = several_of(stamp);
  if (clock.now == Clock::last) return true;  // too many barriers to tell
  if (several == one && thread_of(stamp) == kw_emu_current.thread->index) return true;
  if (time <= clock.barrier[space]) return true;
  return several <= of_simdgroup && thread_of(stamp) / lanes_per_simdgroup == simdgroup &&
         time <= clock.simd_barrier[simdgroup][space];
}

/// Atomics order threadgroups in ways that a stamp does not show; then nothing is said about two of them.
bool Follower::synchronised(uint64_t stamp) const { return did_atomic_ && group_of(stamp) != group_; }

void Follower::check_cell(Cell& cell, const Place& place, uint64_t byte, Kind kind, uintptr_t pc) {
  if (kind == Kind::write && place.device && place.access_bytes >= (1u << place.granule_log2) &&
      (load(cell.written) | load(cell.read)) == 0) {  // the first to touch it
    store(cell.written, group_ << group_shift | uint64_t{clock.now} << time_shift | kw_emu_current.thread->index);
    cell.written_pc = code_offset(pc);
    return;
  }
  const bool atomic = kind >= Kind::atomic_load, write = kind == Kind::write || kind >= Kind::atomic_store;
  const uint64_t mine = group_ << group_shift | uint64_t{clock.now} << time_shift | (atomic ? atomic_bit : 0) |
                        kw_emu_current.thread->index;
  const bool narrow = place.access_bytes < (1u << place.granule_log2) && !atomic;
  const uint64_t written = load(cell.written);
  if (narrow) {  // less than the declared element: who else uses the rest of it is not recorded
    if (write) store(cell.written, with(mine, of_group));
    return;
  }
  const bool both_atomic = atomic && (written & atomic_bit);
  const bool stale = !written || (!place.device && group_of(written) != (group_ & 0xffffffffu));
  if (stale) {
    const bool known = place.device && (place.initialised || bit(place.region->bits, byte));
    if (!known && kind != Kind::write && kind != Kind::atomic_store) never_written(place, byte, pc);
  } else if (!both_atomic && !(several_of(written) != one && !write)) {
    const bool foreign = group_of(written) != (group_ & 0xffffffffu);
    if (foreign ? !synchronised(written) : !before(written, place.device ? 0 : 1))
      race(written, cell.written_pc, true, place, byte, pc);
  }
  if (write)
    write_cell(cell, place, byte, mine, pc);
  else if (!atomic)
    read_cell(cell, place, byte, mine, pc);
}

void Follower::read_cell(Cell& cell, const Place& place, uint64_t, uint64_t mine, uintptr_t pc) {
  const uint64_t read = load(cell.read);
  uint64_t next = mine;
  const bool foreign = read && group_of(read) != (group_ & 0xffffffffu);
  if (foreign && place.device)
    next = with(mine, of_grid);
  else if (read && !foreign && several_of(read) == of_grid)
    next = with(mine, of_grid);
  else if (read && !foreign && !(several_of(read) == one && thread_of(read) == thread_of(mine)) &&
           !before(read, place.device ? 0 : 1))
    next = with(mine, several_of(read) <= of_simdgroup &&
                              thread_of(read) / lanes_per_simdgroup == thread_of(mine) / lanes_per_simdgroup
                          ? of_simdgroup
                          : of_group);
  if (next == read) return;
  store(cell.read, next);
  cell.read_pc = code_offset(pc);
}

void Follower::write_cell(Cell& cell, const Place& place, uint64_t byte, uint64_t mine, uintptr_t pc) {
  if (const uint64_t read = load(cell.read)) {
    const bool foreign = group_of(read) != (group_ & 0xffffffffu);
    const bool relevant = place.device ? true : !foreign;
    const bool grid = several_of(read) == of_grid || foreign;
    if (relevant && (grid ? !did_atomic_ : !before(read, execution))) race(read, cell.read_pc, false, place, byte, pc);
    store(cell.read, 0);
  }
  store(cell.written, mine);
  cell.written_pc = code_offset(pc);
}

void Follower::never_written(const Place& place, uint64_t byte, uintptr_t pc) {
  launch_.reports->add(report(Fault::uninitialised, place, byte, pc));
}

void Follower::race(uint64_t stamp, uint32_t other_pc, bool other_write, const Place& place, uint64_t byte,
                    uintptr_t pc) {
  if (place.write && has_pending_) return pending_.race(byte);  // another part of the same write
  RawReport raw = report(Fault::race, place, byte, pc);
  raw.other_pc = other_pc;
  raw.other_write = other_write;
  raw.other_group = group_of(stamp) - 1;
  raw.other_thread = static_cast<uint32_t>(thread_of(stamp));
  if (!place.write) return launch_.reports->add(raw);
  // The other threadgroup may run on another core and stand between its note and its store.
  if (other_write && group_of(stamp) != (group_ & 0xffffffffu) && waits_++ < 1000)
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  has_pending_ = true;
  pending_.byte = place.byte;
  pending_.bytes = std::min<uint32_t>(place.access_bytes, sizeof pending_.before);
  pending_.address = place.device ? launch_.memory->begin() + place.region->begin + place.byte
                                  : arena_ + place.variable->begin + place.byte;
  std::memcpy(pending_.before, reinterpret_cast<const void*>(pending_.address), pending_.bytes);
  pending_.cells = place.cells;
  pending_.granule_log2 = place.granule_log2;
  pending_.raced = 0;
  pending_.race(byte);
  pending_.report = raw;
}

void Follower::Pending::race(uint64_t at) {
  const uint64_t first = at >> granule_log2 << granule_log2, granule = uint64_t{1} << granule_log2;
  for (uint64_t one = std::max(first, byte); one < std::min(first + granule, byte + bytes); ++one)
    raced |= uint64_t{1} << (one - byte);
}

/// Two writes of the same value are no race: judged once the write is done.
void Follower::settle() {
  if (!has_pending_) return;
  has_pending_ = false;
  const char* after = reinterpret_cast<const char*>(pending_.address);
  for (uint32_t i = 0; i < pending_.bytes; ++i)
    if ((pending_.raced >> i & 1) && after[i] != pending_.before[i]) return launch_.reports->add(pending_.report);
  for (uint32_t i = 0; i < pending_.bytes; ++i)
    if (pending_.raced >> i & 1) {
      Cell& cell = pending_.cells[(pending_.byte + i) >> pending_.granule_log2];
      store(cell.written, with(load(cell.written), of_group));
    }
}

}  // namespace kw::emulator
