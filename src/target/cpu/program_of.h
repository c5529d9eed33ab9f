#pragma once
#include "kernel/plan.h"
#include "runtime/program.h"

namespace kw::target {

/// The engine's form of a bound plan: scratch buffers that are never alive together share the workspace.
runtime::Program program_of(const kernel::BoundPlan& plan);

}  // namespace kw::target
