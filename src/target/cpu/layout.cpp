#include "target/cpu/layout.h"

#include <unistd.h>

#include <algorithm>

namespace kw::target {

using runtime::Role;

uint64_t page_bytes() {
  static const auto bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

Layout layout_of(const runtime::Program& program) {
  Layout layout;
  const uint64_t page = page_bytes();
  for (const runtime::BufferSpec& buffer : program.buffers) {
    Layout::Region region;
    // Room for a shift of up to 64 bytes and for the canary in front.
    region.bytes = (buffer.bytes + 192 + page - 1) / page * page;
    region.shared = buffer.role != Role::prepared && buffer.role != Role::scratch;
    if (region.shared) {
      region.offset = layout.shared_bytes;
      layout.shared_bytes += region.bytes;
    }
    layout.regions.push_back(region);
  }
  layout.shared_bytes = std::max(layout.shared_bytes, page);
  return layout;
}

uint64_t data_offset(const runtime::BufferSpec& buffer, const Layout::Region& region, uint64_t shift_bytes) {
  const uint64_t flush = region.bytes - buffer.bytes;
  if (!region.shared) return flush / 64 * 64;
  const bool shifts = buffer.role == Role::input || buffer.role == Role::output;
  if (!shifts || shift_bytes == 0) return flush;
  const uint64_t element = std::max<uint64_t>(1, runtime::dtype_bytes(buffer.dtype));
  return (flush - 64) / 64 * 64 + (shift_bytes % 64 + element - 1) / element * element % 64;
}

}  // namespace kw::target
