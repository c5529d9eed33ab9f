#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace kw::bench {

enum class TimingVerdict : uint8_t { faster, slower, same, noisy };

/// Candidate against one baseline: ratio of times (baseline / candidate), median of ABBA block ratios.
struct Comparison {
  std::string baseline;               // "eager", "compile", "max-autotune", "onnxruntime"
  double median = 0, lo = 0, hi = 0;  // bootstrap 95% interval
  int blocks = 0;
  TimingVerdict verdict = TimingVerdict::noisy;
  std::string failure;  // why this baseline could not run; then the numbers are 0
};

struct Timing {
  std::vector<Comparison> comparisons;
  int fastest = -1;  // index of the baseline to beat
  double a_a = 0;    // median of candidate against itself; must be 1.00
  double a_a_limit = 0.03;
  bool plausible = true;  // not faster than 0.95 of the roofline time
  std::string note;
};

/// Pure statistics, tested on their own.
struct Interval {
  double median, lo, hi;
};
Interval bootstrap_median(const std::vector<double>& ratios, uint64_t seed, int resamples = 10000);
TimingVerdict decide(const Interval& interval, double a_a, double a_a_limit);

}  // namespace kw::bench
