#include <fmt/format.h>

#include <algorithm>

#include "base/process.h"
#include "swarm/memory.h"
#include "swarm/supervisor.h"

// How a run begins where an earlier one was stopped, and how it ends.
namespace kw::swarm {

Status Supervisor::resume() {
  const auto asks = store_.asks(options_.run);
  if (!asks) return asks.failure();
  const auto attempts = store_.attempts(options_.run);
  if (!attempts) return attempts.failure();
  for (const store::AskRow& ask : *asks)
    for (Seat& seat : seats_)
      if (seat.report.name == ask.author) {
        seat.report.spent += ask.spent;
        seat.report.requests += ask.requests;
        seat.report.usage += usage_from_json(ask.usage_json);
        seat.arm.spent = seat.report.spent;
        if (ask.state == store::AskState::judged) restore_judged(seat, ask, *attempts);
      }
  if (!asks->empty())
    journal_.say(
        fmt::format("goes on: {} questions are stored, {} spent", asks->size(), author::usd_text(purse_.spent())));
  return ok_status();
}

void Supervisor::restore_judged(Seat& seat, const store::AskRow& ask, const std::vector<store::AttemptRow>& attempts) {
  seat.number = std::max(seat.number, ask.number + 1);
  ++seat.report.attempts;
  ++attempts_;
  author::HistoryItem item{ask.number, "", "", ask.reason};
  for (const store::AttemptRow& row : attempts) {
    if (row.id != ask.attempt) continue;
    item.source = row.source;
    item.plan_json = row.plan_json;
    if (row.state != store::AttemptState::verified || row.seconds <= 0) break;
    const kernel::Candidate candidate{row.source, row.plan_json, row.author, "", {}};
    pipeline_.restore(candidate, row.seconds);
    note_gain(seat, row.seconds);
    finalists_.push_back({candidate, row.seconds, ask.number, seat.index});
  }
  if (item.source.empty()) ++seat.report.failures["reply"];
  seat.history.push_back(std::move(item));
}

SwarmResult Supervisor::run() {
  std::vector<std::thread> threads;
  if (options_.search != nullptr) threads.emplace_back([this] { serve_search(); });
  for (Seat& seat : seats_) threads.emplace_back([this, &seat] { serve(seat); });
  for (std::thread& thread : threads) thread.join();
  return finish();
}

/// The few that are close to the best once more, in a quiet machine, side by side with it.
void Supervisor::play_off() {
  constexpr size_t kFew = 4;
  constexpr double kClose = 1.25;
  finalists_ = ranked(std::move(finalists_));
  for (size_t i = 1; i < std::min(kFew, finalists_.size()) && !interrupted(); ++i) {
    Finalist &first = finalists_[0], &other = finalists_[i];
    if (other.seconds > kClose * first.seconds || other.candidate.key() == first.candidate.key()) continue;
    const auto again = meter_.measure(other.candidate, &first.candidate);
    if (!again) continue;
    other.seconds = std::min(other.seconds, again->seconds);
    if (again->incumbent_s > 0) first.seconds = std::min(first.seconds, again->incumbent_s);
  }
}

SwarmResult Supervisor::finish() {
  play_off();
  SwarmResult result;
  result.failures = failures_;
  if (last_verdict_) result.verdict = *last_verdict_;
  for (Finalist& finalist : ranked(finalists_)) {
    if (interrupted()) break;
    if (options_.progress) options_.progress("judging the finalist of " + finalist.candidate.author);
    judge::JudgeOptions judging = options_.judge;
    judging.time_limit_s = options_.final_judge_s;
    result.verdict = judge::judge(problem_, finalist.candidate, target_, judging);
    journal_.say(fmt::format("finalist of {}, {}: {}{}", finalist.candidate.author, author::time_text(finalist.seconds),
                             judge::name_of(result.verdict.outcome),
                             result.verdict.outcome == judge::Outcome::verified ? "" : ": " + result.verdict.reason));
    if (result.verdict.outcome != judge::Outcome::verified) {
      result.failures.push_back({finalist.candidate.key(), result.verdict.gate + ": " + result.verdict.reason});
      continue;
    }
    result.best = finalist.candidate;
    result.account.best_s = finalist.seconds;
    for (Seat& seat : seats_) seat.report.won = seat.report.name == finalist.candidate.author;
    search_.report.won = finalist.index < 0;
    (void)keep_winner(store_, problem_, target_.facts().target, finalist.candidate, finalist.seconds);
    break;
  }
  const double best_s = result.account.best_s;
  result.account = account();
  result.account.best_s = best_s;
  result.attempts = attempts_ + search_.report.attempts;
  return result;
}

Account Supervisor::account() const {
  Account account;
  if (options_.search != nullptr) account.authors.push_back(search_.report);
  for (const Seat& seat : seats_) account.authors.push_back(seat.report);
  account.spent = purse_.spent();
  account.budget = purse_.budget();
  for (const Seat& seat : seats_)
    account.out_of_money = account.out_of_money || seat.report.failures.contains("budget.spent");
  account.out_of_time = left_s() <= 0;
  account.twins = pipeline_.twins();
  account.judged = pipeline_.judged();
  account.latency_median_s = percentile(latencies_s_, 0.5);
  account.latency_p95_s = percentile(latencies_s_, 0.95);
  account.device = device_.account();
  account.predicted = !target_.measures();
  return account;
}

}  // namespace kw::swarm
