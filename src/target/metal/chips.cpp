#include "target/metal/chips.h"

#include <fmt/format.h>

namespace kw::target {
namespace {

constexpr double giga = 1e9, mega = 1e6;
constexpr double launch_s = 3e-6;  // between two kernels of one command buffer

}  // namespace

const std::vector<Chip>& chips() {
  // Clocks are those at which 256 flops a core and cycle give the published float32 rates.
  static const std::vector<Chip> table = {
      {"m1", "Apple M1", 8, 1278 * mega, 68 * giga, 0.9, 0.8},
      {"m1-max", "Apple M1 Max", 32, 1296 * mega, 400 * giga, 0.9, 0.8},
      {"m2", "Apple M2", 10, 1398 * mega, 100 * giga, 0.9, 0.8},
      {"m3", "Apple M3", 10, 1398 * mega, 100 * giga, 0.9, 0.8},
      {"m4", "Apple M4", 10, 1470 * mega, 120 * giga, 0.9, 0.8},
      {"m4-max", "Apple M4 Max", 40, 1578 * mega, 546 * giga, 0.9, 0.8},
      {"m5", "Apple M5", 10, 1578 * mega, 153.6 * giga, 0.94, 0.8},
  };
  return table;
}

const Chip* find_chip(std::string_view name) {
  for (const Chip& chip : chips())
    if (chip.name == name) return &chip;
  return nullptr;
}

std::vector<std::string> chip_names() {
  std::vector<std::string> names;
  for (const Chip& chip : chips()) names.emplace_back(chip.name);
  return names;
}

Facts facts_of(const Chip& chip) {
  Facts facts;
  facts.target = "metal";
  facts.name = fmt::format("{} ({} cores), emulated", chip.title, chip.cores);
  facts.isa = "msl";
  facts.dialect = "msl";
  facts.threads = 1;  // a row never waits for another: the GPU has threads enough for each
  facts.vector_bytes = 4;
  facts.flops_per_s = chip.flops_per_s() * chip.efficiency;
  facts.bytes_per_s = chip.bytes_per_s * chip.memory_efficiency;
  facts.launch_s = launch_s;
  return facts;
}

}  // namespace kw::target
