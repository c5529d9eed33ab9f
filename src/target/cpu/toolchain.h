#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/plan.h"
#include "target/target.h"

namespace kw::target {

/// The system's C++ compiler and how kernels are built with it.
struct Toolchain {
  std::string compiler;  // path or name
  std::string version;   // first line of --version
  bool clang = false;
  std::filesystem::path cache_dir;
  double timeout_s = 60;
};

/// $CXX, else g++, clang++, c++ and their usual numbered names. fails: compile.missing
Result<Toolchain> find_toolchain(const std::filesystem::path& cache_dir);

/// $KERNELWRIGHT_CACHE, else $XDG_CACHE_HOME/kernelwright, else ~/.cache/kernelwright.
std::filesystem::path default_cache_dir();

std::vector<std::string> compiler_flags(std::string_view isa, bool clang);

/// `extern "C" void kw_entry_NAME(void* const*, const int64_t*)` for every kernel that the Plan launches: it casts
/// the arguments as the Plan declares them and calls, so that the compiler checks arity and types. Pointers to
/// inputs, parameters and (in steps) prepared buffers are const.
/// fails: plan.kernel (one kernel launched with arguments of different types), plan.buffer
Result<std::string> entries_of(const kernel::Plan& plan);

/// Compiles once per content, compiler and flags. fails: as Target::compile
Result<Compiled> compile_kernel(const Toolchain& toolchain, const std::string& source, const kernel::Plan& plan,
                                const std::string& isa);

}  // namespace kw::target
