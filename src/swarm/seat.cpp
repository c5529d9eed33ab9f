#include "swarm/seat.h"

#include <algorithm>
#include <cmath>

namespace kw::swarm {
namespace {

constexpr double kNoise = 1.03;

constexpr const char* kHints[] = {
    "Write the fastest kernels that you can, from scratch. First make them right, then fast.",
    "Keep the number of launches and the traffic to memory as low as they will go: fuse what can be fused.",
    "Think first about how the work is split among the groups, and about what stays in registers and caches.",
    "Vectorise the innermost loops explicitly, with several independent accumulators, and treat the ends apart.",
};
constexpr const char* kAgain = "Mend what was wrong, or make the kernels faster if they were right.";

}  // namespace

std::string hint_of(int index, int number) {
  const size_t row = static_cast<size_t>(index) % std::size(kHints);
  return number == 1 ? kHints[row] : std::string(kAgain) + " " + kHints[row];
}

std::vector<Finalist> ranked(std::vector<Finalist> finalists) {
  std::sort(finalists.begin(), finalists.end(), [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
  // Classes of equal speed, each from its fastest member, so that the order does not depend on the noise inside one.
  for (size_t begin = 0; begin < finalists.size();) {
    size_t end = begin;
    while (end < finalists.size() && finalists[end].seconds <= kNoise * finalists[begin].seconds) ++end;
    std::sort(finalists.begin() + static_cast<std::ptrdiff_t>(begin),
              finalists.begin() + static_cast<std::ptrdiff_t>(end),
              [](const auto& a, const auto& b) { return std::pair(a.number, a.index) < std::pair(b.number, b.index); });
    begin = end;
  }
  return finalists;
}

bool uses_up_an_attempt(const Failure& failure) {
  for (const char* id : {"llm.refusal", "llm.length", "llm.too_large", "llm.utf8", "command.failed", "command.output"})
    if (failure.id == id) return true;
  return false;
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(std::floor(share * static_cast<double>(values.size() - 1) + 0.5))];
}

}  // namespace kw::swarm
