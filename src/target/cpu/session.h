#pragma once
#include <memory>
#include <string>

#include "target/target.h"

namespace kw::target {

/// Starts a worker for one compiled candidate. `worker` is the program to start (see worker.h).
/// fails: run.sandbox (the child cannot start), run.load (a kernel is missing), run.memory
Result<std::unique_ptr<Session>> open_session(const Compiled& compiled, const kernel::BoundPlan& plan,
                                              const std::string& worker, int threads);

/// The worker program: `kw_worker` beside this executable, else this executable itself with --kw-worker.
std::string default_worker();

}  // namespace kw::target
