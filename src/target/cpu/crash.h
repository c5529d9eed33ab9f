#pragma once
#include <cstdint>
#include <vector>

#include "runtime/engine.h"

namespace kw::target {

/// Where the checked run has one buffer: its region lies between two pages that nobody may touch.
struct Place {
  char* region = nullptr;
  uint64_t region_bytes = 0;
  char* data = nullptr;
  uint64_t bytes = 0;
};

/// From now on a crash of this process is told to `socket` in a Reply, with the place that was hit, and ends it.
/// The places must outlive the process's last crash.
void report_crashes(int socket, const std::vector<Place>& places);

/// The engine whose launch a crash would belong to; null for none.
void blame_crashes_on(runtime::Engine* engine);

}  // namespace kw::target
