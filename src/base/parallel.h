#pragma once
#include <cstdint>
#include <functional>

namespace kw {

/// Cores that this process may use (affinity and cgroup quota respected).
int usable_cores();
/// Calls body(begin, end) over [0, count) in chunks of at least `grain`, on usable_cores() threads.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace kw
