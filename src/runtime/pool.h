#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

/// The engine that runs a bound plan. It stands alone: nothing but libc, so that it can ship with a package.
namespace kw::runtime {

/// Cores this process may use: affinity mask and cgroup quota respected, at least 1.
int usable_cores();

/// A thread pool of declared width. The calling thread takes part, so a pool of width N owns N-1 workers.
/// Work is split evenly over the threads and stolen when a thread is late: the caller never waits for a
/// worker that has not begun, so a pool whose workers are gone (after fork) still finishes its work.
class Pool {
 public:
  using Body = void (*)(const void* context, int64_t begin, int64_t end);

  /// The pool of that width, made on first use and kept for the life of the process.
  static Pool& shared(int width);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  int width() const { return width_; }

  /// One program at a time owns the workers; who finds the pool taken runs alone.
  bool try_acquire() { return !taken_.exchange(true, std::memory_order_acquire); }
  void release() { taken_.store(false, std::memory_order_release); }

  /// Calls body over [0, count) in chunks, on all threads; returns when all is done. Needs try_acquire().
  void run(int64_t count, Body body, const void* context);

 private:
  struct alignas(64) Lane {
    /// Epoch in the upper half, chunks left in the lower: a taker proves with one exchange that the job is current.
    std::atomic<uint64_t> ticket{0};
    int64_t end = 0;
  };
  struct Threads;

  explicit Pool(int width);
  void worker(int self);
  void work(int self);
  bool take(Lane& lane, int64_t& chunk_index);
  void split(int64_t chunks);
  void wake();
  void keep_off_callers_core();
  bool idle(uint32_t seen, int64_t& spin_ns);

  const int width_;
  std::vector<Lane> lanes_;
  Body body_ = nullptr;
  const void* context_ = nullptr;
  int64_t count_ = 0;
  int64_t chunk_ = 1;
  uint32_t epoch_ = 0;
  alignas(64) std::atomic<int64_t> pending_{0};
  alignas(64) std::atomic<uint32_t> signal_{0};
  std::atomic<int> sleepers_{0};
  int callers_core_ = -1;
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<bool> taken_{false};
  std::unique_ptr<Threads> threads_;
};

/// Monotonic clock in nanoseconds.
int64_t now_ns();

}  // namespace kw::runtime
