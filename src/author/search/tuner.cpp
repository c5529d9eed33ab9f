#include "author/search/tuner.h"

#include <algorithm>
#include <map>

#include "base/log.h"
#include "base/process.h"

namespace kw::author {
namespace schedule = kernel::schedule;
using Clock = std::chrono::steady_clock;

namespace {

double seconds_until(Clock::time_point when) { return std::chrono::duration<double>(when - Clock::now()).count(); }

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

/// Calls that fill about a twentieth of a second, between 5 and 200.
int calls_for(double predicted_s) { return std::clamp(static_cast<int>(0.05 / std::max(predicted_s, 1e-6)), 5, 200); }

}  // namespace

Tuner::Tuner(target::Target& target, store::Store* store, const SearchOptions& options, Setup setup)
    : target_(target), store_(store), options_(options), setup_(std::move(setup)) {
  std::map<std::string, bool> known;
  for (const schedule::Piece& piece : setup_.parts.pieces) {
    const auto found = schedule::options(setup_.graph, piece, setup_.facts);
    check(!found.empty(), "a piece without a schedule");
    PieceState state{schedule::piece_key(setup_.graph, piece), {}, found.front().schedule, 0};
    // Equal pieces share their measurements through the store's key, so only the first is varied.
    const bool first = known.emplace(state.key, true).second;
    if (first && !piece.prepare)
      for (int i = 0; i < std::min<int>(options_.rounds, static_cast<int>(found.size())); ++i)
        state.untried.push_back(found[static_cast<size_t>(i)].schedule);
    recall(state, found);
    states_.push_back(std::move(state));
  }
}

void Tuner::recall(PieceState& state, const std::vector<schedule::Option>& options) {
  if (store_ == nullptr) return;
  const auto rows = store_->schedules(setup_.device, state.key);
  if (!rows.ok()) return;
  for (const store::ScheduleRow& row : *rows)
    for (const schedule::Option& option : options) {
      if (option.schedule.text() != row.schedule) continue;
      std::erase_if(state.untried, [&](const schedule::Schedule& s) { return s.text() == row.schedule; });
      if (state.best_s == 0 || row.seconds < state.best_s) state.best = option.schedule, state.best_s = row.seconds;
    }
}

bool Tuner::more() const {
  return std::any_of(states_.begin(), states_.end(), [](const PieceState& s) { return !s.untried.empty(); });
}

schedule::Choice Tuner::next_choice() {
  schedule::Choice choice = best_choice();
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].untried.empty()) continue;
    choice[i] = states_[i].untried.front();
    states_[i].untried.erase(states_[i].untried.begin());
  }
  return choice;
}

schedule::Choice Tuner::best_choice() const {
  std::map<std::string, std::pair<double, const schedule::Schedule*>> by_key;
  for (const PieceState& state : states_) {
    auto& entry = by_key[state.key];
    if (entry.second == nullptr || (state.best_s > 0 && (entry.first == 0 || state.best_s < entry.first)))
      entry = {state.best_s, &state.best};
  }
  schedule::Choice choice;
  for (const PieceState& state : states_) choice.push_back(*by_key[state.key].second);
  return choice;
}

Result<Tuner::Measured> Tuner::measure(const schedule::Choice& choice) {
  std::vector<int> piece_of_step;
  auto candidate = schedule::assemble(setup_.graph, setup_.parts, choice, setup_.facts, &piece_of_step);
  if (!candidate.ok()) return candidate.failure();
  auto plan = kernel::parse_plan(candidate->plan_json);
  if (!plan.ok()) return plan.failure();
  auto bound = kernel::bind_plan(*plan, kernel::signature_of(setup_.graph));
  if (!bound.ok()) return bound.failure();
  kernel::resolve_dtypes(*plan, *bound);
  auto compiled = target_.compile(candidate->source, *plan);
  if (!compiled.ok()) return compiled.failure();
  auto session = target_.open(*compiled, *bound);
  if (!session.ok()) return session.failure();
  if (Status status = (*session)->bind(setup_.params); !status.ok()) return status.failure();
  const double predicted = schedule::predicted_s(setup_.graph, setup_.parts, choice, setup_.facts);
  auto times = (*session)->time(setup_.inputs, 3, calls_for(predicted), true, {.threads = setup_.facts.threads});
  if (!times.ok()) return times.failure();
  Measured measured{median(times->seconds), std::vector<double>(choice.size(), 0)};
  for (size_t step = 0; step < times->step_seconds.size() && step < piece_of_step.size(); ++step)
    measured.piece_s[static_cast<size_t>(piece_of_step[step])] += times->step_seconds[step];
  return measured;
}

void Tuner::learn(const schedule::Choice& choice, const Measured& measured) {
  for (size_t i = 0; i < states_.size(); ++i) {
    PieceState& state = states_[i];
    const double seconds = measured.piece_s[i];
    if (seconds <= 0) continue;
    if (state.best_s == 0 || seconds < state.best_s) state.best = choice[i], state.best_s = seconds;
    if (store_ == nullptr) continue;
    // A store that fails to remember costs speed later, never the result.
    (void)store_->remember({setup_.device, state.key, choice[i].text(), seconds});
  }
}

double Tuner::call_seconds() {
  const schedule::Choice choice = best_choice();
  const auto measured = measure(choice);
  if (!measured.ok()) {
    log_line(LogLevel::verbose, "search: a form of the graph failed: " + measured.failure().message);
    return 0;
  }
  learn(choice, *measured);
  return measured->call_s;
}

Tuner::Outcome Tuner::tune() {
  Outcome best{best_choice(), 0, 0};
  double round_s = 0;
  while (more() && !interrupted() && seconds_until(setup_.deadline) > 1.2 * round_s) {
    const auto started = Clock::now();
    const schedule::Choice choice = next_choice();
    const auto measured = measure(choice);
    round_s = std::chrono::duration<double>(Clock::now() - started).count();
    if (!measured.ok()) {
      log_line(LogLevel::verbose, "search: a round failed: " + measured.failure().message);
      continue;
    }
    ++best.measured;
    learn(choice, *measured);
    if (best.seconds == 0 || measured->call_s < best.seconds) best.choice = choice, best.seconds = measured->call_s;
    if (options_.progress) options_.progress("round " + std::to_string(best.measured));
  }
  const schedule::Choice combined = best_choice();
  if (best.measured == 0) return {combined, 0, 0};
  const auto measured = measure(combined);
  if (measured.ok() && measured->call_s < 1.02 * best.seconds) best.choice = combined, best.seconds = measured->call_s;
  return best;
}

}  // namespace kw::author
