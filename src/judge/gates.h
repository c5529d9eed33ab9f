#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "judge/compare.h"
#include "judge/reference.h"
#include "judge/verdict.h"

namespace kw::judge {

/// What a gate found. Only `verified` lets the next gate run.
struct Finding {
  Outcome outcome = Outcome::verified;
  std::string text;  // one sentence
  std::optional<Witness> witness;
  std::string gate = {};  // another gate's name, where the fault belongs there
};
Finding passed(std::string text);
Finding rejected(std::string text);
Finding inconclusive(std::string text);

/// One judgement under way.
struct Trial {
  Trial(const graph::Problem& problem, const kernel::Candidate& candidate, target::Target& target,
        const JudgeOptions& options);

  const graph::Problem& problem;
  const kernel::Candidate& candidate;
  target::Target& target;
  const JudgeOptions& options;
  Random seeds;
  std::chrono::steady_clock::time_point start;

  kernel::Signature signature;
  kernel::Plan plan;
  kernel::BoundPlan bound;
  target::Compiled compiled;
  std::unique_ptr<target::Session> session;
  std::shared_ptr<const Case> own;                    // the first case: own inputs, own parameters
  std::shared_ptr<const Case> hidden;                 // drawn after the candidate was handed in
  std::vector<std::shared_ptr<const Case>> measured;  // what the accuracy gate looks at
  std::vector<std::vector<Tensor>> measured_outputs;
  std::string framework_failure;     // why PyTorch's own error is unknown, where it is
  std::vector<std::string> missing;  // required suites that were not shown, with the reason
  Verdict verdict;

  double elapsed_s() const;
  std::chrono::steady_clock::time_point deadline() const;
  /// Time for something that takes about `seconds` more?
  bool has_time(double seconds) const;
  /// From the cache of a quick judgement, or made.
  Result<std::shared_ptr<const Case>> get_case(const CaseKey& key);
};

/// A row of the gate table. Rows with quick == false are left out of search loops.
struct GateRow {
  std::string_view name;
  Finding (*run)(Trial& trial);
  bool quick;
};
const std::vector<GateRow>& gate_table();

Finding gate_plan(Trial& trial);
Finding gate_shapes(Trial& trial);
Finding gate_source(Trial& trial);
Finding gate_compile(Trial& trial);
Finding gate_sandbox(Trial& trial);
Finding gate_load(Trial& trial);
Finding gate_isolation(Trial& trial);
Finding gate_widths(Trial& trial);
Finding gate_alignment(Trial& trial);
Finding gate_hidden(Trial& trial);
Finding gate_poison(Trial& trial);
Finding gate_checks(Trial& trial);
Finding gate_rerun(Trial& trial);
Finding gate_rebind(Trial& trial);
Finding gate_replay(Trial& trial);
Finding gate_accuracy(Trial& trial);
Finding gate_adequacy(Trial& trial);

/// The case table, in order of value: first the first row only, then the others.
Finding gate_first_suite(Trial& trial);
Finding gate_suites(Trial& trial);

/// Which wall is missing for foreign code to run, "" when none is. report: as kw::sandbox_report().
std::string missing_walls(const std::vector<std::string>& report);

/// A failed run: a crash or a hang is the candidate's fault, anything else decides nothing.
Finding finding_of(const Failure& failure, const std::string& what);

}  // namespace kw::judge
