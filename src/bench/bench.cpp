#include "bench/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/parallel.h"
#include "base/process.h"
#include "base/random.h"
#include "module/export.h"

namespace kw::bench {

namespace {

using Json = nlohmann::json;

// The worker keeps its time itself; after this it is killed. A worker that starts anew needs at least the other.
constexpr double hang_grace_s = 30, least_s = 15;

/// A block is baseline, candidate, candidate, baseline: a drift of the machine cancels within it.
std::vector<double> block_ratios(const Json& blocks) {
  std::vector<double> ratios;
  for (const Json& block : blocks) {
    const double baseline = block.at(0).get<double>(), candidate = block.at(1).get<double>();
    if (baseline > 0 && candidate > 0) ratios.push_back(baseline / candidate);
  }
  return ratios;
}

double median_column(const Json& blocks, size_t column) {
  std::vector<double> values;
  for (const Json& block : blocks) values.push_back(block.at(column).get<double>());
  return median_of(values);
}

Comparison comparison_of(const Json& json, const Timing& timing, uint64_t seed) {
  Comparison c;
  c.baseline = json.at("baseline").get<std::string>();
  c.failure = json.value("failure", "");
  const Json cold = json.value("cold", Json::array());
  const std::vector<double> ratios = block_ratios(cold);
  if (c.failure.empty() && ratios.empty()) c.failure = "no undisturbed block was measured";
  if (!c.failure.empty()) return c;
  const Interval interval = bootstrap_median(ratios, seed);
  c.median = interval.median;
  c.lo = interval.lo;
  c.hi = interval.hi;
  c.blocks = static_cast<int>(ratios.size());
  c.baseline_s = median_column(cold, 0);
  c.candidate_s = median_column(cold, 1);
  c.warm_median = median_of(block_ratios(json.value("warm", Json::array())));
  c.verdict = decide(interval, timing.a_a, timing.a_a_limit);
  return c;
}

/// The baseline to beat: the one against which the candidate gains least.
int fastest_of(const std::vector<Comparison>& comparisons) {
  int fastest = -1;
  for (size_t i = 0; i < comparisons.size(); ++i) {
    if (!comparisons[i].failure.empty()) continue;
    if (fastest < 0 || comparisons[i].median < comparisons[static_cast<size_t>(fastest)].median)
      fastest = static_cast<int>(i);
  }
  return fastest;
}

/// Nothing beats the machine: a call in under 0.95 of the roofline time was not computed, or not measured.
bool is_plausible(const Timing& timing, double roofline_s) {
  return std::all_of(timing.comparisons.begin(), timing.comparisons.end(),
                     [&](const Comparison& c) { return !c.failure.empty() || c.candidate_s >= 0.95 * roofline_s; });
}

Timing read_reply(const Json& json, const BenchRequest& request) {
  Timing timing;
  timing.a_a = median_of(block_ratios(json.at("a_a")));
  timing.note = json.value("note", "");
  const uint64_t seed = request.seed ? request.seed : secret_seed();
  for (const Json& item : json.at("comparisons")) timing.comparisons.push_back(comparison_of(item, timing, seed));
  timing.fastest = fastest_of(timing.comparisons);
  timing.plausible = is_plausible(timing, request.roofline_s);
  if (!timing.plausible)
    for (Comparison& comparison : timing.comparisons) comparison.verdict = TimingVerdict::noisy;
  return timing;
}

std::string request_json(const BenchRequest& request) {
  const Json json = {
      {"package", request.package},     {"source", request.source},
      {"mode", request.mode},           {"folder", request.folder},
      {"baselines", request.baselines}, {"threads", request.threads > 0 ? request.threads : usable_cores()},
      {"time_s", request.time_s},       {"baseline_limit_s", request.baseline_limit_s},
      {"blocks", request.blocks},       {"seed", (request.seed ? request.seed : secret_seed()) & 0x7fffffff}};
  return json.dump();
}

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// What the worker last said it was doing, and how long that may take.
class Watch {
 public:
  explicit Watch(const BenchRequest& request) : request_(request) {}

  /// Lines that begin with "progress: " are for people, "limit: " is for us, the rest is the frameworks' own noise.
  void hear(std::string_view line) {
    constexpr std::string_view progress = "progress: ", limit = "limit: ";
    if (line.starts_with(limit))
      set(std::string(line.substr(limit.size())));
    else if (line.starts_with(progress) && request_.progress)
      request_.progress(std::string(line.substr(progress.size())));
    else
      log_line(LogLevel::debug, line);
  }

  bool overdue() const { return limit_s_ > 0 && seconds_since(since_) > limit_s_ + grace_s; }
  const std::string& doing() const { return doing_; }
  double limit_s() const { return limit_s_; }

 private:
  static constexpr double grace_s = 3;  // the worker's own alarm comes first where it is heard

  void set(const std::string& text) {
    const size_t space = text.find(' ');
    doing_ = text.substr(0, space);
    limit_s_ = space == std::string::npos ? 0 : std::strtod(text.c_str() + space, nullptr);
    since_ = Clock::now();
  }

  const BenchRequest& request_;
  std::string doing_;
  double limit_s_ = 0;
  Clock::time_point since_;
};

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of("\r\n");
  if (end == std::string::npos) return "";
  const size_t begin = text.find_last_of('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> python_environment() {
  std::string search = module::python_package_folder().string();
  const char* inherited = std::getenv("PYTHONPATH");
  if (inherited && *inherited) search += (search.empty() ? "" : ":") + std::string(inherited);
  if (search.empty()) return {};
  return {{"PYTHONPATH", search}};
}

Result<Timing> timing_of_reply(std::string_view text, const BenchRequest& request) {
  try {
    const Json json = Json::parse(text);
    if (json.value("type", "") == "error")
      return Failure{json.at("id").get<std::string>(), json.at("message").get<std::string>(), json.value("hint", "")};
    return read_reply(json, request);
  } catch (const std::exception& error) {
    return Failure{"bench.reply", std::string("the bench worker's reply cannot be read: ") + error.what(), ""};
  }
}

namespace {

/// One run of the worker. hung: the baseline at which it stopped answering, with the limit that it was given.
Result<ProcessReply> run_worker(const BenchRequest& request, double left_s, std::map<std::string, double>& hung) {
  Watch watch(request);
  ProcessOptions options;
  BenchRequest now = request;
  now.time_s = left_s;
  options.stdin_text = request_json(now);
  options.timeout_s = left_s + hang_grace_s;
  options.env = python_environment();
  options.on_stderr_line = [&](std::string_view line) { watch.hear(line); };
  options.give_up = [&] { return watch.overdue(); };
  const std::string python = request.python.empty() ? module::find_python().string() : request.python;
  Result<ProcessReply> reply = run_process({python, "-m", "kernelwright.bench_worker"}, options);
  if (reply.ok() && reply->timed_out && watch.overdue()) hung[watch.doing()] = watch.limit_s();
  return reply;
}

/// Puts those that hung back into the order of the request.
void add_hung(Timing& timing, const std::vector<std::string>& asked, const std::map<std::string, double>& hung) {
  const std::string fastest =
      timing.fastest < 0 ? "" : timing.comparisons[static_cast<size_t>(timing.fastest)].baseline;
  for (size_t i = 0; i < asked.size(); ++i) {
    const auto found = hung.find(asked[i]);
    if (found == hung.end()) continue;
    Comparison missing;
    missing.baseline = asked[i];
    missing.failure = fmt::format("not ready within {:.0f} s, and had to be killed", found->second);
    const auto at = static_cast<std::ptrdiff_t>(std::min(i, timing.comparisons.size()));
    timing.comparisons.insert(timing.comparisons.begin() + at, missing);
  }
  for (size_t i = 0; i < timing.comparisons.size(); ++i)
    if (timing.comparisons[i].baseline == fastest) timing.fastest = static_cast<int>(i);
}

}  // namespace

Result<Timing> run_bench(const BenchRequest& request) {
  const auto start = Clock::now();
  std::map<std::string, double> hung;
  BenchRequest rest = request;
  while (true) {
    const size_t hung_before = hung.size();
    const Result<ProcessReply> reply = run_worker(rest, std::max(least_s, request.time_s - seconds_since(start)), hung);
    if (!reply) return Failure{"bench.worker", reply.failure().message, reply.failure().hint};
    if (interrupted()) return Failure{"interrupted", "interrupted", ""};
    if (hung.size() > hung_before) {
      std::erase_if(rest.baselines, [&](const std::string& name) { return hung.contains(name); });
      continue;
    }
    if (reply->timed_out) return Failure{"bench.worker", "the bench worker did not end in time", "give it more --time"};
    const std::string line = last_line(reply->out);
    if (line.empty())
      return Failure{"bench.worker", "the bench worker ended without a result: " + last_line(reply->err), ""};
    Result<Timing> timing = timing_of_reply(line, request);
    if (timing.ok()) add_hung(*timing, request.baselines, hung);
    return timing;
  }
}

}  // namespace kw::bench
