#include "emulator/front/compile.h"

#include <fmt/format.h>

#include <cctype>
#include <chrono>

#include "base/file.h"
#include "base/hash.h"
#include "emulator/front/diagnostics.h"
#include "emulator/front/rewrite.h"
#include "emulator/lint/lint.h"
#include "emulator/runtime/instrument.h"

namespace kw::emulator {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view cache_format = "2";
constexpr size_t most_diagnostics = 10;

std::string named(const KernelSource& source) {
  std::string quoted;
  for (char c : source.name) quoted += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return fmt::format("# 1 \"{}\"\n{}\n", quoted, source.text);
}

std::string failure_id(const KernelSource& source, std::string_view what) {
  return fmt::format("{}.{}", row_of(source.dialect).id, what);
}

Failure compiler_failure(const char* id, const char* what, const CompilerReply& reply, const HostToolchain& toolchain,
                         const KernelSource& source) {
  const auto found = read_diagnostics(reply.err, toolchain.headers.parent_path().string(), most_diagnostics);
  const std::string words =
      found.empty() ? reply.err.substr(0, 4000) : show_diagnostics(found, source.text, source.name);
  return {failure_id(source, id), fmt::format("the {} source {}:\n{}", row_of(source.dialect).language, what, words),
          ""};
}

/// The text behind clang's preprocessor, with line markers. Headers of the dialect give their macros alone.
Result<std::string> preprocess(const HostToolchain& toolchain, const KernelSource& source) {
  const DialectRow& row = row_of(source.dialect);
  const fs::path shadow = toolchain.headers.parent_path() / row.shadow;
  std::vector<std::string> arguments = {"-E",
                                        "-x",
                                        "c++",
                                        fmt::format("-std={}", row.standard),
                                        "-nostdinc",
                                        "-nostdinc++",
                                        "-undef",
                                        "-fdiagnostics-color=never",
                                        "-fno-caret-diagnostics",
                                        "-w",
                                        "-isystem",
                                        shadow.string()};
  for (const char* define : row.defines) arguments.push_back(fmt::format("-D{}", define));
  if (source.dialect == Dialect::cuda)
    arguments.insert(arguments.end(), {"-imacros", (shadow / "cuda_runtime.h").string()});
  std::vector<std::string> visible = {shadow.string()};
  for (const std::string& define : source.defines) arguments.push_back("-D" + define);
  for (const fs::path& dir : source.include_dirs) {
    std::error_code error;
    const fs::path whole = fs::canonical(dir, error);
    if (error || !fs::is_directory(whole))
      return Failure{failure_id(source, "preprocess"),
                     fmt::format("the include folder {} does not exist", dir.string()), ""};
    arguments.insert(arguments.end(), {"-I", whole.string()});
    visible.push_back(whole.string());
  }
  arguments.push_back("-");
  auto reply = run_compiler(toolchain, {arguments, visible, {}, named(source), 30});
  if (!reply) return reply.failure();
  if (!reply->good) return compiler_failure("preprocess", "does not preprocess", *reply, toolchain, source);
  return std::move(reply->out);
}

Failure lint_failure(const std::vector<Finding>& findings, const KernelSource& source) {
  std::vector<Diagnostic> shown;
  for (const Finding& finding : findings)
    if (shown.size() < most_diagnostics) shown.push_back({finding.file, finding.line, finding.message});
  const DialectRow& row = row_of(source.dialect);
  return {failure_id(source, "rejected"),
          fmt::format("{} this {} source:\n{}", row.refuser, row.language,
                      show_diagnostics(shown, source.text, source.name)),
          ""};
}

/// What to write for a kernel that is there as a template alone.
std::string template_hint(const Lexed& lexed, const std::vector<Declaration>& declarations, const std::string& name) {
  if (lexed.dialect != Dialect::cuda) return "";
  for (const Declaration& d : declarations)
    if (d.kind == DeclarationKind::function && d.is_kernel && d.is_template && lexed.tokens[d.name].is(name))
      return fmt::format(
          "{0} is a template: call it from a plain kernel, or instantiate it (template __global__ void "
          "{0}<float>(...);) and ask for \"{0}<float>\"",
          name);
  return "";
}

Result<Rewritten> front(const HostToolchain& toolchain, const KernelSource& source, const RewriteOptions& options,
                        bool with_lint) {
  auto text = preprocess(toolchain, source);
  if (!text) return text.failure();
  auto lexed = lex(*text, source.name, source.dialect);
  if (!lexed) return lexed.failure();
  const std::vector<Declaration> declarations = outline(*lexed);
  auto kernels = find_kernels(*lexed, declarations);
  if (!kernels) return kernels.failure();
  for (const std::string& name : options.kernels) {
    bool known = false;
    for (const Kernel& kernel : *kernels) known = known || kernel.description.name == name;
    if (!known)
      return Failure{failure_id(source, "kernel"), fmt::format("{} has no kernel called \"{}\"", source.name, name),
                     template_hint(*lexed, declarations, name)};
  }
  if (with_lint)
    if (const auto findings = lint(*lexed, declarations, *kernels); !findings.empty())
      return lint_failure(findings, source);
  return rewrite(*lexed, declarations, *kernels, options);
}

/// Named like the source, for debug information takes the name of the compiled file here and there.
std::string unit_name(const std::string& source) {
  const std::string name = fs::path(source).filename().string();
  for (const char c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') return "unit.cpp";
  return name.empty() || name[0] == '-' || name[0] == '.' || name == "kernels.so" ? "unit.cpp" : name;
}

Status build(const HostToolchain& toolchain, const KernelSource& source, const std::string& text,
             const CompileOptions& options, const fs::path& binary) {
  auto header = precompiled_stdlib(toolchain, options.mode, source.dialect);
  if (!header) return header.failure();
  const TempDir folder("kw-metal");
  const fs::path input = folder.path() / unit_name(source.name), output = folder.path() / "kernels.so";
  if (Status s = write_file_atomic(input, text); !s.ok()) return s;
  const auto call = [&](std::vector<std::string> arguments) {
    return run_compiler(toolchain, {std::move(arguments),
                                    {toolchain.headers.parent_path().string()},
                                    {folder.path().string()},
                                    "",
                                    options.timeout_s});
  };
  std::vector<std::string> compile = host_compiler_flags(options.mode);
  compile.insert(compile.end(), {"-include-pch", header->string(), "-x", "c++", input.string(), "-x", "none"});
  std::vector<std::string> link = {"-shared",
                                   "-nostartfiles",
                                   "-nodefaultlibs",
                                   "-o",
                                   output.string(),
                                   "-Wl,--build-id=none",
                                   "-Wl,-z,now",
                                   "-Wl,-z,noexecstack",
                                   "-lm",
                                   "-lc",
                                   "-lgcc"};
  if (options.mode.profile) {
    const fs::path counted = folder.path() / "unit.ll";
    compile.insert(compile.end(), {"-S", "-emit-llvm", "-o", counted.string()});
    auto first = call(compile);
    if (!first) return first.failure();
    if (!first->good) return compiler_failure("compile", "does not compile", *first, toolchain, source);
    auto assembly = read_file(counted);
    if (!assembly) return assembly.failure();
    if (Status s = write_file_atomic(counted, instrument_blocks(*assembly)); !s.ok()) return s;
    compile = {"-O2",           "-fPIC", "-w", "-Xclang", "-disable-llvm-passes", "-mllvm", "-disable-block-placement",
               counted.string()};
  }
  compile.insert(compile.end(), link.begin(), link.end());
  auto reply = call(compile);
  if (!reply) return reply.failure();
  if (reply->timed_out)
    return Failure{failure_id(source, "timeout"),
                   fmt::format("the compiler took longer than {:.0f} s", options.timeout_s),
                   "name the kernels that you need, so that only those are compiled"};
  if (!reply->good) return compiler_failure("compile", "does not compile", *reply, toolchain, source);
  auto content = read_file(output);
  if (!content) return content.failure();
  return write_file_atomic(binary, *content);
}

}  // namespace

Result<Reflection> reflect_source(const HostToolchain& toolchain, const KernelSource& source) {
  auto made = front(toolchain, source, {}, false);
  if (!made) return made.failure();
  return std::move(made->reflection);
}

Result<std::string> rewrite_source(const HostToolchain& toolchain, const KernelSource& source,
                                   const CompileOptions& options) {
  auto made = front(toolchain, source, {options.kernels}, options.lint);
  if (!made) return made.failure();
  return std::move(made->text);
}

Result<KernelModule> compile_source(const HostToolchain& toolchain, const KernelSource& source,
                                    const CompileOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  auto made = front(toolchain, source, {options.kernels}, options.lint);
  if (!made) return made.failure();
  std::string identity = fmt::format("{}\n{}\n{}\n", cache_format, toolchain.version, toolchain.headers.string());
  for (const std::string& flag : host_compiler_flags(options.mode)) identity += flag + "\n";
  if (options.mode.profile) identity += "profile 2\n";
  KernelModule module;
  module.dialect = source.dialect;
  module.key = sha256(identity + made->text);
  module.binary = toolchain.cache_dir / ("metal-" + module.key + ".so");
  module.reflection = std::move(made->reflection);
  module.from_cache = fs::exists(module.binary);
  if (!module.from_cache)
    if (Status s = build(toolchain, source, made->text, options, module.binary); !s.ok()) return s.failure();
  module.compile_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return module;
}

}  // namespace kw::emulator
