#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace kw::emulator {

struct SourcePlace {
  std::string file;
  uint32_t line = 0;
};

/// Lines of return addresses in a module (offsets from where it is loaded): of inlined calls the innermost one that
/// lies in the user's source rather than in our headers. Unknown ones are left out. Needs addr2line (binutils).
/// Files below `own_headers` (if not empty) are ours.
std::map<uint64_t, SourcePlace> places_of(const std::filesystem::path& module, const std::filesystem::path& own_headers,
                                          const std::vector<uint64_t>& pcs);

}  // namespace kw::emulator
