#include <array>

#include "judge/execute.h"

/// The same values at other addresses: base pointers that are aligned to their element only. Bits may differ (a peeled
/// loop sums in another order), bounds hold all the same. An output kept by address is old values at a new one.
namespace kw::judge {

Finding gate_alignment(Trial& trial) {
  constexpr std::array<int64_t, 5> offsets_bytes = {4, 8, 20, 36, 60};
  for (const int64_t offset : offsets_bytes) {
    target::RunOptions options;
    options.base_offset_bytes = offset;
    const Ran ran = execute(trial.problem, *trial.session, *trial.own, options);
    if (ran.fault) return *ran.fault;
    Judged judged = judge_outputs(trial.problem, *trial.own, ran.outputs, trial.options);
    if (!judged.fault) continue;
    judged.fault->text += ", with base pointers " + std::to_string(offset) + " bytes off their alignment";
    return *judged.fault;
  }
  return passed("right at base pointers that are aligned to one element only");
}

}  // namespace kw::judge
