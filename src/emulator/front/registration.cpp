#include "emulator/front/registration.h"

#include <fmt/format.h>

#include <algorithm>

namespace kw::emulator {
namespace {

std::string in_quotes(std::string_view text) {
  std::string made = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') made += '\\';
    if (c == '\n')
      made += "\\n";
    else
      made += c;
  }
  return made + "\"";
}

/// The next line counts as the user's, so that what is wrong with an instantiation is said there.
std::string marker(const Lexed& lexed, size_t token) {
  const Token& t = lexed.tokens[token];
  return fmt::format("# {} {}\n", t.line, in_quotes(lexed.files[t.file]));
}

std::string kernel_text(const Lexed& lexed, const Kernel& kernel, size_t number) {
  std::string text = marker(lexed, kernel.place);
  text += fmt::format("static constexpr kw_emu::Where kw_where_{}[] = {{", number);
  for (const ArgumentDescription& argument : kernel.description.arguments)
    text += fmt::format("{{{}, {}, {}, {}}}, ", static_cast<int>(argument.source), argument.index.value_or(0),
                        in_quotes(argument.name), argument.line);
  const std::string& function = kernel.description.expression;
  const std::string address =
      kernel.signature.empty() ? "&" + function : fmt::format("static_cast<{}>(&{})", kernel.signature, function);
  text +=
      fmt::format("{{0, 0, \"\", 0}}}}; using kw_launch_{0} = kw_emu::Launch<{1}, kw_where_{0}>;\n", number, address);
  return text;
}

std::string kernel_row(const Kernel& kernel, size_t number) {
  return fmt::format(
      "    {{{0}, &kw_launch_{1}::run, kw_launch_{1}::rows.row, kw_launch_{1}::rows.count, {2}, {3}}},\n",
      in_quotes(kernel.description.name), number, kernel.description.line, in_quotes(kernel.description.file));
}

std::string constant_row(const FunctionConstant& constant) {
  return fmt::format("    {{{0}, &{1}, &{2}{3}, {4}, sizeof({1})}},\n", in_quotes(constant.description.name),
                     constant.qualified, constant.scope, constant.defined, constant.index_text);
}

}  // namespace

std::string registration(const Lexed& lexed, const std::vector<Kernel>& kernels,
                         const std::vector<FunctionConstant>& constants, const std::vector<std::string>& refreshes,
                         const std::vector<std::string>& wanted) {
  std::string launches, rows, constant_rows, calls;
  size_t count = 0;
  for (size_t i = 0; i < kernels.size(); ++i) {
    const std::string& name = kernels[i].description.name;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    launches += kernel_text(lexed, kernels[i], i);
    rows += kernel_row(kernels[i], i);
    ++count;
  }
  for (const FunctionConstant& constant : constants) constant_rows += constant_row(constant);
  for (const std::string& refresh : refreshes) calls += refresh + "(); ";
  return fmt::format(
      "\n{}# 1 \"(kernelwright)\"\n"
      "static const KwEmuKernel kw_kernels[] = {{\n{}    {{nullptr, nullptr, nullptr, 0, 0, nullptr}}}};\n"
      "static const KwEmuConstant kw_constants[] = {{\n{}    {{nullptr, nullptr, nullptr, 0, 0}}}};\n"
      "static void kw_refresh() {{ {}}}\n"
      "static const KwEmuModule kw_module = {{KW_EMU_ABI_VERSION, {}, kw_kernels, {}, kw_constants, &kw_refresh}};\n"
      "extern \"C\" __attribute__((visibility(\"default\"))) const KwEmuModule* kw_emu_module() {{ return &kw_module; "
      "}}\n",
      launches, rows, constant_rows, calls, count, constants.size());
}

}  // namespace kw::emulator
