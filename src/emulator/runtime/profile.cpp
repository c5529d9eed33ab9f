#include "emulator/runtime/profile.h"

#include <algorithm>
#include <set>

namespace kw::emulator {
namespace {

__thread ThreadProfile* here = nullptr;

void mark(std::vector<uint64_t>& bits, uint64_t begin, uint64_t end) {
  for (uint64_t at = begin; at < end;) {
    const uint64_t stop = std::min(end, (at / 64 + 1) * 64);
    const uint64_t ones = stop - at == 64 ? ~uint64_t{0} : (uint64_t{1} << (stop - at)) - 1;
    uint64_t& word = bits[at / 64];
    const uint64_t wanted = ones << (at % 64);
    if ((__atomic_load_n(&word, __ATOMIC_RELAXED) & wanted) != wanted)
      __atomic_fetch_or(&word, wanted, __ATOMIC_RELAXED);
    at = stop;
  }
}

}  // namespace

ThreadProfile* profile_here() { return here; }
void set_profile_here(ThreadProfile* profile) { here = profile; }

void ProfileCounts::add(const ProfileCounts& other) {
  constexpr size_t words = sizeof(ProfileCounts) / sizeof(uint64_t);
  auto* mine = reinterpret_cast<uint64_t*>(this);
  const auto* theirs = reinterpret_cast<const uint64_t*>(&other);
  for (size_t i = 0; i < words; ++i) mine[i] += theirs[i];
}

void Profile::add(const ProfileCounts& more) {
  const std::lock_guard lock(mutex_);
  counts.add(more);
}

ThreadProfile::ThreadProfile(Profile&, const char* arena)
    : arena_(reinterpret_cast<uintptr_t>(arena)), logs_(max_group_threads), executed_(max_simdgroups) {
  here = this;
}

void ThreadProfile::begin_group(uint64_t linear, uint32_t threads) {
  end_group();
  threads_ = threads;
  following_ = counts_.followed_groups < most_followed || linear % 1024 == 0;
  counts_.followed_groups += following_;
}

void ThreadProfile::access(Memory& memory, uintptr_t address, uint32_t bytes, bool write, uintptr_t pc) {
  const uint64_t offset = address - memory.begin();
  const bool device = offset < memory.bytes();
  if (!device && address - arena_ >= GroupArena::capacity_bytes) return;
  if (device) {
    Region& region = *memory.near(offset);
    if (!region.counted) return;
    mark(write ? region.written_bits : region.read_bits, offset - region.begin, offset - region.begin + bytes);
    (write ? counts_.device_written_bytes : counts_.device_read_bytes) += bytes;
  } else {
    (write ? counts_.threadgroup_written_bytes : counts_.threadgroup_read_bytes) += bytes;
  }
  if (!following_) return;
  auto& log = logs_[kw_emu_current.thread->index];
  if (log.size() < log_limit) log.push_back({pc, address, 0, static_cast<uint16_t>(std::min(bytes, 4096u)), device});
}

void ThreadProfile::block(uint32_t block, uint32_t flops, uint32_t instructions) {
  counts_.flops += flops;
  counts_.instructions += instructions;
  if (!following_) return;
  if (block >= block_instructions_.size()) block_instructions_.resize(block + 1);
  block_instructions_[block] = instructions;
  auto& executed = executed_[kw_emu_current.thread->simdgroup];
  const size_t at = size_t{block} * lanes_per_simdgroup + kw_emu_current.thread->lane;
  if (at >= executed.size()) executed.resize((size_t{block} + 1) * lanes_per_simdgroup);
  ++executed[at];
}

void ThreadProfile::converge(uint32_t simdgroup) {
  if (!following_) return;
  std::vector<Access> together;
  for (uint32_t lane = 0; lane < lanes_per_simdgroup; ++lane) {
    auto& log = logs_[simdgroup * lanes_per_simdgroup + lane];
    std::stable_sort(log.begin(), log.end(), [](const Access& a, const Access& b) { return a.pc < b.pc; });
    for (size_t i = 1; i < log.size(); ++i) log[i].turn = log[i].pc == log[i - 1].pc ? log[i - 1].turn + 1 : 0;
    together.insert(together.end(), log.begin(), log.end());
    log.clear();
  }
  compare(together);
}

void ThreadProfile::compare(std::vector<Access>& together) {
  std::stable_sort(together.begin(), together.end(),
                   [](const Access& a, const Access& b) { return a.key() < b.key(); });
  for (auto begin = together.begin(); begin != together.end();) {
    const auto end = std::find_if(begin, together.end(), [&](const Access& a) { return a.key() != begin->key(); });
    if (begin->device)
      compare_device(&*begin, &*begin + (end - begin));
    else
      compare_banks(&*begin, &*begin + (end - begin));
    begin = end;
  }
}

void ThreadProfile::compare_device(const Access* begin, const Access* end) {
  constexpr uint64_t line_bytes = 128, word_bytes = 4;
  std::set<uint64_t> lines, words;
  for (const Access* at = begin; at != end; ++at) {
    for (uint64_t line = at->address / line_bytes; line <= (at->address + at->bytes - 1) / line_bytes; ++line)
      lines.insert(line);
    for (uint64_t word = at->address / word_bytes; word <= (at->address + at->bytes - 1) / word_bytes; ++word)
      words.insert(word);
  }
  // One more line is the price of not being aligned, no fault of the pattern.
  const uint64_t least = (words.size() * word_bytes + line_bytes - 1) / line_bytes;
  ++counts_.device_accesses;
  counts_.device_lines += lines.size();
  counts_.device_least_lines += least;
  counts_.uncoalesced_accesses += lines.size() > least + 1;
}

void ThreadProfile::compare_banks(const Access* begin, const Access* end) {
  constexpr uint64_t banks = 32, word_bytes = 4;
  std::set<uint64_t> words;
  for (const Access* at = begin; at != end; ++at)
    for (uint64_t word = at->address / word_bytes; word <= (at->address + at->bytes - 1) / word_bytes; ++word)
      words.insert(word);
  uint32_t turns[banks] = {};
  for (const uint64_t word : words) ++turns[word % banks];
  ++counts_.threadgroup_accesses;
  const uint64_t least = (words.size() + banks - 1) / banks;
  counts_.bank_conflicts += *std::max_element(turns, turns + banks) - least;
}

void ThreadProfile::barrier() {
  for (uint32_t i = 0; following_ && i * lanes_per_simdgroup < threads_; ++i) converge(i);
}

void ThreadProfile::end_group() {
  if (!following_) return;
  barrier();
  for (auto& executed : executed_) {
    for (size_t at = 0; at < executed.size(); at += lanes_per_simdgroup) {
      uint64_t sum = 0, most = 0;
      for (size_t lane = 0; lane < lanes_per_simdgroup; ++lane) {
        sum += executed[at + lane];
        most = std::max<uint64_t>(most, executed[at + lane]);
      }
      const uint64_t instructions = block_instructions_[at / lanes_per_simdgroup];
      counts_.lane_instructions += sum * instructions;
      counts_.slot_instructions += most * lanes_per_simdgroup * instructions;
    }
    std::fill(executed.begin(), executed.end(), 0);
  }
}

void ThreadProfile::finish(Profile& profile) {
  end_group();
  following_ = false;
  profile.add(counts_);
  here = nullptr;
}

}  // namespace kw::emulator
