#include "emulator/front/toolchain.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/file.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/sandbox.h"
#include "emulator/stdlib/stdlib.h"

namespace kw::emulator {
namespace {

namespace fs = std::filesystem;

constexpr int oldest_clang = 16;
constexpr const char* compiler_names[] = {"clang++-16", "clang++-17", "clang++-18", "clang++-19",
                                          "clang++-20", "clang++-21", "clang++"};

/// 16 of "Debian clang version 16.0.6 (...)", 0 of anything else.
int clang_version(const std::string& words) {
  const size_t at = words.find("clang version ");
  return at == std::string::npos ? 0 : std::atoi(words.c_str() + at + 14);
}

Failure cache_failure(const fs::path& path) {
  return {"emulator.cache", fmt::format("the folder {} cannot be written", path.string()),
          "set KERNELWRIGHT_CACHE to a writable folder"};
}

// Headers of what the emulator does not cover: whoever includes one is told so.
constexpr const char* uncovered_header = "MetalPerformancePrimitives/MetalPerformancePrimitives.h";
constexpr const char* uncovered_text = "#error tensor operations (mpp) are outside what the emulator covers\n";

/// Files of a shadow folder: each name stands for the dialect's macros.
Status write_shadow(const fs::path& root, const DialectRow& row, std::span<const std::string_view> names) {
  const fs::path folder = root / row.shadow;
  for (const StdlibFile& file : stdlib_files()) {
    if (file.name != row.macros) continue;
    for (std::string_view name : names) {
      std::error_code error;
      fs::create_directories((folder / name).parent_path(), error);
      if (Status s = write_file_atomic(folder / name, file.text); !s.ok()) return cache_failure(root);
    }
  }
  return ok_status();
}

/// Headers named by their content, so that programs of different versions share a cache.
Status write_headers(HostToolchain& toolchain) {
  std::string identity = uncovered_text;
  for (const StdlibFile& file : stdlib_files()) identity += fmt::format("{}\n{}\n", file.name, file.text);
  for (std::string_view name : stdlib_names()) identity += fmt::format("{}\n", name);
  for (std::string_view name : cuda_header_names()) identity += fmt::format("{}\n", name);
  const fs::path root = toolchain.cache_dir / ("metal_stdlib-" + sha256(identity).substr(0, 16));
  toolchain.headers = root / "host";
  if (fs::exists(root / "complete")) return ok_status();
  const DialectRow& metal = row_of(Dialect::metal);
  const fs::path uncovered = root / metal.shadow / uncovered_header;
  std::error_code error;
  fs::create_directories(toolchain.headers / "cuda", error);
  fs::create_directories(uncovered.parent_path(), error);
  if (error) return cache_failure(root);
  for (const StdlibFile& file : stdlib_files())
    if (Status s = write_file_atomic(toolchain.headers / file.name, file.text); !s.ok()) return cache_failure(root);
  if (Status s = write_shadow(root, metal, stdlib_names()); !s.ok()) return s;
  if (Status s = write_shadow(root, row_of(Dialect::cuda), cuda_header_names()); !s.ok()) return s;
  if (Status s = write_file_atomic(uncovered, uncovered_text); !s.ok()) return s;
  return write_file_atomic(root / "complete", "");
}

/// Limits set by the shell: no core, 4 GB, CPU seconds, 512 MB files.
std::vector<std::string> limited(double timeout_s, const std::string& compiler,
                                 const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {
      "/bin/sh", "-c",
      fmt::format("ulimit -c 0; ulimit -v 4194304; ulimit -t {}; ulimit -f 1048576; exec \"$@\"",
                  static_cast<int>(timeout_s) + 1),
      "compile", compiler};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

const char* architecture_flag() {
#if defined(__x86_64__)
  // The level that has conversions of half in hardware.
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "-march=x86-64-v3" : "-march=x86-64-v2";
#else
  return "-march=native";
#endif
}

}  // namespace

Result<HostToolchain> find_host_toolchain(const fs::path& cache_dir) {
  ProcessOptions options;
  options.timeout_s = 30;
  std::string too_old, broken;
  for (const char* name : compiler_names) {
    const auto reply = run_process({name, "--version"}, options);
    if (reply.ok() && reply->exit_code != 0 && reply->exit_code != 127)
      broken =
          fmt::format("{} --version ends with {}{}", name, reply->exit_code, reply->timed_out ? " (too slow)" : "");
    if (!reply.ok() || reply->exit_code != 0) continue;
    const std::string version = reply->out.substr(0, reply->out.find('\n'));
    if (clang_version(version) < oldest_clang) {
      too_old = version;
      continue;
    }
    HostToolchain made{name, version, cache_dir, {}};
    if (Status s = write_headers(made); !s.ok()) return s.failure();
    return made;
  }
  return Failure{"emulator.compiler",
                 too_old.empty()
                     ? "the emulator needs clang, and none was found"
                     : fmt::format("the emulator needs clang {} or newer, found: {}", oldest_clang, too_old),
                 "install clang-16 or newer (Debian: apt install clang-16)"};
}

std::vector<std::string> host_compiler_flags(const BuildMode& mode) {
  std::vector<std::string> flags = {
      "-std=c++20", "-O2", architecture_flag(), "-fPIC", "-nostdinc", "-nostdinc++", "-fno-exceptions", "-fno-rtti",
      "-fno-threadsafe-statics", "-fno-math-errno", "-fno-trapping-math", "-fwrapv", "-fno-strict-aliasing",
      "-fno-delete-null-pointer-checks", "-fsigned-char", "-fvisibility=hidden", "-fno-stack-protector",
      "-fno-finite-loops",
      // Barriers and meetings of lanes: a call may not be split or moved into branches,
      // code stands in the order of the source, callers can be walked.
      "-Xclang", "-fconvergent-functions", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-mllvm",
      "-disable-block-placement", "-Xclang", "-ffloat16-excess-precision=none", "-gline-tables-only",
      "-fdiagnostics-color=never", "-fno-caret-diagnostics", "-fno-spell-checking", "-ferror-limit=20", "-w"};
  flags.push_back(mode.fast_math ? "-ffp-contract=fast" : "-ffp-contract=off");
  if (mode.checked || mode.profile)
    flags.insert(flags.end(),
                 {"-DKW_EMU_CHECKED", "-fsanitize=kernel-address", "-mllvm",
                  "-asan-instrumentation-with-call-threshold=0", "-mllvm", "-asan-opt=0", "-mllvm", "-asan-stack=0",
                  "-mllvm", "-asan-globals=0", "-mllvm", "-asan-kernel-mem-intrinsic-prefix=1",
                  // Unset floats become NaN.
                  "-ftrivial-auto-var-init=pattern"});
  return flags;
}

Result<CompilerReply> run_compiler(const HostToolchain& toolchain, const CompilerCall& call) {
  ProcessOptions options;
  options.timeout_s = call.timeout_s;
  options.stdin_text = call.input;
  options.env = {{"LC_ALL", "C"}, {"TMPDIR", call.writable.empty() ? "/tmp" : call.writable.front()}};
  options.output_limit_bytes = 64u << 20;
  const auto argv = limited(call.timeout_s, toolchain.compiler, call.arguments);
  const auto reply = run_process(contained(argv, call.visible, call.writable), options);
  if (!reply) return reply.failure();
  return CompilerReply{reply->exit_code == 0, reply->timed_out, reply->out, reply->err};
}

Result<fs::path> precompiled_stdlib(const HostToolchain& toolchain, const BuildMode& mode, Dialect dialect) {
  const DialectRow& row = row_of(dialect);
  std::string identity = fmt::format("{}\n{}", row.header, toolchain.version);
  for (const std::string& flag : host_compiler_flags(mode)) identity += "\n" + flag;
  const fs::path made = toolchain.headers.parent_path() / (sha256(identity).substr(0, 16) + ".pch");
  if (fs::exists(made)) return made;
  const TempDir folder("kw-metal");
  const fs::path fresh = folder.path() / "host.pch", source = toolchain.headers / row.header;
  std::vector<std::string> arguments = host_compiler_flags(mode);
  arguments.insert(arguments.end(), {"-x", "c++-header", "-Xclang", "-fno-pch-timestamp", "-fpch-instantiate-templates",
                                     "-o", fresh.string(), source.string()});
  auto reply = run_compiler(toolchain, {arguments, {toolchain.headers.string()}, {folder.path().string()}, "", 60});
  if (!reply) return reply.failure();
  if (!reply->good)
    return Failure{
        "emulator.stdlib",
        fmt::format("the emulator's library for {} does not compile:\n{}", row.language, reply->err.substr(0, 4000)),
        fmt::format("the compiler is {}", toolchain.version)};
  auto content = read_file(fresh);
  if (!content) return content.failure();
  if (Status s = write_file_atomic(made, *content); !s.ok()) return cache_failure(made.parent_path());
  return made;
}

}  // namespace kw::emulator
