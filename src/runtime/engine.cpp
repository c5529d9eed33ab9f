#include "runtime/engine.h"

#include <cstring>

namespace kw::runtime {
namespace {

/// Below this many bytes touched by a launch the hand-over to other threads costs more than it saves.
constexpr uint64_t share_bytes = 16 << 10;

uint64_t bytes_touched(const Program& program, const Launch& launch) {
  uint64_t bytes = 0;
  for (const Argument& arg : launch.args)
    if (arg.kind == Argument::Kind::buffer) bytes += program.buffers[static_cast<size_t>(arg.integer)].bytes;
  return bytes;
}

size_t scalar_count(const std::vector<Launch>& launches) {
  size_t count = 0;
  for (const Launch& launch : launches)
    for (const Argument& arg : launch.args) count += arg.kind != Argument::Kind::buffer;
  return count;
}

size_t arg_count(const std::vector<Launch>& launches) {
  size_t count = 0;
  for (const Launch& launch : launches) count += launch.args.size();
  return count;
}

}  // namespace

Engine::Engine(const Program& program, const std::vector<Entry>& entries, int threads)
    : program_(program), pool_(&Pool::shared(threads > 0 ? threads : usable_cores())) {
  users_.resize(program.buffers.size());
  bases_.resize(program.buffers.size(), nullptr);
  // Reserved up front: slots point into both, which must not move.
  scalars_.reserve(scalar_count(program.prepare) + scalar_count(program.steps));
  slots_.reserve(arg_count(program.prepare) + arg_count(program.steps));
  prepare_ = link(program.prepare, entries);
  steps_ = link(program.steps, entries);
}

void Engine::add_argument(const Argument& arg) {
  if (arg.kind == Argument::Kind::buffer) {
    users_[static_cast<size_t>(arg.integer)].push_back(slots_.size());
    slots_.push_back(nullptr);
    return;
  }
  uint64_t bits = static_cast<uint64_t>(arg.integer);
  if (arg.kind == Argument::Kind::real) std::memcpy(&bits, &arg.real, sizeof bits);
  scalars_.push_back(bits);
  slots_.push_back(&scalars_.back());
}

std::vector<Engine::Call> Engine::link(const std::vector<Launch>& launches, const std::vector<Entry>& entries) {
  std::vector<Call> calls;
  calls.reserve(launches.size());
  for (const Launch& launch : launches) {
    const size_t first = slots_.size();
    for (const Argument& arg : launch.args) add_argument(arg);
    const bool alone = launch.count() <= 1 || bytes_touched(program_, launch) < share_bytes;
    calls.push_back({entries[static_cast<size_t>(launch.kernel)], first, launch.groups, launch.count(), alone,
                     slots_.data() + first});
  }
  return calls;
}

void Engine::set_threads(int threads) { pool_ = &Pool::shared(threads > 0 ? threads : usable_cores()); }

void Engine::patch(int buffer, void* base) {
  bases_[static_cast<size_t>(buffer)] = base;
  for (size_t slot : users_[static_cast<size_t>(buffer)]) slots_[slot] = base;
}

void Engine::place(Role role, void* arena) {
  for (size_t i = 0; i < program_.buffers.size(); ++i)
    if (program_.buffers[i].role == role)
      set_buffer(static_cast<int>(i), static_cast<char*>(arena) + program_.buffers[i].offset);
}

void Engine::set_workspace(void* base) { place(Role::scratch, base); }
void Engine::set_prepared(void* base) { place(Role::prepared, base); }

void Engine::run_range(const void* raw, int64_t begin, int64_t end) {
  const Call& call = *static_cast<const Call*>(raw);
  int64_t group[3] = {begin % call.groups[0], begin / call.groups[0] % call.groups[1],
                      begin / (call.groups[0] * call.groups[1])};
  for (int64_t i = begin; i < end; ++i) {
    call.entry(call.args, group);
    if (++group[0] < call.groups[0]) continue;
    group[0] = 0;
    if (++group[1] < call.groups[1]) continue;
    group[1] = 0;
    ++group[2];
  }
}

void Engine::run_call(const Call& call, bool alone) {
  if (alone || call.alone) {
    if (call.count > 0) run_range(&call, 0, call.count);
  } else {
    pool_->run(call.count, run_range, &call);
  }
}

void Engine::run_all(const std::vector<Call>& calls, double* step_seconds) {
  bool worth = false;
  if (pool_->width() > 1)
    for (const Call& call : calls) worth = worth || !call.alone;
  const bool acquired = worth && pool_->try_acquire();
  const int base = &calls == &prepare_ ? -1 : 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    const int number = static_cast<int>(i);
    current_.store(base < 0 ? -1 - number : number, std::memory_order_relaxed);
    const int64_t start_ns = step_seconds ? now_ns() : 0;
    run_call(calls[i], !acquired);
    if (step_seconds) step_seconds[i] = static_cast<double>(now_ns() - start_ns) * 1e-9;
  }
  if (acquired) pool_->release();
}

}  // namespace kw::runtime
