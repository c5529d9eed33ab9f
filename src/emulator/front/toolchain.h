#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "emulator/front/dialect.h"

namespace kw::emulator {

/// How the generated code is built. Each set of flags has its own precompiled host library.
struct BuildMode {
  bool checked = false;    // call-outs at every load and store
  bool profile = false;    // checked, and every basic block says what it computes
  bool fast_math = false;  // contraction of a * b + c, as Metal's fast math does
};

/// clang, and the host libraries written out for it.
struct HostToolchain {
  std::string compiler;
  std::string version;
  std::filesystem::path cache_dir;  // compiled kernels
  // metal.h, cuda/cuda.h and their parts. Beside it, a folder for each dialect: <metal_stdlib>, <cuda_fp16.h> and
  // their kin for the preprocessor, macros alone.
  std::filesystem::path headers;
};

/// clang++-16 or newer, its headers written below `cache_dir`.
/// fails: emulator.compiler (none, or too old), emulator.cache
Result<HostToolchain> find_host_toolchain(const std::filesystem::path& cache_dir);

std::vector<std::string> host_compiler_flags(const BuildMode& mode);

/// The precompiled host library of `dialect` for `mode`, made at its first use. fails: emulator.stdlib
Result<std::filesystem::path> precompiled_stdlib(const HostToolchain& toolchain, const BuildMode& mode,
                                                 Dialect dialect = Dialect::metal);

/// One call of the compiler, behind the sandbox's walls.
struct CompilerCall {
  std::vector<std::string> arguments;
  std::vector<std::string> visible;   // folders and files to read
  std::vector<std::string> writable;  // folders to write
  std::string input;                  // its standard input
  double timeout_s = 60;
};
struct CompilerReply {
  bool good = false;
  bool timed_out = false;
  std::string out, err;
};
Result<CompilerReply> run_compiler(const HostToolchain& toolchain, const CompilerCall& call);

}  // namespace kw::emulator
