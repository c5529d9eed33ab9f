#include "swarm/swarm.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "base/process.h"

namespace kw::swarm {
namespace {

store::AttemptState state_of(judge::Outcome outcome) {
  switch (outcome) {
    case judge::Outcome::verified:
      return store::AttemptState::verified;
    case judge::Outcome::rejected:
      return store::AttemptState::rejected;
    case judge::Outcome::inconclusive:
      return store::AttemptState::inconclusive;
  }
  throw BugError("unknown outcome");
}

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

std::map<std::string, std::string> rejected_before(store::Store& store, const std::string& run) {
  std::map<std::string, std::string> reasons;
  if (const auto rows = store.attempts(run); rows.ok())
    for (const store::AttemptRow& row : *rows)
      if (row.state == store::AttemptState::rejected) reasons[row.candidate_key] = row.reason;
  return reasons;
}

}  // namespace

Result<judge::Verdict> judge_attempt(const graph::Problem& problem, const kernel::Candidate& candidate,
                                     target::Target& target, store::Store& store, const SwarmOptions& options) {
  const auto id = store.plan_attempt({.run = options.run,
                                      .author = candidate.author,
                                      .candidate_key = candidate.key(),
                                      .source = candidate.source,
                                      .plan_json = candidate.plan_json});
  if (!id.ok()) return id.failure();
  judge::JudgeOptions judging = options.judge;
  judging.time_limit_s = options.judge_s;
  judge::Verdict verdict = judge::judge(problem, candidate, target, judging);
  if (interrupted()) return Failure{"interrupted", "interrupted", "`kernelwright resume` goes on from here"};
  const Status kept = store.finish_attempt(*id, state_of(verdict.outcome), verdict.reason, verdict.seconds);
  if (!kept.ok()) return kept.failure();
  return verdict;
}

Result<SwarmResult> run_swarm(const graph::Problem& problem, const std::vector<author::Author*>& authors,
                              target::Target& target, store::Store& store, const SwarmOptions& options) {
  SwarmResult result;
  author::Brief brief{.problem = &problem, .facts = target.facts(), .time_left_s = options.author_s};
  SwarmOptions judging = options;  // the judge also gets what the authors leave of their time
  auto known = rejected_before(store, options.run);
  for (author::Author* author : authors) {
    if (options.progress) options.progress(author->name() + " writes kernels");
    const auto begun = std::chrono::steady_clock::now();
    const auto answer = author->answer(brief);
    judging.judge_s += std::max(0.0, options.author_s - seconds_since(begun));
    if (!answer.ok()) {
      result.failures.push_back({"", author->name() + ": " + answer.failure().message});
      continue;
    }
    for (const kernel::Candidate& candidate : *answer) {
      // One that ended for want of time would end so again with what is left.
      if (result.best || judging.judge_s < result.verdict.seconds) break;
      const std::string key = candidate.key();
      if (const auto before = known.find(key); before != known.end()) {
        result.failures.push_back({key, before->second});
        continue;
      }
      ++result.attempts;
      if (options.progress) options.progress("judging a candidate of " + author->name());
      auto verdict = judge_attempt(problem, candidate, target, store, judging);
      if (!verdict.ok()) return verdict.failure();
      result.verdict = std::move(*verdict);
      judging.judge_s -= result.verdict.seconds;
      if (result.verdict.outcome == judge::Outcome::verified) {
        result.best = candidate;
      } else {
        known[key] = result.verdict.gate + ": " + result.verdict.reason;
        result.failures.push_back({key, known[key]});
      }
    }
  }
  return result;
}

}  // namespace kw::swarm
