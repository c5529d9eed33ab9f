#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace kw {

/// True if bubblewrap is there and may create namespaces on this system (tried once).
bool bubblewrap_works();

/// argv that runs `command` in fresh namespaces without network: the system's libraries and `visible` read-only,
/// `writable` folders writable, everything else absent. Without bubblewrap the command itself.
std::vector<std::string> contained(const std::vector<std::string>& command, const std::vector<std::string>& visible,
                                   const std::vector<std::string>& writable);

/// What a worker may use up, for its whole life.
struct SandboxLimits {
  uint64_t address_space_bytes = 0;
  uint64_t cpu_s = 3600;  // of all threads together; then SIGXCPU ends it
  uint64_t threads = 64;  // beyond those that run now; not held against root
};

/// The resource limits alone.
void bound_resources(const SandboxLimits& limits);

/// Last step of a worker before it runs foreign code: no new privileges, no file system (Landlock), a short list of
/// system calls (seccomp), no core dumps, bounded address space, CPU time and threads. Returns the layers that took
/// hold.
std::vector<std::string> lock_down(const SandboxLimits& limits);

/// Which layers hold on this machine and which are missing, a line each, for `doctor`.
std::vector<std::string> sandbox_report();

}  // namespace kw
