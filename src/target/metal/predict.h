#pragma once
#include "emulator/runtime/wire.h"
#include "target/metal/chips.h"
#include "target/metal/session.h"

/// What a launch would take on a chip: a roofline with penalties, fed by the emulator's counts. It ranks kernels; it
/// does not promise times, and nothing in it was fitted to a device here.
namespace kw::target {

/// One launch as far as the model looks at it. Counts are of the whole launch.
struct LaunchWork {
  std::string kernel;
  double groups = 1, simdgroups = 1;  // of the launch; simdgroups of one group
  double memory_bytes = 0;            // each byte that is touched, once
  double line_bytes = 0;              // 128 for every line that a simdgroup's access touches
  double flops = 0, matrix_flops = 0;
  double instructions = 0;          // of simdgroups: 32 lanes that keep together count one
  double threadgroup_accesses = 0;  // of simdgroups, bank conflicts included
  double barriers = 0;              // of groups
  double reductions = 0, shuffles = 0;
  double threadgroup_bytes = 0;  // of one group
};

/// The work of a launch from the counts of the groups that ran; `most_bytes`: of the buffers that it is given.
LaunchWork launch_work(const emulator::Dispatch& dispatch, const emulator::wire::DispatchCounts& counts,
                       double most_bytes);

Prediction::Step predict_step(const LaunchWork& work, const Chip& chip);

/// Profiles a sample of every launch's threadgroups and adds up. fails: as Session
Result<Prediction> predict_plan(MetalCode& code, const kernel::BoundPlan& plan, const Chip& chip, int threads,
                                const std::map<std::string, Tensor>& params, const std::vector<Tensor>& inputs);

}  // namespace kw::target
