#include "emulator/runtime/symbols.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/process.h"

namespace kw::emulator {
namespace {

bool is_below(const std::string& file, const std::filesystem::path& folder) {
  return !folder.empty() && file.rfind(folder.string() + "/", 0) == 0;
}

/// "file:12 (discriminator 3)" or "??:0".
bool parse_place(std::string line, SourcePlace& place) {
  line = line.substr(0, line.find(" ("));
  const size_t colon = line.rfind(':');
  if (colon == std::string::npos || line[0] == '?') return false;
  const char* const end = line.data() + line.size();
  if (std::from_chars(line.data() + colon + 1, end, place.line).ec != std::errc() || place.line == 0) return false;
  place.file = line.substr(0, colon);
  return true;
}

}  // namespace

std::map<uint64_t, SourcePlace> places_of(const std::filesystem::path& module, const std::filesystem::path& own_headers,
                                          const std::vector<uint64_t>& pcs) {
  std::map<uint64_t, SourcePlace> places;
  std::vector<std::string> argv = {"addr2line", "-a", "-i", "-e", module.string()};
  for (const uint64_t pc : pcs)
    if (pc) argv.push_back(fmt::format("{:#x}", pc - 1));  // a return address is one past the call
  if (argv.size() == 5) return places;
  const auto reply = run_process(argv);
  if (!reply || reply->exit_code != 0) return places;
  std::istringstream lines(reply->out);
  uint64_t pc = 0;
  bool settled = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("0x", 0) == 0) {
      pc = std::stoull(line, nullptr, 16) + 1;
      settled = false;
      continue;
    }
    SourcePlace place;
    if (settled || !parse_place(line, place)) continue;
    settled = !is_below(place.file, own_headers);
    places[pc] = place;
  }
  return places;
}

}  // namespace kw::emulator
