#include "swarm/meter.h"

#include <algorithm>
#include <cmath>

#include "judge/draw.h"

namespace kw::swarm {
namespace {

/// A round: so many turns of so much time each; slower than `drop` times the incumbent ends it.
struct RoundRow {
  int turns;
  double seconds;
  double drop;
};
constexpr RoundRow kRounds[] = {{1, 0.004, 2.0}, {2, 0.01, 1.25}, {5, 0.02, 0}};
constexpr double kLaunch_s = 5e-6;  // of a kernel on a device that is not here
constexpr int kMostCalls = 500, kProfiledCalls = 20;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Failure no_times() { return {"run.time", "the device reported no times", ""}; }

/// Median seconds of a call, over about `seconds` of calls.
Result<double> time_once(target::Session& session, const std::vector<Tensor>& inputs, double guess_s, double seconds) {
  const int calls = std::clamp(static_cast<int>(seconds / std::max(guess_s, 1e-7)), 3, kMostCalls);
  const auto reply = session.time(inputs, 1, calls, false, {});
  if (!reply) return reply.failure();
  return reply->seconds.empty() ? Result<double>(no_times()) : median(reply->seconds);
}

/// Turns in the order A B B A; keeps the least median of each.
Status turns(target::Session& a, target::Session& b, const std::vector<Tensor>& inputs, const RoundRow& row,
             double& a_s, double& b_s) {
  for (int turn = 0; turn < row.turns; ++turn)
    for (auto [session, least] : {std::pair(&a, &a_s), {&b, &b_s}, {&b, &b_s}, {&a, &a_s}}) {
      const auto now = time_once(*session, inputs, *least, row.seconds);
      if (!now) return now.failure();
      *least = std::min(*least, *now);
    }
  return ok_status();
}

}  // namespace

Meter::Meter(const graph::Problem& problem, target::Target& target, Device& device)
    : problem_(problem),
      target_(target),
      device_(device),
      inputs_(judge::draw_inputs(problem, "own", 1, 0, 8)),
      params_(problem.params()) {}

Result<Meter::Built> Meter::build(const kernel::Candidate& candidate) {
  auto plan = kernel::parse_plan(candidate.plan_json);
  if (!plan) return plan.failure();
  auto bound = kernel::bind_plan(*plan, kernel::signature_of(problem_.graph), target_.limits());
  if (!bound) return bound.failure();
  kernel::resolve_dtypes(*plan, *bound);
  auto compiled = target_.compile(candidate.source, *plan);
  if (!compiled) return compiled.failure();
  return Built{std::move(*compiled), std::move(*bound)};
}

Result<Meter::Opened> Meter::open(const kernel::Candidate& candidate) {
  auto built = build(candidate);
  if (!built) return built.failure();
  auto session = target_.open(built->compiled, built->plan);
  if (!session) return session.failure();
  if (Status status = (*session)->bind(params_); !status) return status.failure();
  return Opened{std::move(*session), std::move(built->plan)};
}

namespace {

/// The entry of this kernel, in order of first launch.
author::LaunchTime& launch_of(std::vector<author::LaunchTime>& launches, const std::string& kernel) {
  for (author::LaunchTime& launch : launches)
    if (launch.kernel == kernel) return launch;
  return launches.emplace_back(author::LaunchTime{kernel});
}

}  // namespace

/// Seconds of each kernel in one call, in order of first launch. None where there is only one launch, or no word.
std::vector<author::LaunchTime> Meter::profile(Opened& opened) {
  if (opened.plan.steps.size() < 2) return {};
  const auto times = opened.session->time(inputs_, 1, kProfiledCalls, true, {});
  if (!times || times->step_seconds.size() != opened.plan.steps.size()) return {};
  std::vector<author::LaunchTime> launches;
  for (size_t i = 0; i < opened.plan.steps.size(); ++i) {
    author::LaunchTime& launch = launch_of(launches, opened.plan.steps[i].kernel);
    launch.seconds += times->step_seconds[i];
    ++launch.launches;
  }
  return launches;
}

namespace {

/// The least that a target without a model can say: each launch costs its start, and its buffers pass through memory.
target::Prediction traffic_model(const kernel::BoundPlan& plan, const target::Facts& facts) {
  target::Prediction prediction{.device = facts.name, .model = "traffic"};
  for (const auto& launch : plan.steps) {
    target::Prediction::Step step{.kernel = launch.kernel, .bound = "memory"};
    for (const auto& arg : launch.args)
      if (const int* buffer = std::get_if<int>(&arg))
        step.bytes += static_cast<double>(plan.buffers[static_cast<size_t>(*buffer)].bytes);
    step.seconds = kLaunch_s + step.bytes / facts.bytes_per_s;
    prediction.seconds += step.seconds;
    prediction.steps.push_back(std::move(step));
  }
  return prediction;
}

}  // namespace

Result<Meter::Measured> Meter::predict(const kernel::Candidate& candidate) {
  const Device::Wish wish(device_);
  const auto built = build(candidate);
  if (!built) return built.failure();
  const Device::Turn turn(device_);
  auto prediction = target_.predict(built->compiled, built->plan, params_, inputs_);
  if (!prediction && prediction.failure().id != "predict.model") return prediction.failure();
  if (!prediction) prediction = traffic_model(built->plan, target_.facts());
  Measured measured{prediction->seconds, 0, {}};
  for (const target::Prediction::Step& step : prediction->steps) {
    author::LaunchTime& launch = launch_of(measured.launches, step.kernel);
    launch.seconds += step.seconds;
    launch.bound = step.bound;
    ++launch.launches;
  }
  return measured;
}

/// The incumbent's session, opened where it is not open yet.
Result<target::Session*> Meter::rival(const kernel::Candidate& incumbent) {
  if (rival_ && rival_key_ == incumbent.key()) return rival_.get();
  auto opened = open(incumbent);
  if (!opened) return opened.failure();
  rival_ = std::move(opened->session);
  rival_key_ = incumbent.key();
  return rival_.get();
}

/// In rounds, until the slower one is clear.
Result<Meter::Measured> Meter::race(target::Session& session, const kernel::Candidate* incumbent) {
  target::Session* other = &session;
  if (incumbent != nullptr) {
    const auto opened = rival(*incumbent);
    if (!opened) return opened.failure();
    other = *opened;
  }
  const auto first = time_once(session, inputs_, 1e-3, kRounds[0].seconds);
  if (!first) return first.failure();
  const auto other_first = time_once(*other, inputs_, *first, kRounds[0].seconds);
  if (!other_first) return other_first.failure();
  Measured measured{*first, *other_first, {}};
  for (const RoundRow& row : kRounds) {
    if (Status done = turns(session, *other, inputs_, row, measured.seconds, measured.incumbent_s); !done)
      return done.failure();
    if (row.drop > 0 && measured.seconds > row.drop * measured.incumbent_s) break;
  }
  if (incumbent != nullptr) return measured;
  return Measured{std::min(measured.seconds, measured.incumbent_s), 0, {}};
}

Result<Meter::Measured> Meter::measure(const kernel::Candidate& candidate, const kernel::Candidate* incumbent) {
  if (!target_.measures()) return predict(candidate);
  const Device::Wish wish(device_);
  auto mine = open(candidate);
  if (!mine) return mine.failure();
  const Device::Turn turn(device_);
  auto measured = race(*mine->session, incumbent);
  if (!measured) {
    rival_.reset();  // it may be the one that failed
    return measured;
  }
  measured->launches = profile(*mine);
  if (incumbent == nullptr || measured->seconds < measured->incumbent_s) {
    rival_ = std::move(mine->session);
    rival_key_ = candidate.key();
  }
  return measured;
}

}  // namespace kw::swarm
