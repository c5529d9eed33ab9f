#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "emulator/front/dialect.h"
#include "emulator/front/reflection.h"
#include "emulator/front/toolchain.h"

namespace kw::emulator {

struct KernelSource {
  std::string text;
  std::string name = "kernels.metal";               // as messages call it
  std::vector<std::filesystem::path> include_dirs;  // for #include, the file's own folder among them
  std::vector<std::string> defines;                 // "NAME" or "NAME=VALUE"
  Dialect dialect = Dialect::metal;
};

struct CompileOptions {
  BuildMode mode;
  std::vector<std::string> kernels;  // host names to compile; empty: all
  bool lint = true;                  // refuse what the dialect's compiler refuses
  double timeout_s = 120;
};

/// A shared object for the runtime (see runtime/abi.h) and what is in it.
struct KernelModule {
  std::filesystem::path binary;
  std::string key;  // hash of content, compiler and flags
  Reflection reflection;
  Dialect dialect = Dialect::metal;
  double compile_s = 0;
  bool from_cache = false;
};

/// What a source offers, without compiling it. fails: *.preprocess, *.syntax, *.kernel (msl. or cuda.)
Result<Reflection> reflect_source(const HostToolchain& toolchain, const KernelSource& source);

/// The C++ that a source becomes, for those who want to look. fails: as reflect_source
Result<std::string> rewrite_source(const HostToolchain& toolchain, const KernelSource& source,
                                   const CompileOptions& options);

/// Compiles once per content, compiler and flags.
/// fails: as reflect_source; *.rejected (lint's findings); *.compile (the user's lines and clang's words), *.timeout,
/// emulator.*
Result<KernelModule> compile_source(const HostToolchain& toolchain, const KernelSource& source,
                                    const CompileOptions& options);

}  // namespace kw::emulator
