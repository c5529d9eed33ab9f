#include "app/result.h"

#include <fmt/format.h>

#include <algorithm>

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

json prediction_json(const target::Prediction& p) {
  json steps = json::array();
  for (const target::Prediction::Step& s : p.steps)
    steps.push_back({{"kernel", s.kernel},
                     {"seconds", s.seconds},
                     {"bound", s.bound},
                     {"flops", s.flops},
                     {"bytes", s.bytes},
                     {"occupancy", s.occupancy}});
  return {{"seconds", p.seconds}, {"model", p.model}, {"device", p.device}, {"steps", steps}};
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
            {"idle_while_ready_s", a.device.idle_ready_s},
            {"idle_while_wanted_s", a.device.idle_waiting_s},
            {"measurements", a.device.measurements}}}};
}

/// The kernels that take the most, and the whole.
std::string prediction_text(const target::Prediction& p) {
  std::vector<std::vector<std::string>> rows{{"kernel", "predicted", "bound by"}};
  std::vector<const target::Prediction::Step*> steps;
  for (const auto& step : p.steps) steps.push_back(&step);
  std::stable_sort(steps.begin(), steps.end(), [](const auto* a, const auto* b) { return a->seconds > b->seconds; });
  constexpr size_t most = 8;
  for (size_t i = 0; i < std::min(most, steps.size()); ++i)
    rows.push_back({steps[i]->kernel, fmt::format("{:.1f} us", 1e6 * steps[i]->seconds), steps[i]->bound});
  return "\n" + table_text(rows) +
         fmt::format("\npredicted for {}: {:.1f} us a call ({}; it ranks kernels, it was not measured)", p.device,
                     1e6 * p.seconds, p.model);
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
  if (timing.is_null() && r.prediction) object["predicted"] = prediction_json(*r.prediction);
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
  if (r.prediction) text += prediction_text(*r.prediction);
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
