#include "target/cpu/source_check.h"

#include <fmt/format.h>

#include <cctype>
#include <vector>

namespace kw::target {
namespace {

constexpr size_t max_source_bytes = 8u << 20;

constexpr std::string_view forbidden_words[] = {"asm",
                                                "__asm",
                                                "__asm__",
                                                "_Pragma",
                                                "__pragma",
                                                "__has_include",
                                                "__has_include_next",
                                                "__has_embed",
                                                "constructor",
                                                "destructor",
                                                "__constructor__",
                                                "__destructor__",
                                                "ifunc",
                                                "__ifunc__",
                                                "weakref",
                                                "init_priority",
                                                "__init_priority__",
                                                "section",
                                                "__section__",
                                                "naked",
                                                "__naked__",
                                                "symver",
                                                "__symver__",
                                                "__FILE__",
                                                "__DATE__",
                                                "__TIME__",
                                                "__TIMESTAMP__",
                                                "__COUNTER__",
                                                "thread_local",
                                                "_Thread_local",
                                                "__thread",
                                                "__builtin_ia32_rdtsc",
                                                "__builtin_ia32_rdtscp",
                                                "__builtin_ia32_rdpmc",
                                                "__builtin_readcyclecounter",
                                                "__builtin_return_address",
                                                "__builtin_frame_address",
                                                "__builtin_apply",
                                                "__builtin_apply_args",
                                                "__builtin_longjmp",
                                                "__builtin_setjmp",
                                                "__builtin___clear_cache",
                                                "__builtin_ia32_wrfsbase64",
                                                "__builtin_ia32_wrgsbase64",
                                                "__builtin_ia32_wrpkru",
                                                "goto_address"};

constexpr std::string_view directives[] = {"define", "undef", "if", "ifdef", "ifndef", "elif", "else", "endif"};
constexpr std::string_view pragmas[] = {"GCC unroll", "GCC ivdep", "clang loop", "unroll", "once"};

struct Text {
  std::string bytes;
  std::vector<int> lines;  // of each byte
};

/// Joins spliced lines, as the compiler does before it looks at anything.
Text spliced(std::string_view source) {
  Text text;
  int line = 1;
  for (size_t i = 0; i < source.size(); ++i) {
    size_t past = i + 1;
    while (source[i] == '\\' && past < source.size() &&
           (source[past] == ' ' || source[past] == '\t' || source[past] == '\r'))
      ++past;
    if (source[i] == '\\' && past < source.size() && source[past] == '\n') {
      ++line;
      i = past;
      continue;
    }
    text.bytes += source[i];
    text.lines.push_back(line);
    if (source[i] == '\n') ++line;
  }
  return text;
}

bool word_byte(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$'; }

size_t end_of_comment(std::string_view s, size_t at) {
  if (s[at + 1] == '/') return std::min(s.find('\n', at), s.size());
  const size_t end = s.find("*/", at + 2);
  return end == std::string_view::npos ? s.size() : end + 2;
}

size_t end_of_literal(std::string_view s, size_t at) {
  size_t i = at + 1;
  while (i < s.size() && s[i] != s[at] && s[i] != '\n') i += s[i] == '\\' ? 2 : 1;
  return std::min(i + 1, s.size());
}

/// True if a quote at `at` separates digits: the word before it then begins with a digit.
bool separates_digits(std::string_view s, size_t at) {
  size_t begin = at;
  while (begin > 0 && (word_byte(s[begin - 1]) || s[begin - 1] == '\'')) --begin;
  return begin < at && std::isdigit(static_cast<unsigned char>(s[begin]));
}

void blank(std::string& s, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i)
    if (s[i] != '\n') s[i] = ' ';
}

/// Comments and the insides of literals become spaces. Raw strings are refused: they would hide a literal's end.
Status blank_comments(Text& text) {
  std::string& s = text.bytes;
  for (size_t i = 0; i < s.size();) {
    const bool comment = s[i] == '/' && i + 1 < s.size() && (s[i + 1] == '/' || s[i + 1] == '*');
    if (s[i] == '"' && i > 0 && s[i - 1] == 'R')
      return Failure{"source.forbidden", fmt::format("line {} holds a raw string literal", text.lines[i]), ""};
    size_t end = i + 1;
    if (comment) {
      end = end_of_comment(s, i);
      blank(s, i, end);
    } else if (s[i] == '"' || (s[i] == '\'' && !separates_digits(s, i))) {
      end = end_of_literal(s, i);
      blank(s, i + 1, end - 1);
    }
    i = end;
  }
  return ok_status();
}

Failure forbidden(int line, std::string_view what) {
  return {"source.forbidden", fmt::format("line {} uses {}, which a kernel may not", line, what),
          "a kernel is one freestanding translation unit: no includes, no assembly, no pragmas but loop hints"};
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  return s;
}

bool directive_allowed(std::string_view rest) {
  rest = trimmed(rest);
  size_t length = 0;
  while (length < rest.size() && std::isalpha(static_cast<unsigned char>(rest[length]))) ++length;
  const std::string_view word = rest.substr(0, length);
  for (std::string_view allowed : directives)
    if (word == allowed) return true;
  if (word != "pragma") return false;
  const std::string_view hint = trimmed(rest.substr(length));
  for (std::string_view allowed : pragmas)
    if (hint.substr(0, allowed.size()) == allowed) return true;
  return false;
}

Status check_directives(const Text& text) {
  const std::string_view s = text.bytes;
  for (size_t begin = 0; begin < s.size();) {
    const size_t end = std::min(s.find('\n', begin), s.size());
    const std::string_view line = trimmed(s.substr(begin, end - begin));
    if (!line.empty() && line[0] == '#' && !directive_allowed(line.substr(1)))
      return forbidden(text.lines[begin], fmt::format("'{}'", line.substr(0, 40)));
    begin = end + 1;
  }
  for (std::string_view token : {"%:",
                                 "??"
                                 "=",
                                 "??"
                                 "/",
                                 "##"})
    if (const size_t at = s.find(token); at != std::string_view::npos)
      return forbidden(text.lines[at], fmt::format("'{}'", token));
  return ok_status();
}

Status check_words(const Text& text) {
  const std::string_view s = text.bytes;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\' && i + 1 < s.size() && (s[i + 1] == 'u' || s[i + 1] == 'U' || s[i + 1] == 'N'))
      return forbidden(text.lines[i], "a universal character name");
    if (!word_byte(s[i])) continue;
    size_t end = i;
    while (end < s.size() && word_byte(s[end])) ++end;
    for (std::string_view word : forbidden_words)
      if (s.substr(i, end - i) == word) return forbidden(text.lines[i], fmt::format("'{}'", word));
    i = end;
  }
  return ok_status();
}

}  // namespace

Status check_source(std::string_view source) {
  if (source.size() > max_source_bytes) return Failure{"source.forbidden", "the source is larger than 8 MiB", ""};
  if (source.find('\0') != std::string_view::npos)
    return Failure{"source.forbidden", "the source holds a zero byte", ""};
  Text text = spliced(source);
  for (Status status : {blank_comments(text), check_directives(text), check_words(text)})
    if (!status.ok()) return status;
  return ok_status();
}

}  // namespace kw::target
