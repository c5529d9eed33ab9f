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
  double baseline_s = 0;   // median time of one call, caches cold
  double candidate_s = 0;  // of the drop-in, in the same blocks
  double warm_median = 0;  // ratio with warm caches; 0 when not measured
  std::string failure;     // why this baseline could not run; then the numbers are 0
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
double median_of(std::vector<double> values);
/// Percentile bootstrap over whole blocks: resampled medians, their 2.5% and 97.5% quantiles. Efron and Tibshirani,
/// "An Introduction to the Bootstrap" (1993), section 13.3. Fewer than two ratios have no interval: lo 0, hi infinite.
Interval bootstrap_median(const std::vector<double>& ratios, uint64_t seed, int resamples = 10000);
/// faster: lo > 1.02. slower: hi < 0.98. same: lo >= 0.98 and hi <= 1.02, or the interval is narrower than 10% and
/// holds neither claim. noisy: the A/A run is off by more than its limit, or the interval is wider.
TimingVerdict decide(const Interval& interval, double a_a, double a_a_limit);

}  // namespace kw::bench
