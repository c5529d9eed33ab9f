#include "judge/execute.h"

/// Groups of one launch may run in any order and at once. Here each runs on memory as it was before the launch: one
/// that reads what another wrote gives other bits, and two that write one element are found out.
namespace kw::judge {

Finding gate_isolation(Trial& trial) {
  if (!trial.target.measures()) return passed("left to the emulator's checks, which see what groups do to each other");
  const Ran together = execute(trial.problem, *trial.session, *trial.own, {});
  if (together.fault) return *together.fault;
  target::RunOptions options;
  options.isolated = true;
  const Ran apart = execute(trial.problem, *trial.session, *trial.own, options);
  if (apart.fault) return *apart.fault;
  if (const auto which = first_difference(together.outputs, apart.outputs))
    return rejected(*which + " depends on the order of groups: one group of a launch reads what another one writes");
  return passed("the same bits when no group of a launch sees another one's work");
}

}  // namespace kw::judge
