#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "author/author.h"
#include "judge/verdict.h"
#include "store/store.h"

/// Who is asked, how often, at what cost: asks the authors, has the judge decide, keeps what it learned.
namespace kw::swarm {

struct SwarmOptions {
  std::string run;       // id of the run in the store
  double author_s = 30;  // wall clock for the authors
  double judge_s = 30;   // and for the judge, all candidates together
  judge::JudgeOptions judge;
  std::function<void(const std::string&)> progress;
};

struct SwarmResult {
  std::optional<kernel::Candidate> best;  // the first in the authors' order that is verified
  judge::Verdict verdict;                 // of the best; else of the last candidate judged
  int attempts = 0;
  std::vector<author::Feedback> failures;
};

/// Candidates that an earlier, interrupted part of the run already decided are not judged again when rejected.
Result<SwarmResult> run_swarm(const graph::Problem& problem, const std::vector<author::Author*>& authors,
                              target::Target& target, store::Store& store, const SwarmOptions& options);

/// One candidate through the judge, written to the store before and after.
Result<judge::Verdict> judge_attempt(const graph::Problem& problem, const kernel::Candidate& candidate,
                                     target::Target& target, store::Store& store, const SwarmOptions& options);

}  // namespace kw::swarm
