#include "swarm/bandit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kw::swarm {
namespace {

constexpr double kPriorGain = 0.2, kPriorCost = 0.01;  // one unknown attempt
constexpr double kSecondsPerDollar = 3600;             // what waiting counts
constexpr double kExploration = 0.5;

double cost(const Arm& arm) { return author::to_usd(arm.spent) + arm.seconds / kSecondsPerDollar; }

}  // namespace

double score(const Arm& arm, int all_pulls) {
  const double pulls = arm.pulls + 1.0;
  const double rate = (arm.gain + kPriorGain) / (cost(arm) + kPriorCost);
  const double unknown = std::sqrt(std::log(all_pulls + 2.0) / pulls);
  return rate * (1 + kExploration * unknown);
}

Pull choose(const std::vector<Arm>& ready, int all_pulls, author::Picodollars left) {
  author::Picodollars needed = 0;
  for (const Arm& arm : ready) needed += arm.bound;
  int best = -1;
  for (size_t i = 0; i < ready.size(); ++i) {
    const bool better = best < 0 || score(ready[i], all_pulls) > score(ready[static_cast<size_t>(best)], all_pulls);
    if (better) best = static_cast<int>(i);
  }
  if (best < 0) return {};
  const Arm& arm = ready[static_cast<size_t>(best)];
  return {best, fmt::format("gain per cost {:.3g}{}{}", score(arm, all_pulls),
                            ready.size() > 1 ? fmt::format(", the best of {} that are ready", ready.size()) : "",
                            needed > left ? fmt::format(", money is short ({} left)", author::usd_text(left)) : "")};
}

}  // namespace kw::swarm
