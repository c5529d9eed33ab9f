#pragma once
#include <string>
#include <vector>

#include "runtime/engine.h"
#include "target/cpu/crash.h"

namespace kw::target {

/// Runs one launch group by group, each on memory as it was before the launch, then joins what they wrote. Groups that
/// read each other's results, or that race, then give other results than one after the other. Returns "" or says which
/// buffer two groups wrote different values to. Launches whose copies would take too long run in reverse order.
std::string isolate(const runtime::Program& program, const runtime::Launch& launch, runtime::Entry entry,
                    const std::vector<Place>& places);

}  // namespace kw::target
