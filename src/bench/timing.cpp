#include "bench/timing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"

namespace kw::bench {

namespace {

constexpr double claim = 0.02;       // a difference below 2% is no difference
constexpr double wide_share = 0.10;  // an interval wider than a tenth of its median decides nothing

double quantile(std::vector<double>& values, double share) {
  const auto at = static_cast<std::ptrdiff_t>(std::lround(share * static_cast<double>(values.size() - 1)));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

}  // namespace

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

Interval bootstrap_median(const std::vector<double>& ratios, uint64_t seed, int resamples) {
  const double median = median_of(ratios);
  if (ratios.size() < 2) return {median, 0, std::numeric_limits<double>::infinity()};
  Random random(seed);
  std::vector<double> medians, sample(ratios.size());
  for (int i = 0; i < resamples; ++i) {
    for (double& value : sample)
      value = ratios[static_cast<size_t>(random.integer(0, static_cast<int64_t>(ratios.size()) - 1))];
    medians.push_back(median_of(sample));
  }
  return {median, quantile(medians, 0.025), quantile(medians, 0.975)};
}

TimingVerdict decide(const Interval& interval, double a_a, double a_a_limit) {
  const bool ordered = interval.lo <= interval.median && interval.median <= interval.hi && interval.lo > 0;
  if (!ordered || !std::isfinite(interval.hi) || !(std::abs(a_a - 1) <= a_a_limit)) return TimingVerdict::noisy;
  if (interval.lo > 1 + claim) return TimingVerdict::faster;
  if (interval.hi < 1 - claim) return TimingVerdict::slower;
  const bool narrow = interval.hi - interval.lo <= wide_share * interval.median;
  return narrow ? TimingVerdict::same : TimingVerdict::noisy;
}

}  // namespace kw::bench
