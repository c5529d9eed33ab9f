#include "target/cpu/peaks.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "base/parallel.h"

namespace kw::target {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int depth = 96;  // k steps of the L1 tile: a (96 x 8) and b (96 x 3 vectors) fit in 24 KiB at 64-byte vectors

typedef float Vector64 __attribute__((vector_size(64)));
typedef float Vector32 __attribute__((vector_size(32)));
typedef float Vector16 __attribute__((vector_size(16)));

// The same bodies for each instruction set: a function's target attribute cannot depend on a template argument.
// `rows` x `columns` accumulators stay in registers; the L1 tile has the shape that the GEMM family uses.
// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are names, types and literals
#define KW_PEAK_BODIES(NAME, ATTRIBUTE, VECTOR, ROWS, COLUMNS)                                            \
  ATTRIBUTE void NAME##_registers(int64_t turns, float* sink) {                                           \
    VECTOR c[ROWS * COLUMNS] = {}, x, y;                                                                  \
    for (unsigned i = 0; i < sizeof(VECTOR) / 4; ++i) x[i] = 0.5f, y[i] = sink[i];                        \
    _Pragma("GCC unroll 32") for (int i = 0; i < ROWS * COLUMNS; ++i) c[i] =                              \
        y + static_cast<float>(i); /* unequal, or they would be shared */                                 \
                                                                                                          \
    for (int64_t turn = 0; turn < turns; ++turn) {                                                        \
      _Pragma("GCC unroll 32") for (int i = 0; i < ROWS * COLUMNS; ++i) c[i] = c[i] * x + y;              \
    }                                                                                                     \
    VECTOR sum = {};                                                                                      \
    _Pragma("GCC unroll 32") for (int i = 0; i < ROWS * COLUMNS; ++i) sum += c[i];                        \
    std::memcpy(sink, &sum, sizeof(sum));                                                                 \
  }                                                                                                       \
  ATTRIBUTE void NAME##_tile(const float* a, const float* b, float* sink) {                               \
    VECTOR c[ROWS * COLUMNS] = {};                                                                        \
    for (int k = 0; k < depth; ++k) {                                                                     \
      VECTOR line[COLUMNS];                                                                               \
      _Pragma("GCC unroll 4") for (int j = 0; j < COLUMNS; ++j) line[j] =                                 \
          *reinterpret_cast<const VECTOR*>(b + (k * COLUMNS + j) * (sizeof(VECTOR) / 4));                 \
      _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; ++i) {                                           \
        const float factor = a[k * ROWS + i];                                                             \
        _Pragma("GCC unroll 4") for (int j = 0; j < COLUMNS; ++j) c[i * COLUMNS + j] += line[j] * factor; \
      }                                                                                                   \
    }                                                                                                     \
    VECTOR sum = {};                                                                                      \
    _Pragma("GCC unroll 32") for (int i = 0; i < ROWS * COLUMNS; ++i) sum += c[i];                        \
    std::memcpy(sink, &sum, sizeof(sum));                                                                 \
  }
// NOLINTEND(bugprone-macro-parentheses)

#if defined(__x86_64__)
#if defined(__clang__)
#define KW_FULLY_OPTIMISED
#else
#define KW_FULLY_OPTIMISED , optimize("O3")
#endif
KW_PEAK_BODIES(avx512, __attribute__((target("avx512f,fma"), noinline KW_FULLY_OPTIMISED)), Vector64, 8, 3)
KW_PEAK_BODIES(avx2, __attribute__((target("avx2,fma"), noinline KW_FULLY_OPTIMISED)), Vector32, 6, 2)
#endif
KW_PEAK_BODIES(generic, __attribute__((noinline)), Vector16, 6, 2)
#undef KW_PEAK_BODIES

struct PeakRow {
  const char* isa;
  bool (*supported)();
  void (*registers)(int64_t turns, float* sink);
  void (*tile)(const float* a, const float* b, float* sink);
  int rows, columns, lanes;
};

const PeakRow& best_row() {
  static const PeakRow rows[] = {
#if defined(__x86_64__)
    {"avx512", [] { return __builtin_cpu_supports("avx512f") != 0; }, avx512_registers, avx512_tile, 8, 3, 16},
    {"avx2", [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }, avx2_registers, avx2_tile,
     6, 2, 8},
#endif
    {"generic", [] { return true; }, generic_registers, generic_tile, 6, 2, 4},
  };
  for (const PeakRow& row : rows)
    if (row.supported()) return row;
  return rows[std::size(rows) - 1];
}

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Runs work(thread) on all threads at once, again and again for `budget_s`; the shortest round from the first
/// start to the last end.
double best_round(int threads, double budget_s, const std::function<void(int)>& work) {
  const auto start = Clock::now();
  double best = 1e30;
  bool stop = false;
  std::vector<Clock::time_point> begin(static_cast<size_t>(threads)), end(begin);
  auto close_round = [&]() noexcept {
    best = std::min(best, seconds_between(*std::min_element(begin.begin(), begin.end()),
                                          *std::max_element(end.begin(), end.end())));
    stop = seconds_between(start, Clock::now()) > budget_s;
  };
  std::barrier gather(threads);
  std::barrier finish(threads, close_round);
  auto body = [&](int thread) {
    const auto self = static_cast<size_t>(thread);
    while (!stop) {
      gather.arrive_and_wait();
      begin[self] = Clock::now();
      work(thread);
      end[self] = Clock::now();
      finish.arrive_and_wait();
    }
  };
  std::vector<std::jthread> crew;
  for (int thread = 1; thread < threads; ++thread) crew.emplace_back(body, thread);
  body(0);
  return best;
}

double register_rate(const PeakRow& row, int threads) {
  constexpr int64_t turns = 40000;
  const double flops = 2.0 * row.rows * row.columns * row.lanes * turns * threads;
  return flops / best_round(threads, 0.25, [&](int) {
           alignas(64) float sink[16] = {0.25f};
           row.registers(turns, sink);
         });
}

double l1_rate(const PeakRow& row, int threads) {
  constexpr int turns = 400;
  const double flops = 2.0 * row.rows * row.columns * row.lanes * depth * turns * threads;
  return flops / best_round(threads, 0.35, [&](int) {
           alignas(64) float a[depth * 8] = {}, b[depth * 48] = {}, sink[16];
           for (int turn = 0; turn < turns; ++turn) row.tile(a, b, sink);
         });
}

int64_t copy_bytes() {
  const int64_t last_cache = std::max<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), int64_t{8} << 20);
  return std::clamp<int64_t>(3 * last_cache, int64_t{64} << 20, int64_t{192} << 20);
}

double copy_rate(int threads) {
  for (int64_t bytes = copy_bytes(); bytes >= (int64_t{8} << 20); bytes /= 2) {
    std::unique_ptr<char[]> from(new (std::nothrow) char[static_cast<size_t>(bytes)]);
    std::unique_ptr<char[]> to(new (std::nothrow) char[static_cast<size_t>(bytes)]);
    if (!from || !to) continue;
    const int64_t share = bytes / threads;
    auto slice = [&](const std::unique_ptr<char[]>& block, int thread) { return block.get() + thread * share; };
    best_round(threads, 0.0, [&](int thread) {  // touches the pages
      std::memset(slice(from, thread), 1, static_cast<size_t>(share));
      std::memset(slice(to, thread), 2, static_cast<size_t>(share));
    });
    const double seconds = best_round(threads, 0.35, [&](int thread) {
      std::memcpy(slice(to, thread), slice(from, thread), static_cast<size_t>(share));
    });
    return 2.0 * static_cast<double>(share) * threads / seconds;
  }
  return 0;
}

}  // namespace

MachinePeaks measure_peaks(int threads) {
  const auto start = Clock::now();
  const PeakRow& row = best_row();
  MachinePeaks peaks;
  peaks.isa = row.isa;
  peaks.threads = threads > 0 ? threads : usable_cores();
  peaks.register_flops_per_s = register_rate(row, peaks.threads);
  peaks.l1_flops_per_s = l1_rate(row, peaks.threads);
  peaks.copy_bytes_per_s = copy_rate(peaks.threads);
  peaks.seconds = seconds_between(start, Clock::now());
  return peaks;
}

}  // namespace kw::target
