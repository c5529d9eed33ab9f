#include "target/cpu/toolchain.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "base/file.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/sandbox.h"
#include "kernel/emit/prelude.h"
#include "target/cpu/elf_check.h"
#include "target/cpu/source_check.h"

namespace kw::target {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view cache_format = "3";
constexpr int max_messages = 20;

struct IsaRow {
  std::string_view isa;
  std::vector<std::string> flags;
};
const IsaRow isas[] = {{"avx512", {"-march=skylake-avx512", "-mprefer-vector-width=512"}},
                       {"avx2", {"-march=haswell"}},
                       {"neon", {"-march=armv8-a"}},
                       {"scalar", {}}};

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::vector<std::string> compiler_names() {
  std::vector<std::string> names;
  if (const char* chosen = std::getenv("CXX"); chosen && *chosen) names.emplace_back(chosen);
  for (const char* name : {"g++", "g++-14", "g++-13", "g++-12", "clang++", "clang++-18", "clang++-16", "c++"})
    names.emplace_back(name);
  return names;
}

/// The whole translation unit: prelude, candidate, entries, each with its own name for diagnostics.
std::string unit_of(const std::string& source, const std::string& entries) {
  return fmt::format("#line 1 \"prelude.h\"\n{}\n#line 1 \"candidate.cpp\"\n{}\n#line 1 \"plan\"\n{}",
                     std::string_view(kernel::cpu_prelude()), source, entries);
}

/// Limits for the compiler, set by the shell: 4 GB, CPU seconds, 256 MB files, no core.
std::vector<std::string> limited(const std::vector<std::string>& command, double timeout_s) {
  std::vector<std::string> argv = {
      "/bin/sh", "-c",
      fmt::format("ulimit -c 0; ulimit -v 4194304; ulimit -t {}; ulimit -f 524288; exec \"$@\"",
                  static_cast<int>(timeout_s) + 1),
      "compile"};
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

Failure compile_failure(const ProcessReply& reply, const TempDir& folder, double timeout_s) {
  if (reply.timed_out) return {"compile.timeout", fmt::format("the compiler took longer than {:.0f} s", timeout_s), ""};
  std::string words = reply.err;
  const std::string prefix = folder.path().string() + "/";
  for (size_t at; (at = words.find(prefix)) != std::string::npos;) words.erase(at, prefix.size());
  if (words.size() > 6000) words = words.substr(0, 6000) + "\n[cut]";
  return {"compile.error", "the kernel source does not compile:\n" + words, ""};
}

Status build(const Toolchain& toolchain, const std::string& unit, const std::string& isa, const fs::path& binary) {
  const TempDir folder("kw-compile");
  const fs::path input = folder.path() / "unit.cpp", output = folder.path() / "kernels.so";
  if (Status status = write_file_atomic(input, unit); !status.ok()) return status;
  std::vector<std::string> command = {toolchain.compiler};
  for (const std::string& flag : compiler_flags(isa, toolchain.clang)) command.push_back(flag);
  command.insert(command.end(), {"-o", output.string(), input.string(), "-lm", "-lc", "-lgcc"});
  ProcessOptions options;
  options.timeout_s = toolchain.timeout_s;
  options.env = {{"TMPDIR", folder.path().string()}, {"LC_ALL", "C"}};
  options.output_limit_bytes = 1u << 20;
  const auto reply =
      run_process(contained(limited(command, toolchain.timeout_s), {}, {folder.path().string()}), options);
  if (!reply) return reply.failure();
  if (reply->exit_code != 0) return compile_failure(*reply, folder, toolchain.timeout_s);
  if (Status status = check_binary_file(output); !status.ok()) return status;
  auto content = read_file(output);
  if (!content) return content.failure();
  return write_file_atomic(binary, *content);
}

}  // namespace

std::filesystem::path default_cache_dir() {
  const auto from = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value ? value : "");
  };
  if (!from("KERNELWRIGHT_CACHE").empty()) return from("KERNELWRIGHT_CACHE");
  if (!from("XDG_CACHE_HOME").empty()) return from("XDG_CACHE_HOME") / "kernelwright";
  if (!from("HOME").empty()) return from("HOME") / ".cache" / "kernelwright";
  return fs::temp_directory_path() / "kernelwright-cache";
}

Result<Toolchain> find_toolchain(const fs::path& cache_dir) {
  ProcessOptions options;
  options.timeout_s = 10;
  for (const std::string& name : compiler_names()) {
    const auto reply = run_process({name, "--version"}, options);
    if (!reply.ok() || reply->exit_code != 0) continue;
    const std::string version = first_line(reply->out);
    return Toolchain{name, version, version.find("clang") != std::string::npos, cache_dir, 60};
  }
  return Failure{"compile.missing", "no C++ compiler was found", "install g++ or clang++, or set CXX"};
}

std::vector<std::string> compiler_flags(std::string_view isa, bool clang) {
  std::vector<std::string> flags = {"-x",
                                    "c++",
                                    "-std=gnu++17",
                                    "-O3",
                                    "-fPIC",
                                    "-shared",
                                    "-nostartfiles",
                                    "-nodefaultlibs",
                                    "-fno-exceptions",
                                    "-fno-rtti",
                                    "-fno-threadsafe-statics",
                                    "-fno-math-errno",
                                    "-fno-trapping-math",
                                    "-ffp-contract=fast",
                                    "-fwrapv",
                                    "-fvisibility=hidden",
                                    "-fno-stack-protector",
                                    "-fno-asynchronous-unwind-tables",
                                    "-fno-unwind-tables",
                                    "-fno-ident",
                                    "-fdiagnostics-color=never",
                                    "-w",
                                    "-Wl,-z,now",
                                    "-Wl,-z,noexecstack",
                                    "-Wl,--build-id=none",
                                    "-Wl,--as-needed",
                                    "-Wl,-s"};
  flags.push_back(clang ? fmt::format("-ferror-limit={}", max_messages) : fmt::format("-fmax-errors={}", max_messages));
  for (const IsaRow& row : isas)
    if (row.isa == isa) flags.insert(flags.end(), row.flags.begin(), row.flags.end());
  return flags;
}

Result<Compiled> compile_kernel(const Toolchain& toolchain, const std::string& source, const kernel::Plan& plan,
                                const std::string& isa) {
  if (Status status = check_source(source); !status.ok()) return status.failure();
  auto entries = entries_of(plan);
  if (!entries) return entries.failure();
  const std::string unit = unit_of(source, *entries);
  std::string identity = fmt::format("{}\n{}\n{}\n", cache_format, toolchain.version, isa);
  for (const std::string& flag : compiler_flags(isa, toolchain.clang)) identity += flag + "\n";
  Compiled compiled{sha256(identity + unit), isa, "", 0, false};
  const fs::path binary = toolchain.cache_dir / (compiled.key + ".so");
  compiled.binary_path = binary.string();
  // The cache is not trusted either: what is taken from it passes the same gate.
  if (fs::exists(binary) && check_binary_file(binary).ok()) {
    compiled.from_cache = true;
    return compiled;
  }
  std::error_code error;
  fs::create_directories(toolchain.cache_dir, error);
  if (error)
    return Failure{"compile.cache", fmt::format("the folder {} cannot be created", toolchain.cache_dir.string()),
                   "set KERNELWRIGHT_CACHE to a writable folder"};
  const auto start = std::chrono::steady_clock::now();
  if (Status status = build(toolchain, unit, isa, binary); !status.ok()) return status.failure();
  compiled.compile_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return compiled;
}

}  // namespace kw::target
