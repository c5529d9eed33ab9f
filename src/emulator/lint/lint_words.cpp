#include <fmt/format.h>

#include <algorithm>

#include "emulator/lint/lint.h"

namespace kw::emulator {
namespace {

struct WordRow {
  std::string_view word;
  std::string_view why;
};
constexpr WordRow forbidden[] = {
    {"double", "Metal has no double; use float"},
    {"virtual", "Metal has no virtual functions"},
    {"throw", "Metal has no exceptions"},
    {"try", "Metal has no exceptions"},
    {"catch", "Metal has no exceptions"},
    {"goto", "Metal has no goto"},
    {"new", "Metal has no new and delete"},
    {"thread_local", "Metal has no thread_local"},
    {"typeid", "Metal has no typeid"},
    {"dynamic_cast", "Metal has no dynamic_cast"},
    {"asm", "Metal has no inline assembly"},
    {"__asm__", "Metal has no inline assembly"},
    {"wchar_t", "Metal has no wide characters"},
    {"char16_t", "Metal has no wide characters"},
    {"char32_t", "Metal has no wide characters"},
};

// Words that begin the names of types outside the emulator's coverage.
constexpr WordRow outside[] = {
    {"texture1d", "textures"},
    {"texture2d", "textures"},
    {"texture3d", "textures"},
    {"texturecube", "textures"},
    {"texture_buffer", "textures"},
    {"depth2d", "textures"},
    {"depthcube", "textures"},
    {"sampler", "samplers"},
    {"acceleration_structure", "ray tracing"},
    {"instance_acceleration_structure", "ray tracing"},
    {"primitive_acceleration_structure", "ray tracing"},
    {"intersector", "ray tracing"},
    {"intersection_query", "ray tracing"},
    {"intersection_function_table", "ray tracing"},
    {"raytracing", "ray tracing"},
    {"visible_function_table", "tables of functions"},
    {"imageblock", "image blocks"},
    {"threadgroup_imageblock", "image blocks"},
    {"render_command", "command buffers"},
    {"compute_command", "command buffers"},
    {"command_buffer", "command buffers"},
    {"mpp", "tensor operations (mpp)"},
    {"tensor_ops", "tensor operations (mpp)"},
    {"cooperative_tensor", "tensor operations (mpp)"},
};

bool names_a_member(const LintContext& c, size_t at) {
  return at > 0 && (c.text(at - 1) == "." || c.text(at - 1) == "->");
}

}  // namespace

void check_words(LintContext& c) {
  for (size_t i = 0; i + 1 < c.lexed.tokens.size(); ++i) {
    if (!c.lexed.tokens[i].is_name()) {
      const std::string_view number = c.text(i);
      const bool suffixed = number.ends_with("l") || number.ends_with("L");
      if (c.lexed.tokens[i].kind == TokenKind::number && suffixed && number.find('.') != std::string_view::npos)
        c.report(i, "Metal has no long double; leave the suffix out");
      continue;
    }
    for (const WordRow& row : forbidden)
      if (c.text(i) == row.word && !names_a_member(c, i)) c.report(i, std::string(row.why));
    if (c.text(i) == "delete" && i > 0 && c.text(i - 1) != "=") c.report(i, "Metal has no new and delete");
    if (c.text(i) == "long" && c.text(i + 1) == "long") c.report(i, "Metal has no long long; long has 64 bits");
  }
}

void check_coverage(LintContext& c) {
  for (size_t i = 0; i + 1 < c.lexed.tokens.size(); ++i) {
    if (!c.lexed.tokens[i].is_name() || names_a_member(c, i)) continue;
    const std::string_view word = c.text(i);
    for (const WordRow& row : outside) {
      const bool type = word == row.word || ((row.word.starts_with("texture") || row.word.starts_with("depth")) &&
                                             word.starts_with(row.word) && c.text(i + 1) == "<");
      const bool used =
          c.text(i + 1) == "<" || c.text(i + 1) == "::" || c.lexed.tokens[i + 1].is_name() || c.text(i + 1) == "(";
      if (type && used)
        c.report(i, fmt::format("{} {} outside what the emulator covers ('{}')", row.why,
                                row.why.ends_with("tracing") ? "is" : "are", word));
    }
    const bool starts =
        i == 0 || c.text(i - 1) == ";" || c.text(i - 1) == "}" || c.text(i - 1) == ">" || c.text(i - 1) == "]";
    if (starts && (word == "vertex" || word == "fragment") && c.lexed.tokens[i + 1].is_name())
      c.report(i, fmt::format("{} functions are outside what the emulator covers: it runs kernels", word));
  }
  for (const Declaration& declaration : c.declarations)
    for (const Attribute& attribute : declaration.attributes)
      for (const char* stage : {"vertex", "fragment", "mesh", "object", "intersection", "visible", "stitchable"})
        if (attribute.name == stage)
          c.report(declaration.name,
                   fmt::format("{} functions are outside what the emulator covers: it runs kernels", stage));
}

void check_function_pointers(LintContext& c) {
  for (size_t i = 0; i + 4 < c.lexed.tokens.size(); ++i) {
    // A template may take a function: template <void (*f)(int)>.
    if (c.text(i) == "template" && c.text(i + 1) == "<")
      i = std::max(i + 1, behind_angles(c.lexed, i + 1, c.lexed.tokens.size() - 1)) - 1;
    // type ( * name ) (
    if (i == 0 || c.text(i) != "(" || c.text(i + 1) != "*" || !c.lexed.tokens[i + 2].is_name()) continue;
    const size_t close = c.lexed.partner[i];
    if (c.text(i + 3) != ")" && c.text(i + 3) != "[") continue;
    if (c.text(close + 1) != "(") continue;
    const Token& before = c.lexed.tokens[i - 1];
    if ((before.is_name() && !before.is("return")) || before.is("*") || before.is(">"))
      c.report(i + 2, fmt::format("'{}' is a pointer to a function, which Metal does not have", c.text(i + 2)));
  }
}

void check_program_scope(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (d.kind != DeclarationKind::variable || d.in_record || !d.name || !d.initialiser) continue;
    bool constant = false;
    for (size_t i = d.head; i < d.initialiser; ++i)
      constant = constant || c.text(i) == "constant" || c.text(i) == "sampler" || c.text(i) == "using" ||
                 c.text(i) == "concept";
    if (!constant)
      c.report(d.name, fmt::format("'{}' stands at program scope, so it must be in the constant address space",
                                   c.text(d.name)));
  }
}

void check_static_locals(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (d.kind != DeclarationKind::function || !d.body) continue;
    for (size_t i = d.body; i < c.lexed.partner[d.body]; ++i) {
      if (c.text(i) != "static") continue;
      bool constant = false, function = false;
      size_t k = i;
      for (; c.text(k) != ";" && c.text(k) != "=" && c.text(k) != "{" && !function; ++k) {
        constant = constant || c.text(k) == "constant" || c.text(k) == "constexpr";
        function = c.text(k) == "(";
      }
      if (!constant && !function) c.report(i, "a static variable in a function must be in the constant address space");
    }
  }
}

void check_variadic(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (d.kind != DeclarationKind::function || !d.params) continue;
    const size_t close = c.lexed.partner[d.params];
    if (c.text(close - 1) == "..." && (c.text(close - 2) == "," || close - 2 == d.params))
      c.report(close - 1, "Metal has no functions with variable arguments");
  }
}

}  // namespace kw::emulator
