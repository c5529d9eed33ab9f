#include "kernel/schedule/direct_micro.h"

#include <fmt/format.h>

#include <algorithm>

namespace kw::kernel::schedule {
namespace {

constexpr int64_t sum_run = 256;          // products summed in one chain, as in a matrix product
constexpr int64_t prefetch_cycles = 120;  // weights are fetched this far ahead: the second cache's latency and more

/// Text of one register tile.
class MicroText {
 public:
  MicroText(const DirectProblem& problem, const DirectTile& tile, const TapMask& mask)
      : p_(problem), tile_(tile), mask_(mask) {}

  std::string text(const std::string& name) {
    text_ = fmt::format(
        "static __attribute__((noinline)) void {0}(const float* __restrict x, int64_t xo, const float* __restrict w, "
        "int64_t wo,\n    float* __restrict t, int64_t to, int64_t blocks, int64_t y0, int64_t y1, int64_t add) {{\n"
        "  typedef float V __attribute__((vector_size({1})));\n"
        "  typedef float U __attribute__((vector_size({1}), aligned(4)));\n  x += xo; w += wo; t += to;\n",
        name, 4 * p_.lanes);
    if (p_.kind == DirectKind::convolution)
      sums();
    else
      window();
    return text_ + "}\n";
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    text_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }
  template <class Line>
  void each_accumulator(Line f) {
    for (int i = 0; i < tile_.places; ++i)
      for (int j = 0; j < tile_.filters; ++j) f(i, j);
  }
  std::string kept(int i, int j) const { return fmt::format("*(U*)(t + {})", (i * tile_.filters + j) * p_.lanes); }
  int64_t offset(int64_t place, int64_t tap) const { return (place * p_.x.stride + tap * p_.x.dilation) * p_.x.step; }
  bool inside(int64_t tap, int place) const { return mask_[static_cast<size_t>(tap)][static_cast<size_t>(place)]; }

  void sums() {
    const int64_t turn = p_.x.taps * tile_.filters * p_.lanes;
    const int64_t run = std::max<int64_t>(1, sum_run / (p_.sum_inner * p_.y.taps * p_.x.taps));
    line("  for (int64_t begin = 0; begin < blocks; begin += {}) {{", run);
    line("    const int64_t end = blocks - begin < {0} ? blocks : begin + {0};", run);
    each_accumulator([&](int i, int j) { line("    V c{}_{} = {{}};", i, j); });
    line("    for (int64_t b = begin; b < end; ++b)");
    line("      for (int64_t y = y0; y < y1; ++y) {{");
    line("        const float* a = x + (b * {} + y * {});", p_.sum_outer_step, p_.y.dilation * p_.y.step);
    line("        const float* v = w + (b * {} + y) * {};", p_.y.taps, p_.sum_inner * turn);
    // The next tile's row is fetched while this one's is multiplied: a line for each place, spread over the turns.
    const bool fetches = p_.sum_inner_step == 1 && p_.x.step * 4 >= 32;
    const int64_t pace = (tile_.places * p_.x.stride + p_.sum_inner - 1) / p_.sum_inner * p_.x.step;
    if (fetches) line("        const float* next = a + {};", tile_.places * p_.x.stride * p_.x.step);
    line("        for (int64_t k = 0; k < {}; ++k) {{", p_.sum_inner);
    for (int64_t at = 0; fetches && at < pace; at += p_.x.step) line("          __builtin_prefetch(next + {});", at);
    if (fetches) line("          next += {};", pace);
    for (int64_t tap = 0; tap < p_.x.taps; ++tap) {
      // Without it GCC keeps every place's broadcast from tap to tap and spills accumulators for them.
      if (tap > 0) line("          __atomic_signal_fence(__ATOMIC_SEQ_CST);");
      products(tap, turn);
    }
    line("          a += {}; v += {};\n        }}\n      }}", p_.sum_inner_step, turn);
    line("    if (add | begin) {{");
    each_accumulator([&](int i, int j) { line("      c{}_{} += {};", i, j, kept(i, j)); });
    line("    }}");
    each_accumulator([&](int i, int j) { line("    {} = c{}_{};", kept(i, j), i, j); });
    line("  }}");
  }

  void products(int64_t tap, int64_t turn) {
    const int64_t cycles = std::max<int64_t>(1, p_.x.taps * tile_.places * tile_.filters / 2);
    const int64_t ahead = (prefetch_cycles + cycles - 1) / cycles;
    for (int j = 0; j < tile_.filters; ++j) {
      const int64_t at = (tap * tile_.filters + j) * p_.lanes;
      if (at % 16 == 0) line("          __builtin_prefetch(v + {});", ahead * turn + at);
      line("          const V w{}_{} = *(const U*)(v + {});", tap, j, at);
    }
    each_accumulator([&](int i, int j) {
      if (inside(tap, i)) line("          c{0}_{1} += a[{2}] * w{3}_{1};", i, j, offset(i, tap), tap);
    });
  }

  /// A vector of channels at each place: no products across channels.
  void window() {
    const bool sum = p_.op == graph::ReduceOp::sum;
    const char* start = sum ? "{}" : p_.op == graph::ReduceOp::max ? "{} - __builtin_inff()" : "{} + __builtin_inff()";
    each_accumulator([&](int i, int j) { line("  V c{}_{} = (V){};", i, j, start); });
    line("  for (int64_t y = y0; y < y1; ++y) {{\n    const float* a = x + y * {};", p_.y.dilation * p_.y.step);
    if (p_.weight >= 0) line("    const float* v = w + y * {};", p_.x.taps * p_.lanes);
    for (int64_t tap = 0; tap < p_.x.taps; ++tap) {
      if (p_.weight >= 0) line("    const V w{} = *(const U*)(v + {});", tap, tap * p_.lanes);
      for (int i = 0; i < tile_.places; ++i)
        if (inside(tap, i)) combine(i, tap);
    }
    line("  }}");
    each_accumulator([&](int i, int j) { line("  {} = c{}_{};", kept(i, j), i, j); });
  }

  void combine(int i, int64_t tap) {
    const std::string value = fmt::format("*(const U*)(a + {})", offset(i, tap));
    if (p_.weight >= 0) return line("    c{0}_0 += {1} * w{2};", i, value, tap);
    if (p_.op == graph::ReduceOp::sum) return line("    c{0}_0 += {1};", i, value);
    const char* better = p_.op == graph::ReduceOp::max ? ">" : "<";
    line("    {{ const V e = {1}; c{0}_0 = (e {2} c{0}_0) | (e != e) ? e : c{0}_0; }}", i, value, better);
  }

  const DirectProblem& p_;
  const DirectTile& tile_;
  const TapMask& mask_;
  std::string text_;
};

}  // namespace

TapMask tap_mask(const DirectProblem& problem, int places, int64_t x0) {
  TapMask mask;
  for (int64_t tap = 0; tap < problem.x.taps; ++tap) {
    mask.emplace_back();
    for (int i = 0; i < places; ++i) {
      const int64_t at = (x0 + i) * problem.x.stride + tap * problem.x.dilation - problem.x.lo;
      mask.back().push_back(at >= 0 && at < problem.x.extent);
    }
  }
  return mask;
}

std::string direct_micro_text(const std::string& name, const DirectProblem& problem, const DirectTile& tile,
                              const TapMask& mask) {
  return MicroText(problem, tile, mask).text(name);
}

}  // namespace kw::kernel::schedule
