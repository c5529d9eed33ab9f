#include "author/llm/feedback.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <vector>

#include "author/llm/prompt.h"

namespace kw::author {
namespace {

constexpr size_t kQuotedLines = 12, kProfiledKernels = 8;
constexpr std::string_view kUnits[] = {"candidate.cpp:", "kernels.metal:", "kernels.cu:"};  // as compilers call it

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

/// Line numbers of the candidate that the compiler names, in order of first mention.
std::vector<size_t> named_lines(std::string_view words) {
  std::vector<size_t> numbers;
  std::set<size_t> seen;
  for (const std::string_view unit : kUnits)
    for (size_t at = 0; (at = words.find(unit, at)) != std::string_view::npos; at += unit.size()) {
      const size_t number = std::strtoul(std::string(words.substr(at + unit.size(), 9)).c_str(), nullptr, 10);
      if (number > 0 && seen.insert(number).second) numbers.push_back(number);
    }
  return numbers;
}

std::string quoted_lines(std::string_view words, const std::string& source) {
  const auto lines = lines_of(source);
  std::string text;
  size_t quoted = 0;
  for (const size_t number : named_lines(words)) {
    if (number > lines.size() || quoted++ == kQuotedLines) break;
    text += fmt::format("{:4} | {}\n", number, lines[number - 1].substr(0, 200));
  }
  return text.empty() ? "" : "The lines that it names:\n" + text;
}

std::string witness_text(const judge::Witness& w) {
  return fmt::format(
      "For example, with {} inputs, output {} at [{}] should be {:.9g} and is {:.9g}; at most {:.3g} off is "
      "allowed there.",
      w.suite, w.output, fmt::join(w.index, ", "), w.expected, w.got, w.bound);
}

/// The kernels that take most of a call, the longest first.
std::string profile_text(std::vector<LaunchTime> launches) {
  if (launches.empty()) return "";
  double all = 0;
  for (const LaunchTime& launch : launches) all += launch.seconds;
  std::stable_sort(launches.begin(), launches.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  std::string text = "\nThe profile, kernel by kernel:";
  for (const LaunchTime& launch : launches)
    if (&launch < launches.data() + kProfiledKernels)
      text += fmt::format("\n- `{}`: {}, {:.0f}% of the call, {} launch{}{}", launch.kernel, time_text(launch.seconds),
                          all > 0 ? 100 * launch.seconds / all : 0, launch.launches, launch.launches == 1 ? "" : "es",
                          launch.bound.empty() ? "" : ", held up by " + launch.bound);
  return text + "\n";
}

}  // namespace

std::string feedback_of(const judge::Verdict& verdict, const std::string& source) {
  if (verdict.outcome == judge::Outcome::verified) return "verified.";
  const bool rejected = verdict.outcome == judge::Outcome::rejected;
  std::string text = fmt::format("{} at the gate `{}`: {}\n", rejected ? "rejected" : "not accepted (undecided)",
                                 verdict.gate, verdict.reason);
  if (verdict.gate == "compile") text += quoted_lines(verdict.reason, source);
  if (verdict.witness) text += witness_text(*verdict.witness) + "\n";
  return text;
}

std::string feedback_of_time(double seconds, double best_s, double roofline_s,
                             const std::vector<LaunchTime>& launches) {
  std::string text = fmt::format("verified, {} a call.", time_text(seconds));
  if (best_s > 0 && best_s < seconds)
    text += fmt::format(" The best so far takes {}, {:.2f} times less.", time_text(best_s), seconds / best_s);
  if (roofline_s > 0)
    text += fmt::format(" The machine's limits would allow {} ({:.0f}% of it is reached).", time_text(roofline_s),
                        100 * roofline_s / seconds);
  return text + profile_text(launches);
}

}  // namespace kw::author
