#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "target/metal/chips.h"
#include "target/target.h"

namespace kw::target {

struct MetalOptions {
  std::string chip = "m3";          // whose time is predicted
  std::filesystem::path cache_dir;  // "": the user's
  int threads = 0;                  // that emulate; 0: all usable cores
};

/// Apple GPUs without one: kernels run on the emulator, times are predicted.
/// fails: metal.chip (unknown), emulator.compiler (no clang that fits)
Result<std::unique_ptr<Target>> open_metal_target(const MetalOptions& options = {});

}  // namespace kw::target
