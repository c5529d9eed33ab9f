#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "author/author.h"
#include "author/correspondent.h"
#include "author/llm/prompt.h"
#include "judge/verdict.h"
#include "store/store.h"
#include "swarm/device.h"

/// Who is asked, how often, at what cost: asks the authors, has the judge decide, keeps what it learned.
namespace kw::swarm {

struct SwarmOptions {
  std::string run;       // id of the run in the store
  double author_s = 30;  // wall clock for the authors
  double judge_s = 30;   // and for the judge, all candidates together
  judge::JudgeOptions judge;
  std::function<void(const std::string&)> progress;
};

/// How one author did.
struct AuthorReport {
  std::string name;
  int attempts = 0, verified = 0, twins = 0, requests = 0;
  author::Picodollars spent = 0;
  author::Usage usage;
  double best_s = 0;  // its fastest verified kernel; 0: none
  double asked_s = 0, judged_s = 0;
  std::map<std::string, int> failures;  // by gate or failure id
  std::string ended;                    // why it was not asked again
  bool used_up = false;                 // because all its attempts are made
  bool won = false;
};

/// What only a run with several authors has.
struct Account {
  std::vector<AuthorReport> authors;
  author::Picodollars spent = 0, budget = 0;
  double best_s = 0;
  bool out_of_money = false, out_of_time = false;
  bool predicted = false;  // the times are a model's, for the device is not here
  int twins = 0, judged = 0;
  double latency_median_s = 0, latency_p95_s = 0;  // from reply received to verdict returned
  Device::Account device;
};

struct SwarmResult {
  std::optional<kernel::Candidate> best;  // the first in the authors' order that is verified
  judge::Verdict verdict;                 // of the best; else of the last candidate judged
  int attempts = 0;
  std::vector<author::Feedback> failures;
  Account account;
};

/// Candidates that an earlier, interrupted part of the run already decided are not judged again when rejected.
Result<SwarmResult> run_swarm(const graph::Problem& problem, const std::vector<author::Author*>& authors,
                              target::Target& target, store::Store& store, const SwarmOptions& options);

struct SuperviseOptions {
  std::string run;
  std::vector<author::Correspondent*> voices;
  author::Author* search = nullptr;  // the embedded author; null when it was not asked for
  int attempts = 5;                  // of each author
  author::Picodollars budget = author::kDollar;
  double time_s = 600;        // for asking and judging
  double search_s = 30;       // for the embedded author
  double judge_s = 30;        // for one quick judgement
  double final_judge_s = 60;  // for the full judgement of a finalist
  judge::JudgeOptions judge;
  uint64_t seed = 0;
  int workers = 0;
  double roofline_s = 0;  // 0: unknown
  std::vector<author::Reference> references;
  std::string starter;  // source of a plain kernel that some authors begin from; may be empty
  std::string starter_plan;
  Device* device = nullptr;  // whose turns the embedded author takes too; null: one of the run's own
  std::string journal;       // file for the decisions; may be empty
  std::function<void(const std::string&)> progress;
};

/// Asks all authors at once, as far as money and time allow; every candidate through the pipeline; the fastest that the
/// full judgement verifies wins. A run of the same id goes on where it was: replies that were paid are not asked for
/// again.
Result<SwarmResult> supervise(const graph::Problem& problem, target::Target& target, store::Store& store,
                              const SuperviseOptions& options);

/// The closing table: who won, after how many attempts, at what cost, and why the others did not.
std::string table_of(const Account& account);

/// One candidate through the judge, written to the store before and after.
Result<judge::Verdict> judge_attempt(const graph::Problem& problem, const kernel::Candidate& candidate,
                                     target::Target& target, store::Store& store, const SwarmOptions& options);

}  // namespace kw::swarm
