#include "judge/adequacy.h"
#include "judge/execute.h"

/// Would the check have noticed? Wrong outputs that are made from the candidate's right ones must fail.
namespace kw::judge {

namespace {

Result<Outputs> outputs_of(Trial& trial, const Case& given) {
  Ran ran = execute(trial.problem, *trial.session, given, {});
  if (ran.fault) return Failure{"judge.run", ran.fault->text, ""};
  return std::move(ran.outputs);
}

/// Inputs of the same kind from another seed: only the candidate runs on them, no reference is needed.
Result<Outputs> other_outputs(Trial& trial) {
  Case other = *trial.own;
  other.inputs = draw_inputs(trial.problem, "own", trial.seeds.next(), -1, 8);
  return outputs_of(trial, other);
}

}  // namespace

Finding gate_adequacy(Trial& trial) {
  if (!trial.has_time(0)) return passed("not measured: no time left");
  const Result<Outputs> right = outputs_of(trial, *trial.own), other = other_outputs(trial);
  if (!right || !other) return passed("not measured: " + (right ? other : right).failure().message);
  Adequacy& adequacy = trial.verdict.adequacy;
  adequacy = try_mutants(trial.problem, {*trial.own, *right, *other}, trial.options);
  const std::string survivors = survivors_of(adequacy);
  if (survivors.empty()) return passed("every planted fault is noticed");
  return passed("would not be noticed on the module's own inputs: " + survivors +
                (adequacy.degenerate ? " (degenerate problem)" : ""));
}

}  // namespace kw::judge
