#include "app/result.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/output.h"
#include "bench/bench.h"

namespace kw::app {
namespace {

using nlohmann::json;

json comparison_json(const bench::Comparison& c) {
  json object{{"baseline", c.baseline},
              {"median", c.median},
              {"lo", c.lo},
              {"hi", c.hi},
              {"blocks", c.blocks},
              {"verdict", std::string(name_of(c.verdict))}};
  if (!c.failure.empty()) object["failure"] = c.failure;
  return object;
}

std::vector<std::string> comparison_row(const bench::Comparison& c, bool fastest) {
  const std::string name = c.baseline + (fastest ? " (fastest)" : "");
  if (!c.failure.empty()) return {name, "-", "not run: " + c.failure};
  return {name, ratio_text(c), std::string(name_of(c.verdict))};
}

json author_json(const swarm::AuthorReport& r) {
  return {{"author", r.name},
          {"attempts", r.attempts},
          {"verified", r.verified},
          {"equal", r.twins},
          {"requests", r.requests},
          {"cost_usd", author::to_usd(r.spent)},
          {"seconds", r.best_s},
          {"won", r.won},
          {"failures", r.failures},
          {"ended", r.ended},
          {"input_tokens", r.usage.input()},
          {"cached_tokens", r.usage.cache_read},
          {"output_tokens", r.usage.output}};
}

json account_json(const swarm::Account& a) {
  json authors = json::array();
  for (const swarm::AuthorReport& report : a.authors) authors.push_back(author_json(report));
  return {{"authors", authors},
          {"spent_usd", author::to_usd(a.spent)},
          {"budget_usd", author::to_usd(a.budget)},
          {"judged", a.judged},
          {"equal", a.twins},
          {"latency_s", {{"median", a.latency_median_s}, {"p95", a.latency_p95_s}}},
          {"device",
           {{"busy_s", a.device.busy_s},
            {"idle_while_wanted_s", a.device.idle_waiting_s},
            {"measurements", a.device.measurements}}}};
}

}  // namespace

const bench::Comparison* headline(const bench::Timing& timing) {
  return timing.fastest < 0 ? nullptr : &timing.comparisons[static_cast<size_t>(timing.fastest)];
}

std::string ratio_text(const bench::Comparison& c) {
  return fmt::format("{:.2f}x [{:.2f}, {:.2f}]", c.median, c.lo, c.hi);
}

json to_json(const RunResult& r) {
  json timing = nullptr, comparisons = json::array();
  if (r.timing) {
    if (const bench::Comparison* c = headline(*r.timing)) timing = comparison_json(*c);
    for (const bench::Comparison& c : r.timing->comparisons) comparisons.push_back(comparison_json(c));
  }
  json object{
      {"type", "result"},
      {"schema_version", 1},
      {"problem", r.problem},
      {"target", r.target},
      {"verdict", r.verdict},
      {"accuracy",
       {{"class", name_of(r.accuracy.reached)}, {"rms", r.accuracy.rms}, {"framework_rms", r.accuracy.framework_rms}}},
      {"timing", timing},
      {"comparisons", comparisons},
      {"package", r.package.empty() ? json(nullptr) : json(r.package)},
      {"seconds", r.seconds},
      {"attempts", r.attempts},
      {"reason", r.reason},
      {"gain", r.gain},
      {"notes", r.notes}};
  if (timing.is_null()) object["predicted"] = {{"seconds", r.predicted_s}, {"model", "roofline"}};
  if (r.account) object["swarm"] = account_json(*r.account);
  if (r.timing) object["a_a"] = r.timing->a_a;
  return object;
}

std::string to_text(const RunResult& r) {
  std::string text;
  if (r.timing) {
    std::vector<std::vector<std::string>> rows{{"against", "speed-up [95%]", "verdict"}};
    for (size_t i = 0; i < r.timing->comparisons.size(); ++i)
      rows.push_back(comparison_row(r.timing->comparisons[i], static_cast<int>(i) == r.timing->fastest));
    text += "\n" + table_text(rows);
  }
  if (r.account) text += "\n" + swarm::table_of(*r.account);
  text += fmt::format("\n{}: {}", r.problem, r.verdict);
  if (!r.reason.empty()) text += ", " + r.reason;
  text += fmt::format("\naccuracy: {} (rms {:.2g}, PyTorch {:.2g}, against float64)", name_of(r.accuracy.reached),
                      r.accuracy.rms, r.accuracy.framework_rms);
  if (!r.gain.empty()) text += "\ngain by: " + r.gain;
  for (const std::string& note : r.notes) text += "\n  " + note;
  if (!r.package.empty()) text += "\npackage: " + r.package;
  return text + fmt::format("\n{:.0f} s, {} attempts", r.seconds, r.attempts);
}

}  // namespace kw::app
