// msl_compile [--checked] [--show] [--list] [-I DIR] [-D NAME] [--kernel NAME] FILE: what the front end makes of a
// file.
#include <cstdio>
#include <cstring>

#include "base/file.h"
#include "emulator/front/compile.h"

using namespace kw;
using namespace kw::emulator;

namespace {
int fail(const Failure& failure) {
  std::fprintf(stderr, "%s: %s\n", failure.id.c_str(), failure.message.c_str());
  return 2;
}
}  // namespace

int main(int count, char** words) {
  KernelSource source;
  CompileOptions options;
  options.timeout_s = 600;
  bool show = false, list = false;
  for (int i = 1; i < count; ++i) {
    if (!std::strcmp(words[i], "--checked"))
      options.mode.checked = true;
    else if (!std::strcmp(words[i], "--show"))
      show = true;
    else if (!std::strcmp(words[i], "--list"))
      list = true;
    else if (!std::strcmp(words[i], "-I"))
      source.include_dirs.emplace_back(words[++i]);
    else if (!std::strcmp(words[i], "-D"))
      source.defines.emplace_back(words[++i]);
    else if (!std::strcmp(words[i], "--kernel"))
      options.kernels.emplace_back(words[++i]);
    else
      source.name = words[i];
  }
  auto text = read_file(source.name);
  if (!text) return fail(text.failure());
  source.text = *text;
  auto toolchain = find_host_toolchain(std::filesystem::temp_directory_path() / "kw-metal-cache");
  if (!toolchain) return fail(toolchain.failure());
  if (show) {
    auto made = rewrite_source(*toolchain, source, options);
    if (!made) return fail(made.failure());
    std::fwrite(made->data(), 1, made->size(), stdout);
    return 0;
  }
  if (list) {
    auto made = reflect_source(*toolchain, source);
    if (!made) return fail(made.failure());
    for (const KernelDescription& kernel : made->kernels)
      std::printf("%s  %s\n", kernel.name.c_str(), kernel.expression.c_str());
    return 0;
  }
  auto module = compile_source(*toolchain, source, options);
  if (!module) return fail(module.failure());
  std::printf("%s: %zu kernels, %.2f s%s\n", module->binary.c_str(), module->reflection.kernels.size(),
              module->compile_s, module->from_cache ? " (cached)" : "");
}
