#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/random.h"
#include "graph/rewrite/layout.h"
#include "kernel/plan.h"
#include "kernel/schedule/compose.h"
#include "perf_graphs.h"
#include "target/cpu/cpu_target.h"
#include "target/cpu/peaks.h"

/// kw_perf: how close each family's kernels come to what this machine can do. Reproduces docs/performance.md.
namespace kw::perf {
namespace {

using kernel::schedule::Choice;

struct Settings {
  std::string filter;
  size_t schedules = 6;  // best predicted ones of the longest piece that are timed
  int threads = 2;
  double seconds = 0.5;  // of calls for one schedule
  bool verbose = false;
};

struct Inputs {
  std::vector<Tensor> values;
  std::map<std::string, Tensor> params;
};

Tensor normal(DType dtype, const Shape& shape) {
  Tensor t = Tensor::zeros(dtype, shape);
  Random random(7);
  for (int64_t i = 0; i < element_count(shape); ++i) store_element(t, i, random.normal());
  return t;
}

Inputs inputs_of(const graph::Graph& g) {
  Inputs inputs;
  for (const auto& in : g.inputs) inputs.values.push_back(normal(in.dtype, in.shape));
  for (const auto& p : g.params) inputs.params[p.name] = normal(p.dtype, p.shape);
  return inputs;
}

/// The shortest of many calls: a neighbour's noise only ever adds.
Result<double> shortest_call(const graph::Graph& g, const kernel::Candidate& candidate, const Inputs& inputs,
                             target::Target& target, double predicted_s, const Settings& settings) {
  auto plan = kernel::parse_plan(candidate.plan_json);
  if (!plan) return plan.failure();
  auto bound = kernel::bind_plan(*plan, kernel::signature_of(g));
  if (!bound) return bound.failure();
  auto compiled = target.compile(candidate.source, *plan);
  if (!compiled) return compiled.failure();
  auto session = target.open(*compiled, *bound);
  if (!session) return session.failure();
  if (Status status = (*session)->bind(inputs.params); !status.ok()) return status.failure();
  const int calls = static_cast<int>(std::clamp(settings.seconds / predicted_s, 5.0, 3000.0));
  auto times = (*session)->time(inputs.values, 3, calls, false, {.threads = settings.threads});
  if (!times) return times.failure();
  return *std::min_element(times->seconds.begin(), times->seconds.end());
}

struct Best {
  double seconds = 1e9, first_s = 0, predicted_s = 0;
  std::string schedule;
};

/// Times the best predicted schedules of the longest piece, the others as predicted.
Best best_of(const graph::Graph& g, target::Target& target, const Settings& settings) {
  kernel::Facts facts = target.facts();
  facts.threads = settings.threads;
  const auto parts = kernel::schedule::partition(g, facts);
  Choice choice = kernel::schedule::default_choice(g, parts, facts);
  size_t longest = 0;
  double longest_s = -1;
  for (size_t i = 0; i < parts.pieces.size(); ++i) {
    const double s = kernel::schedule::options(g, parts.pieces[i], facts).front().predicted_s;
    if (!parts.pieces[i].prepare && s > longest_s) longest = i, longest_s = s;
  }
  const auto offered = kernel::schedule::options(g, parts.pieces[longest], facts);
  const Inputs inputs = inputs_of(g);
  Best best;
  for (size_t i = 0; i < std::min(settings.schedules, offered.size()); ++i) {
    choice[longest] = offered[i].schedule;
    auto candidate = kernel::schedule::assemble(g, parts, choice, facts);
    const double predicted = kernel::schedule::predicted_s(g, parts, choice, facts);
    auto seconds = candidate ? shortest_call(g, *candidate, inputs, target, predicted, settings)
                             : Result<double>(candidate.failure());
    if (!seconds) {
      fmt::print("  {}: {}\n", offered[i].schedule.text(), seconds.failure().message);
      continue;
    }
    if (settings.verbose)
      fmt::print("  {:9.1f} us, predicted {:9.1f}: {}\n", *seconds * 1e6, predicted * 1e6, offered[i].schedule.text());
    if (i == 0) best.first_s = *seconds;
    if (*seconds < best.seconds) best = {*seconds, best.first_s, predicted, offered[i].schedule.text()};
  }
  return best;
}

/// The better of the graph as it stands and the one whose images lie in blocks of channels.
Best best_form(const Work& work, target::Target& target, const Settings& settings) {
  const graph::Graph plain = work.graph();
  Best best = best_of(plain, target, settings);
  if (const auto blocked = graph::with_blocked_images(plain, target.facts().f32_lanes(), false)) {
    const Best other = best_of(blocked->graph, target, settings);
    if (other.seconds < best.seconds) best = other;
  }
  return best;
}

void report(const Work& work, const Best& best, const target::MachinePeaks& peaks) {
  const bool by_flops = work.flops > 0;
  const double rate = (by_flops ? work.flops : work.bytes) / best.seconds;
  const double bound = by_flops ? peaks.l1_flops_per_s : peaks.copy_bytes_per_s;
  std::string extra;
  if (by_flops && work.flops < 8 * work.bytes)  // few multiply-adds for each byte: memory counts too
    extra = fmt::format(", {:.1f} GB/s {:3.0f}% of copy", work.bytes / best.seconds / 1e9,
                        100 * work.bytes / best.seconds / peaks.copy_bytes_per_s);
  fmt::print("{:32} {:9.1f} us {:7.1f} {} {:4.0f}%{}  (first {:.1f}, predicted {:.1f}) {}\n", work.name,
             best.seconds * 1e6, rate / 1e9, by_flops ? "GF/s" : "GB/s", 100 * rate / bound, extra, best.first_s * 1e6,
             best.predicted_s * 1e6, best.schedule);
  std::fflush(stdout);
}

int run(const Settings& settings) {
  const auto target = std::move(target::open_cpu_target({.threads = settings.threads}).value_or_throw());
  const target::MachinePeaks peaks = target::measure_peaks(settings.threads);
  fmt::print("{}, {}, {} threads: {:.1f} GF/s from L1, {:.1f} GB/s copied\n", target->facts().name, peaks.isa,
             peaks.threads, peaks.l1_flops_per_s / 1e9, peaks.copy_bytes_per_s / 1e9);
  for (const Work& work : all_work(target->facts().f32_lanes())) {
    if (work.name.find(settings.filter) == std::string::npos) continue;
    report(work, best_form(work, *target, settings), peaks);
  }
  return 0;
}

}  // namespace
}  // namespace kw::perf

int main(int argc, char** argv) {
  kw::perf::Settings settings;
  CLI::App app{"Times the kernels of typical work against what this machine can do", "kw_perf"};
  app.add_option("--filter", settings.filter, "only work whose name holds this");
  app.add_option("--schedules", settings.schedules, "best predicted schedules timed")->check(CLI::Range(1, 100));
  app.add_option("--threads", settings.threads)->check(CLI::Range(1, 256));
  app.add_option("--seconds", settings.seconds, "of calls for one schedule")->check(CLI::Range(0.01, 60.0));
  app.add_flag("--verbose", settings.verbose, "every schedule timed");
  CLI11_PARSE(app, argc, argv);
  try {
    return kw::perf::run(settings);
  } catch (const std::exception& error) {
    fmt::print(stderr, "kw_perf: {}\n", error.what());
    return 1;
  }
}
