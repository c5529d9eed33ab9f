#include <array>

#include "judge/execute.h"

/// Other numbers of threads deal the groups out in another order: a group that reads what another one writes, or two
/// that write one element, give other bits.
namespace kw::judge {

Finding gate_widths(Trial& trial) {
  constexpr std::array<int, 4> widths = {1, 2, 3, 5};
  std::vector<Tensor> first;
  for (const int width : widths) {
    target::RunOptions options;
    options.threads = width;
    const Ran ran = execute(trial.problem, *trial.session, *trial.own, options);
    if (ran.fault) return *ran.fault;
    if (first.empty()) first = ran.outputs;
    if (const auto which = first_difference(first, ran.outputs))
      return rejected(*which + " differs between 1 and " + std::to_string(width) +
                      " threads: groups depend on each other");
  }
  return passed("the same bits with 1, 2, 3 and 5 threads");
}

}  // namespace kw::judge
