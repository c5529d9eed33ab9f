#include "judge/execute.h"

/// Inputs that no author can have known: the module's own distribution, drawn from the system's entropy after the
/// candidate was handed in, whatever seed the caller chose. In a search, whose judgements share references, one secret
/// draw serves all its candidates.
namespace kw::judge {

namespace {

/// A suite of a search whose seed was secret already stands for the draw.
bool has_secret_suite(const Trial& trial) {
  if (trial.options.seed) return false;
  for (const SuiteRecord& suite : trial.verdict.suites)
    if (suite.shown && suite.suite != "own") return true;
  return false;
}

}  // namespace

Finding gate_hidden(Trial& trial) {
  if (trial.options.quick && has_secret_suite(trial)) return passed("right on inputs whose seed is secret");
  if (!trial.has_time(trial.own->seconds)) return inconclusive("no time left for inputs that the author cannot know");
  const CaseKey key{"own", ParamDraw::own, secret_seed(), -1};
  const Result<std::shared_ptr<const Case>> given = make_case(trial.problem, key, trial.options, trial.deadline());
  if (!given) return inconclusive(given.failure().message);
  trial.hidden = *given;
  const Ran ran = execute(trial.problem, *trial.session, **given, {});
  if (ran.fault) return *ran.fault;
  const Judged judged = judge_outputs(trial.problem, **given, ran.outputs, trial.options);
  if (judged.fault) return *judged.fault;
  if (!judged.shown()) return inconclusive("the hidden draw decides nothing: the error bound exceeds the values");
  return passed("right on a draw that the author could not know");
}

}  // namespace kw::judge
