#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "runtime/pool.h"
#include "runtime/program.h"

namespace kw::runtime {

/// A kernel's generated entry: args[i] points to a buffer's first byte, or to a scalar's 8 bytes (int64 or double).
using Entry = void (*)(void* const* args, const int64_t* group);

/// A Program joined to its kernels' code. Buffers are set by number; running allocates nothing.
/// Not thread-safe: one call at a time.
class Engine {
 public:
  /// `entries[i]` is the code of program.kernels[i]. The program must outlive the engine.
  Engine(const Program& program, const std::vector<Entry>& entries, int threads);

  void set_threads(int threads);
  int threads() const { return pool_->width(); }
  void set_buffer(int buffer, void* base) {
    if (bases_[static_cast<size_t>(buffer)] != base) patch(buffer, base);
  }
  void* buffer(int number) const { return bases_[static_cast<size_t>(number)]; }
  /// Places every scratch (or prepared) buffer in one arena, 64-byte aligned.
  void set_workspace(void* base);
  void set_prepared(void* base);

  void prepare() { run_all(prepare_, nullptr); }
  void run() { run_all(steps_, nullptr); }
  /// As run(), with the seconds of each step written to `step_seconds[steps]`.
  void run_timed(double* step_seconds) { run_all(steps_, step_seconds); }
  size_t step_count() const { return steps_.size(); }
  /// The launch now running: >= 0 a step, < 0 is -1 - prepare launch. For crash reports.
  int current() const { return current_.load(std::memory_order_relaxed); }

 private:
  struct Call {
    Entry entry;
    size_t first_arg;
    std::array<int64_t, 3> groups;
    int64_t count;
    bool alone;  // too small to share
    void* const* args;
  };

  void patch(int buffer, void* base);
  void place(Role role, void* arena);
  void run_all(const std::vector<Call>& calls, double* step_seconds);
  void run_call(const Call& call, bool alone);
  std::vector<Call> link(const std::vector<Launch>& launches, const std::vector<Entry>& entries);
  void add_argument(const Argument& arg);
  static void run_range(const void* call, int64_t begin, int64_t end);

  const Program& program_;
  Pool* pool_;
  std::vector<void*> slots_;                // arguments of every launch, in order
  std::vector<std::vector<size_t>> users_;  // slots that hold a buffer
  std::vector<void*> bases_;
  std::vector<uint64_t> scalars_;
  std::vector<Call> prepare_, steps_;
  std::atomic<int> current_{0};
};

}  // namespace kw::runtime
