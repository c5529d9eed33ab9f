#include "kernel/schedule/gemm_micro.h"

#include <fmt/format.h>

#include <algorithm>

namespace kw::kernel::schedule {
namespace {

constexpr int prefetch_rows = 8;  // of the column panel: hides the L2's latency behind about 100 cycles of work

/// Products summed in one chain. A chain's rounding error grows with its length, of runs that are added up with the
/// square root of their number: 3072 products err 3.4 times less in runs of 256, for under 2% of the time.
constexpr int sum_run = 256;

std::string scalar_type(DType dtype) { return dtype == DType::f64 ? "double" : "float"; }

/// One line for each accumulator.
template <class Line>
void each_accumulator(std::string& text, const MicroShape& shape, Line line) {
  for (int i = 0; i < shape.mr; ++i)
    for (int j = 0; j < shape.nv; ++j) text += line(i, j);
}

std::string one_k(const MicroShape& shape, int element_bytes) {
  std::string text;
  for (int line = 0; line < shape.width() * element_bytes; line += 64)
    text += fmt::format("      __builtin_prefetch(b + {});\n", prefetch_rows * shape.width() + line / element_bytes);
  for (int j = 0; j < shape.nv; ++j)
    text += fmt::format("      const V b{0} = *(const U*)(b + {1});\n", j, j * shape.lanes);
  for (int i = 0; i < shape.mr; ++i) {
    for (int j = 0; j < shape.nv; ++j) text += fmt::format("      c{0}_{1} += a[{0}] * b{1};\n", i, j);
  }
  return text;
}

/// Exchanges bit `s` of the row number with bit `s` of the lane number in rows r[0..lanes).
std::string exchange(int lanes, int s) {
  std::string text;
  for (int i = 0; i < lanes; ++i) {
    if (i & s) continue;
    std::string low, high;
    for (int lane = 0; lane < lanes; ++lane) {
      low += fmt::format(", {}", (lane & s) ? lanes + lane - s : lane);
      high += fmt::format(", {}", (lane & s) ? lanes + lane : lane + s);
    }
    text += fmt::format(
        "  {{ const V x = r{0}, y = r{1}; r{0} = __builtin_shufflevector(x, y{2}); "
        "r{1} = __builtin_shufflevector(x, y{3}); }}\n",
        i, i + s, low, high);
  }
  return text;
}

}  // namespace

int widest_nv(int mr, int vector_registers) { return std::clamp((vector_registers - 1) / (mr + 1), 1, 8); }

std::string micro_text(const std::string& name, const MicroShape& shape) {
  const std::string scalar = scalar_type(shape.dtype);
  const int element_bytes = shape.dtype == DType::f64 ? 8 : 4;
  std::string text = fmt::format(
      "static __attribute__((noinline)) void {0}(const {1}* __restrict a, int64_t ao, const {1}* __restrict b, "
      "int64_t bo,\n    {1}* __restrict t, int64_t to, int64_t kc, int64_t k0) {{\n"
      "  typedef {1} V __attribute__((vector_size({2})));\n"
      "  typedef {1} U __attribute__((vector_size({2}), aligned({3})));\n"
      "  a += ao; b += bo; t += to;\n",
      name, scalar, shape.lanes * element_bytes, element_bytes);
  auto place = [&](int i, int j) { return fmt::format("*(U*)(t + {})", i * shape.width() + j * shape.lanes); };
  text += fmt::format("  for (int64_t begin = 0; begin < kc; begin += {0}) {{\n", sum_run);
  text += fmt::format("    const int64_t end = kc - begin < {0} ? kc : begin + {0};\n", sum_run);
  each_accumulator(text, shape, [&](int i, int j) { return fmt::format("    V c{}_{} = {{}};\n", i, j); });
  text += "    for (int64_t k = begin; k < end; ++k) {\n" + one_k(shape, element_bytes);
  text += fmt::format("      a += {}; b += {};\n    }}\n    if (k0 + begin > 0) {{\n", shape.mr, shape.width());
  each_accumulator(text, shape, [&](int i, int j) { return fmt::format("      c{}_{} += {};\n", i, j, place(i, j)); });
  text += "    }\n";
  each_accumulator(text, shape, [&](int i, int j) { return fmt::format("    {} = c{}_{};\n", place(i, j), i, j); });
  text += "  }\n";
  return text + "}\n";
}

std::string transpose_text(const std::string& name, int width, int lanes, DType dtype) {
  const std::string scalar = scalar_type(dtype);
  const int element_bytes = dtype == DType::f64 ? 8 : 4;
  std::string text = fmt::format(
      "static __attribute__((noinline)) void {0}(const {1}* __restrict from, {1}* __restrict to, int64_t base) {{\n"
      "  typedef {1} V __attribute__((vector_size({2}), aligned({3})));\n  to += base;\n",
      name, scalar, lanes * element_bytes, element_bytes);
  // A block that is wider than the panel spills into the next rows, which are written after it: last block first,
  // rows in order; rows that would spill past the end are written exactly.
  for (int block = (width - 1) / lanes; block >= 0; --block) {
    const int rows = std::min(lanes, width - block * lanes);
    text += "  {\n";
    for (int i = 0; i < lanes; ++i)
      text += i < rows ? fmt::format("  V r{} = *(const V*)(from + {});\n", i, (block * lanes + i) * lanes)
                       : fmt::format("  V r{} = {{}};\n", i);
    for (int s = 1; s < lanes; s *= 2) text += exchange(lanes, s);
    for (int k = 0; k < lanes; ++k) {
      const bool inside = k * width + (block + 1) * lanes <= lanes * width;
      if (inside) text += fmt::format("  *(V*)(to + {}) = r{};\n", k * width + block * lanes, k);
      for (int i = 0; !inside && i < rows; ++i)
        text += fmt::format("  to[{}] = r{}[{}];\n", k * width + block * lanes + i, k, i);
    }
    text += "  }\n";
  }
  return text + "}\n";
}

}  // namespace kw::kernel::schedule
