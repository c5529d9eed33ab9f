#include <array>

#include "judge/execute.h"

/// Gates that need no new reference: the same call again, under other conditions.
namespace kw::judge {

namespace {

Ran run_own(Trial& trial, uint32_t fill_bits) {
  target::RunOptions options;
  options.fill_bits = fill_bits;
  return execute(trial.problem, *trial.session, *trial.own, options);
}

/// An emulator shuffles its threads in every call and looks for races itself: fewer calls tell as much.
int reruns(const Trial& trial) { return trial.options.quick ? 1 : trial.target.measures() ? 10 : 3; }

}  // namespace

/// Outputs and scratch hold NaN, then 2^100, then zero before the call: whatever is read before it is written, or
/// never written, changes the result.
Finding gate_poison(Trial& trial) {
  constexpr std::array<uint32_t, 3> fills = {0x7fc00000, 0x71800000, 0};
  std::vector<Tensor> first;
  for (const uint32_t fill : fills) {
    Ran ran = run_own(trial, fill);
    if (ran.fault) return *ran.fault;
    if (first.empty()) first = ran.outputs;
    if (const auto which = first_difference(first, ran.outputs))
      return rejected(*which + " depends on what memory held before the call: something is read or left unwritten");
  }
  return passed("the same bits whatever memory held before");
}

Finding gate_rerun(Trial& trial) {
  const Ran first = run_own(trial, 0);
  if (first.fault) return *first.fault;
  const int count = reruns(trial);
  for (int i = 0; i < count; ++i) {
    const Ran again = run_own(trial, 0);
    if (again.fault) return *again.fault;
    if (const auto which = first_difference(first.outputs, again.outputs))
      return rejected(*which + " differs between two equal calls");
    if (!trial.has_time(0)) return inconclusive("no time left for the reruns");
  }
  return passed("the same bits in " + std::to_string(count + 1) + " calls");
}

/// One call with every check on that an emulator has; a device that is there has none.
Finding gate_checks(Trial& trial) {
  if (Status bound = trial.session->bind(trial.own->params); !bound)
    return finding_of(bound.failure(), "preparing the parameters");
  const Result<target::CheckReply> reply = trial.session->check(trial.own->inputs, trial.seeds.next());
  if (!reply) return finding_of(reply.failure(), "with checks on");
  if (!reply->available) return passed("nothing is emulated: the device itself runs the kernels");
  if (!reply->faults.empty()) return rejected(reply->faults.front());
  return passed(reply->what);
}

/// Other weights between two calls, the same memory: a kernel that keeps what it derived from the old ones is found.
Finding gate_rebind(Trial& trial) {
  if (trial.problem.graph.params.empty()) return passed("there are no parameters");
  const CaseKey key{"own", ParamDraw::redrawn, trial.seeds.next(), 0};
  if (!trial.has_time(trial.own->seconds)) return inconclusive("no time left to change the parameters");
  const Result<std::shared_ptr<const Case>> changed = make_case(trial.problem, key, trial.options, trial.deadline());
  if (!changed) return inconclusive(changed.failure().message);
  for (const Case* given : {trial.own.get(), changed->get(), trial.own.get()}) {
    const Ran ran = execute(trial.problem, *trial.session, *given, {});
    if (ran.fault) return *ran.fault;
    const Judged judged = judge_outputs(trial.problem, *given, ran.outputs, trial.options);
    if (judged.fault) return *judged.fault;
  }
  return passed("follows a change of its parameters and back");
}

Finding gate_replay(Trial& trial) {
  if (!trial.has_time(0)) return inconclusive("no time left for the replay in a fresh process");
  Result<std::unique_ptr<target::Session>> session = trial.target.open(trial.compiled, trial.bound);
  if (!session) return finding_of(session.failure(), "while loading afresh");
  // The hidden draw is as new to this process as another one would be, and its reference is at hand.
  const Ran ran = execute(trial.problem, **session, *trial.hidden, {});
  if (ran.fault) return *ran.fault;
  const Judged judged = judge_outputs(trial.problem, *trial.hidden, ran.outputs, trial.options);
  if (judged.fault) return *judged.fault;
  return passed("right in a fresh process on the hidden draw");
}

}  // namespace kw::judge
