#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/sandbox.h"
#include "target/target.h"

namespace kw::target {

struct CpuOptions {
  int threads = 0;                  // 0: all usable cores
  std::string isa;                  // "": the best this machine has
  std::filesystem::path cache_dir;  // "": default_cache_dir()
  std::string worker;               // "": default_worker()
};

/// The CPU of this machine. Measures its peaks once and keeps them in the cache folder.
/// fails: cpu.isa (this machine cannot run it)
Result<std::unique_ptr<Target>> open_cpu_target(const CpuOptions& options = {});

/// First line of the C++ compiler's --version; "" when there is none.
std::string compiler_version();
/// fails: compile.missing
Status check_compiler();
/// "avx512", "avx2", "neon" or "scalar".
std::string best_isa();
/// Instruction sets that a package also carries besides `isa`: those that run on lesser machines of the same kind.
std::vector<std::string> narrower_isas(const std::string& isa);

}  // namespace kw::target
