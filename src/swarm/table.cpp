#include <fmt/format.h>

#include <algorithm>

#include "author/llm/prompt.h"
#include "swarm/swarm.h"

namespace kw::swarm {
namespace {

constexpr double kAsFast = 1.03;  // what a measurement for ranking cannot tell apart

/// What a failure is called where its gate's name would say too little.
constexpr std::pair<std::string_view, std::string_view> kPlainWords[] = {
    {"reply", "unreadable"}, {"compile", "did not compile"}, {"plan", "bad Plan"}, {"source", "forbidden source"}};

std::string_view plain(std::string_view gate) {
  for (const auto& [name, words] : kPlainWords)
    if (name == gate) return words;
  return gate;
}

std::string failures_text(const AuthorReport& report) {
  std::vector<std::pair<std::string, int>> rows(report.failures.begin(), report.failures.end());
  std::erase_if(rows, [&](const auto& row) { return row.first == "budget.spent"; });  // `ended` says that
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [what, count] : rows) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, plain(what));
  return text;
}

std::string place_text(const AuthorReport& report, double best_s) {
  if (report.won) return "won";
  if (report.best_s <= 0) return "no verified kernel";
  if (best_s <= 0) return "verified at first, not in the end";
  if (report.best_s <= kAsFast * best_s) return "as fast as the winner";
  return fmt::format("{:.3g}x slower", report.best_s / best_s);
}

std::string outcome_text(const AuthorReport& report, double best_s) {
  std::string text = place_text(report, best_s);
  const std::string failures = failures_text(report);
  if (!failures.empty()) text += "; failed: " + failures;
  if (!report.ended.empty() && !report.won && !report.used_up) text += "; " + report.ended;
  return text;
}

}  // namespace

std::string table_of(const Account& account) {
  std::vector<std::vector<std::string>> rows{{"author", "attempts", "verified", "best", "cost", "outcome"}};
  for (const AuthorReport& r : account.authors)
    rows.push_back({r.name, std::to_string(r.attempts), std::to_string(r.verified),
                    r.best_s > 0 ? author::time_text(r.best_s) : "-", author::usd_text(r.spent),
                    outcome_text(r, account.best_s)});
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  if (account.predicted) text += "the times are predicted by a model of the device, not measured\n";
  return text + fmt::format("spent {} of {}; {} candidates judged, {} more were equal to one of them\n",
                            author::usd_text(account.spent), author::usd_text(account.budget), account.judged,
                            account.twins);
}

}  // namespace kw::swarm
