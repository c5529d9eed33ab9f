#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bench/bench.h"

namespace kw::bench {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 4> verdict_names = {"FASTER", "SLOWER", "SAME", "NOISY"};

TimingVerdict verdict_from(const std::string& name) {
  for (size_t i = 0; i < verdict_names.size(); ++i)
    if (verdict_names[i] == name) return static_cast<TimingVerdict>(i);
  throw std::invalid_argument("no verdict '" + name + "'");
}

/// An open interval has no number in JSON: null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }
double real(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::infinity() : value.get<double>();
}

Json to_json(const Comparison& c) {
  return {{"baseline", c.baseline},       {"median", c.median},           {"lo", c.lo},
          {"hi", number(c.hi)},           {"blocks", c.blocks},           {"baseline_s", c.baseline_s},
          {"candidate_s", c.candidate_s}, {"warm_median", c.warm_median}, {"verdict", name_of(c.verdict)},
          {"failure", c.failure}};
}

Comparison comparison_from(const Json& json) {
  Comparison c;
  c.baseline = json.at("baseline").get<std::string>();
  c.median = json.at("median").get<double>();
  c.lo = json.at("lo").get<double>();
  c.hi = real(json.at("hi"));
  c.blocks = json.at("blocks").get<int>();
  c.baseline_s = json.at("baseline_s").get<double>();
  c.candidate_s = json.at("candidate_s").get<double>();
  c.warm_median = json.at("warm_median").get<double>();
  c.verdict = verdict_from(json.at("verdict").get<std::string>());
  c.failure = json.at("failure").get<std::string>();
  return c;
}

Timing read(const Json& json) {
  Timing timing;
  for (const Json& item : json.at("comparisons")) timing.comparisons.push_back(comparison_from(item));
  timing.fastest = json.at("fastest").get<int>();
  if (timing.fastest < -1 || timing.fastest >= static_cast<int>(timing.comparisons.size()))
    throw std::invalid_argument("'fastest' names no comparison");
  timing.a_a = json.at("a_a").get<double>();
  timing.a_a_limit = json.at("a_a_limit").get<double>();
  timing.plausible = json.at("plausible").get<bool>();
  timing.note = json.at("note").get<std::string>();
  return timing;
}

}  // namespace

std::string_view name_of(TimingVerdict verdict) { return verdict_names[static_cast<size_t>(verdict)]; }

std::string to_json(const Timing& timing) {
  Json comparisons = Json::array();
  for (const Comparison& comparison : timing.comparisons) comparisons.push_back(to_json(comparison));
  const Json json = {{"comparisons", comparisons},    {"fastest", timing.fastest},     {"a_a", timing.a_a},
                     {"a_a_limit", timing.a_a_limit}, {"plausible", timing.plausible}, {"note", timing.note}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Timing> timing_from_json(std::string_view text) {
  try {
    return read(Json::parse(text));
  } catch (const std::exception& error) {
    return Failure{"bench.json", std::string("a timing cannot be read: ") + error.what(), ""};
  }
}

}  // namespace kw::bench
