#include "runtime/pool.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

namespace kw::runtime {
namespace {

constexpr int64_t min_spin_ns = 20'000;
constexpr int64_t max_spin_ns = 100'000;
constexpr size_t stack_bytes = size_t{16} << 20;

inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void sleep_on(std::atomic<uint32_t>& word, uint32_t seen) {
#ifdef __linux__
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
#else
  if (word.load() == seen) usleep(50);
#endif
}

void wake_all(std::atomic<uint32_t>& word) {
#ifdef __linux__
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
#else
  (void)word;
#endif
}

int affinity_cores() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

/// cgroup v2 quota in whole cores, rounded up; INT_MAX when there is none.
int quota_cores() {
  FILE* file = fopen("/sys/fs/cgroup/cpu.max", "r");
  if (!file) return INT_MAX;
  char quota[32] = {0};
  double period_us = 0;
  const int fields = fscanf(file, "%31s %lf", quota, &period_us);
  fclose(file);
  const double quota_us = atof(quota);
  if (fields != 2 || quota_us <= 0 || period_us <= 0) return INT_MAX;
  return std::max(1, static_cast<int>((quota_us + period_us - 1) / period_us));
}

}  // namespace

int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

int usable_cores() {
  static const int cores = std::max(1, std::min(affinity_cores(), quota_cores()));
  return cores;
}

struct Pool::Threads {
  struct Start {
    Pool* pool;
    int self;
  };
  std::vector<Start> starts;
  std::vector<pthread_t> handles;
#ifdef __linux__
  cpu_set_t allowed{};  // of the thread that made the pool
#endif
};

Pool& Pool::shared(int width) {
  static std::mutex mutex;
  // Never destroyed: workers may outlive main() and a package may be unloaded late.
  static auto* pools = new std::map<int, Pool*>;
  const std::lock_guard lock(mutex);
  Pool*& pool = (*pools)[std::clamp(width, 1, 1024)];
  if (!pool) pool = new Pool(std::clamp(width, 1, 1024));
  return *pool;
}

Pool::Pool(int width) : width_(width), lanes_(static_cast<size_t>(width)), threads_(new Threads) {
  threads_->starts.reserve(static_cast<size_t>(width));
#ifdef __linux__
  sched_getaffinity(0, sizeof threads_->allowed, &threads_->allowed);
#endif
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  for (int self = 1; self < width; ++self) {
    threads_->starts.push_back({this, self});
    auto* start = &threads_->starts.back();
    pthread_t handle{};
    auto entry = [](void* raw) -> void* {
      auto* begun = static_cast<Threads::Start*>(raw);
      begun->pool->worker(begun->self);
      return nullptr;
    };
    // A worker that cannot start is no error: the others do its share.
    if (pthread_create(&handle, &attributes, entry, start) == 0) threads_->handles.push_back(handle);
  }
  pthread_attr_destroy(&attributes);
}

Pool::~Pool() {
  stop_.store(true);
  signal_.fetch_add(1);
  wake_all(signal_);
  for (pthread_t handle : threads_->handles) pthread_join(handle, nullptr);
}

void Pool::split(int64_t chunks) {
  for (int64_t lane = 0; lane < width_; ++lane) {
    const int64_t begin = chunks * lane / width_, end = chunks * (lane + 1) / width_;
    lanes_[static_cast<size_t>(lane)].end = end;
    const uint64_t ticket = (uint64_t{epoch_} << 32) | static_cast<uint64_t>(end - begin);
    lanes_[static_cast<size_t>(lane)].ticket.store(ticket, std::memory_order_release);
  }
}

void Pool::run(int64_t count, Body body, const void* context) {
  body_ = body;
  context_ = context;
  count_ = count;
  chunk_ = std::max<int64_t>(1, count / (int64_t{width_} * 16));
  const int64_t chunks = (count + chunk_ - 1) / chunk_;
  pending_.store(chunks, std::memory_order_relaxed);
  ++epoch_;
  split(chunks);
  wake();
  work(0);
  for (int spins = 0; pending_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < 4000)
      pause_cpu();
    else
      sched_yield();
  }
}

/// The kernel puts a woken thread beside a waker that has just slept itself, on the same core; there it would wait for
/// the caller's call to end. (Two idle cores, 10 ms between calls: 96 of 101 wakes; excluded, none.)
void Pool::keep_off_callers_core() {
#ifdef __linux__
  const int core = sched_getcpu();
  if (core < 0 || core == callers_core_ || core >= CPU_SETSIZE) return;
  cpu_set_t others = threads_->allowed;
  CPU_CLR(core, &others);
  callers_core_ = core;
  if (CPU_COUNT(&others) == 0) return;
  for (pthread_t handle : threads_->handles) pthread_setaffinity_np(handle, sizeof others, &others);
#endif
}

void Pool::wake() {
  const bool asleep = sleepers_.load(std::memory_order_seq_cst) > 0;
  if (asleep) keep_off_callers_core();
  signal_.fetch_add(1, std::memory_order_seq_cst);
  if (asleep || sleepers_.load(std::memory_order_seq_cst) > 0) wake_all(signal_);
}

bool Pool::take(Lane& lane, int64_t& chunk_index) {
  uint64_t ticket = lane.ticket.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(ticket) != 0) {
    if (lane.ticket.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      // The chunk is ours and not yet counted done, so the job cannot change before we report it.
      chunk_index = lane.end - static_cast<int64_t>(static_cast<uint32_t>(ticket));
      return true;
    }
  }
  return false;
}

void Pool::work(int self) {
  for (int turn = 0; turn < width_; ++turn) {
    Lane& lane = lanes_[static_cast<size_t>((self + turn) % width_)];
    int64_t index = 0;
    while (take(lane, index)) {
      const int64_t begin = index * chunk_;
      body_(context_, begin, std::min(count_, begin + chunk_));
      pending_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }
}

/// Spins, then sleeps, until `signal_` leaves `seen`. True when it had to sleep.
bool Pool::idle(uint32_t seen, int64_t& spin_ns) {
  const int64_t start_ns = now_ns();
  while (now_ns() - start_ns < spin_ns) {
    for (int turn = 0; turn < 16; ++turn) {
      if (signal_.load(std::memory_order_acquire) != seen) return false;
      pause_cpu();
    }
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (signal_.load(std::memory_order_seq_cst) == seen) sleep_on(signal_, seen);
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  // Calls that follow each other closely deserve a longer spin, rare ones a shorter.
  const bool soon = now_ns() - start_ns < 4 * max_spin_ns;
  spin_ns = std::clamp(soon ? spin_ns * 2 : spin_ns / 2, min_spin_ns, max_spin_ns);
  return true;
}

void Pool::worker(int self) {
  int64_t spin_ns = max_spin_ns / 2;
  while (!stop_.load(std::memory_order_relaxed)) {
    const uint32_t seen = signal_.load(std::memory_order_acquire);
    work(self);
    idle(seen, spin_ns);
  }
}

}  // namespace kw::runtime
