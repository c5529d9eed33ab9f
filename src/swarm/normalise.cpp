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

/// Only what the source itself declares may be renamed: a name that follows a type-like word or `&`, `*`, and is not a
/// call into the prelude. Everything that starts with kw, KW or __ stays, and so do the language's words.
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
  bool member = false;  // what follows a dot is named elsewhere
  for (const std::string& token : tokens_of(source)) {
    const bool keeps = member || !word_start(token[0]) || keeps_its_name(token, plan_words);
    member = token == "." || token == "->";
    if (keeps) {
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
