#pragma once
#include <cstdint>
#include <vector>

#include "runtime/program.h"

namespace kw::target {

/// Where a checked run keeps each buffer. Inputs, parameters, states and outputs lie in memory shared with the
/// parent, each in pages of its own that the child maps between two guard pages.
struct Layout {
  struct Region {
    uint64_t offset = 0;  // in the shared memory; unused for prepared and scratch
    uint64_t bytes = 0;   // whole pages
    bool shared = false;
  };
  std::vector<Region> regions;  // one a buffer
  uint64_t shared_bytes = 0;
};

Layout layout_of(const runtime::Program& program);

/// Where the data starts inside its region. Inputs, outputs, parameters and states end at the guard page, or lie
/// `shift_bytes` (rounded to whole elements) past a 64-byte boundary; prepared and scratch are 64-byte aligned,
/// as in the arenas of a package.
uint64_t data_offset(const runtime::BufferSpec& buffer, const Layout::Region& region, uint64_t shift_bytes);

uint64_t page_bytes();

}  // namespace kw::target
