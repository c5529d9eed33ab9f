#include "swarm/normalise.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/hash.h"

namespace kw::swarm {
namespace {

constexpr std::string_view kPunctuators[] = {"<<=", ">>=", "...", "->*", "::", "->", "++", "--",
                                             "<<",  ">>",  "<=",  ">=",  "==", "!=", "&&", "||",
                                             "+=",  "-=",  "*=",  "/=",  "%=", "&=", "|=", "^="};

bool word_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

/// Tokens in order; comments and space between them are gone. A directive's line end is a token of its own.
std::vector<std::string> tokens_of(std::string_view s) {
  std::vector<std::string> tokens;
  bool directive = false;
  for (size_t i = 0; i < s.size();) {
    const char c = s[i];
    size_t end = i + 1;
    if (c == '\n' && directive) {
      tokens.emplace_back("\n");
      directive = false;
    } else if (s.substr(i, 2) == "//") {
      end = std::min(s.find('\n', i), s.size());
    } else if (s.substr(i, 2) == "/*") {
      const size_t close = s.find("*/", i + 2);
      end = close == std::string_view::npos ? s.size() : close + 2;
    } else if (c == '"' || c == '\'') {
      while (end < s.size() && s[end] != c && s[end] != '\n') end += s[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, s.size());
      tokens.emplace_back(s.substr(i, end - i));
    } else if (word_start(c)) {
      while (end < s.size() && word_char(s[end])) ++end;
      tokens.emplace_back(s.substr(i, end - i));
    } else if (std::isdigit(static_cast<unsigned char>(c))) {
      while (end < s.size() && (word_char(s[end]) || s[end] == '.' ||
                                ((s[end] == '+' || s[end] == '-') && std::tolower(s[end - 1]) == 'e' &&
                                 !s.substr(i, 2).starts_with("0x"))))
        ++end;
      tokens.emplace_back(s.substr(i, end - i));
    } else if (!std::isspace(static_cast<unsigned char>(c))) {
      for (std::string_view p : kPunctuators)
        if (s.substr(i, p.size()) == p) {
          end = i + p.size();
          break;
        }
      directive = directive || c == '#';
      tokens.emplace_back(s.substr(i, end - i));
    }
    i = end;
  }
  return tokens;
}

/// Words of the language and of the library that stand where a type stands, or in front of one.
const std::set<std::string>& kept_words() {
  static const std::set<std::string> words = {"alignas",      "auto",
                                              "bool",         "break",
                                              "case",         "char",
                                              "class",        "const",
                                              "constexpr",    "continue",
                                              "decltype",     "default",
                                              "do",           "double",
                                              "else",         "enum",
                                              "false",        "float",
                                              "for",          "goto",
                                              "if",           "inline",
                                              "int",          "long",
                                              "namespace",    "operator",
                                              "return",       "short",
                                              "signed",       "sizeof",
                                              "static",       "static_assert",
                                              "static_cast",  "reinterpret_cast",
                                              "struct",       "switch",
                                              "template",     "this",
                                              "true",         "typedef",
                                              "typename",     "union",
                                              "unsigned",     "using",
                                              "void",         "volatile",
                                              "while",        "int8_t",
                                              "int16_t",      "int32_t",
                                              "int64_t",      "uint8_t",
                                              "uint16_t",     "uint32_t",
                                              "uint64_t",     "size_t",
                                              "memcpy",       "memset",
                                              "memmove",      "define",
                                              "ifdef",        "ifndef",
                                              "endif",        "undef",
                                              "elif",         "pragma",
                                              "GCC",          "unroll",
                                              "ivdep",        "defined",
                                              "vector_size",  "aligned",
                                              "may_alias",    "noinline",
                                              "always_inline"};
  return words;
}

bool keeps_its_name(const std::string& word, const std::set<std::string>& plan_words) {
  for (const char* prefix : {"kw", "Kw", "KW", "__"})
    if (word.starts_with(prefix)) return true;
  return kept_words().contains(word) || plan_words.contains(word);
}

/// After these a name is used, not declared.
bool before_a_use(const std::string& word) {
  static const std::set<std::string> words = {"return", "else",    "do",    "case",   "goto",   "new",     "delete",
                                              "throw",  "sizeof",  "ifdef", "ifndef", "undef",  "elif",    "if",
                                              "pragma", "defined", "while", "using",  "switch", "include", "namespace"};
  return words.contains(word);
}

bool names_a_type(const std::string& word) {
  static const std::set<std::string> scalars = {
      "void",    "bool",    "char",    "short",   "int",      "long",     "float",    "double",  "half",
      "bfloat",  "uchar",   "ushort",  "uint",    "ulong",    "size_t",   "auto",     "const",   "int8_t",
      "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "unsigned"};
  const bool vector = word.size() > 1 && word.back() >= '2' && word.back() <= '4';
  return scalars.contains(word) || (vector && scalars.contains(word.substr(0, word.size() - 1)));
}

/// Names that the source declares itself: a word right after another, or after `*` or `&` behind a type. What is used
/// without being declared, `max` or `M_PI_F`, belongs to the language, and so do the names of members. To miss a
/// declaration is harmless: two equal candidates then count as two.
std::set<std::string> declared_in(const std::vector<std::string>& tokens) {
  std::set<std::string> declared, members;
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (!word_start(tokens[i][0])) continue;
    const std::string& before = tokens[i - 1];
    if (before == "." || before == "->") members.insert(tokens[i]);
    const bool after_word = word_start(before[0]) && !before_a_use(before);
    const bool after_pointer = (before == "*" || before == "&") && i > 1 && names_a_type(tokens[i - 2]);
    if (after_word || after_pointer) declared.insert(tokens[i]);
  }
  for (const std::string& member : members) declared.erase(member);
  return declared;
}

void kernels_in(const nlohmann::json& value, std::set<std::string>& names) {
  if (!value.is_structured()) return;
  if (value.is_object() && value.contains("kernel") && value["kernel"].is_string())
    names.insert(value["kernel"].get<std::string>());
  for (const auto& item : value) kernels_in(item, names);
}

}  // namespace

std::string normal_plan(std::string_view plan_json) {
  const auto plan = nlohmann::json::parse(plan_json, nullptr, false);  // keys sorted by std::map
  return plan.is_discarded() ? std::string(plan_json)
                             : plan.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string normal_source(std::string_view source, std::string_view plan_json) {
  std::set<std::string> plan_words;
  kernels_in(nlohmann::json::parse(plan_json, nullptr, false), plan_words);
  std::map<std::string, std::string> names;
  std::string text;
  const std::vector<std::string> tokens = tokens_of(source);
  const std::set<std::string> declared = declared_in(tokens);
  for (const std::string& token : tokens) {
    if (!declared.contains(token) || keeps_its_name(token, plan_words)) {
      text += token + " ";
      continue;
    }
    const auto [name, fresh] = names.try_emplace(token, "n" + std::to_string(names.size()));
    text += name->second + " ";
  }
  return text;
}

std::string normal_key(std::string_view source, std::string_view plan_json) {
  const std::string text = normal_source(source, plan_json);
  return sha256(std::to_string(text.size()) + "\n" + text + normal_plan(plan_json));
}

}  // namespace kw::swarm
