#pragma once
#include <memory>

#include "emulator/runtime/session.h"
#include "target/metal/code.h"
#include "target/target.h"

namespace kw::target {

/// A bound Plan as the emulator takes it: buffers, then launches that name them by number.
struct MetalPlan {
  const kernel::BoundPlan* plan = nullptr;
  std::vector<std::string> constants;  // the bytes of number arguments; their buffers follow the Plan's
  std::vector<emulator::Dispatch> prepare, steps;
};
/// fails: plan.kernel (no such kernel), plan.limit (a group larger than the kernel or Metal allows, too many threads)
Result<MetalPlan> metal_plan(const kernel::BoundPlan& plan, const emulator::Reflection& reflection);

/// fails: run.sandbox, plan.*
Result<std::unique_ptr<Session>> open_metal_session(std::shared_ptr<MetalCode> code, const kernel::BoundPlan& plan,
                                                    int threads);

}  // namespace kw::target
