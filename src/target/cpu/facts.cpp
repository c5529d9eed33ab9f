#include "target/cpu/facts.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/hash.h"
#include "target/cpu/peaks.h"

namespace kw::target {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string line_of(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "CPU";
}

/// "32K" or "1M" in bytes.
int64_t size_of(const std::string& text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return 0;
  const int64_t value = std::stoll(text);
  return text.back() == 'K' ? value << 10 : text.back() == 'M' ? value << 20 : value;
}

void read_caches(Facts& facts) {
  for (int i = 0; i < 8; ++i) {
    const fs::path folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}", i);
    const int64_t bytes = size_of(line_of(folder / "size"));
    const std::string level = line_of(folder / "level");
    if (bytes == 0 || line_of(folder / "type") == "Instruction") continue;
    if (level == "1") facts.l1_bytes = bytes;
    if (level == "2") facts.l2_bytes = bytes;
    if (level == "3") facts.l3_bytes = bytes;
  }
}

bool read_peaks(const fs::path& path, Facts& facts) {
  const auto text = read_file(path, 1 << 16);
  if (!text) return false;
  const json saved = json::parse(*text, nullptr, false);
  if (!saved.is_object()) return false;
  facts.flops_per_s = saved.value("flops_per_s", 0.0);
  facts.bytes_per_s = saved.value("bytes_per_s", 0.0);
  return facts.flops_per_s > 0 && facts.bytes_per_s > 0;
}

void measure(const fs::path& path, Facts& facts) {
  const MachinePeaks peaks = measure_peaks(facts.threads);
  facts.flops_per_s = peaks.l1_flops_per_s;
  facts.bytes_per_s = peaks.copy_bytes_per_s;
  std::error_code ignored;
  fs::create_directories(path.parent_path(), ignored);
  // A cache that cannot be written only costs the next run a second.
  (void)write_file_atomic(path, json{{"flops_per_s", facts.flops_per_s}, {"bytes_per_s", facts.bytes_per_s}}.dump());
}

}  // namespace

Facts detect_facts(const std::string& isa, int threads, const fs::path& cache_dir) {
  Facts facts;
  facts.set_isa(isa);
  facts.threads = threads;
  facts.name = fmt::format("{} ({} threads)", cpu_name(), threads);
  read_caches(facts);
  const std::string identity = sha256(fmt::format("peaks/1 {} {}", facts.name, isa)).substr(0, 16);
  const fs::path kept = cache_dir / ("peaks-" + identity + ".json");
  if (!read_peaks(kept, facts)) measure(kept, facts);
  return facts;
}

}  // namespace kw::target
