#include "emulator/front/outline.h"

#include <algorithm>
#include <array>

namespace kw::emulator {
namespace {

template <size_t N>
bool any_of_words(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

constexpr std::array<std::string_view, 4> record_words = {"struct", "class", "union", "enum"};
// A ( behind one of these opens no parameter list.
constexpr std::array<std::string_view, 13> bracket_words = {
    "alignas", "decltype", "__attribute__", "noexcept",          "explicit",         "coherent",   "sizeof",
    "typeof",  "requires", "__align__",     "__launch_bounds__", "__cluster_dims__", "__maxnreg__"};
constexpr std::array<std::string_view, 7> statement_words = {"using",  "typedef", "static_assert", "_Static_assert",
                                                             "public", "private", "protected"};

class Outliner {
 public:
  explicit Outliner(const Lexed& lexed) : lexed_(lexed), kernel_word_(row_of(lexed.dialect).kernel) {}

  std::vector<Declaration> run() {
    walk(0, lexed_.tokens.size() - 1, {"", 0, false});
    return std::move(found_);
  }

 private:
  struct Scope {
    std::string path;
    size_t brace;
    bool record;
  };

  std::string_view text(size_t at) const { return lexed_.tokens[at].text; }
  size_t partner(size_t at) const { return lexed_.partner[at]; }

  void walk(size_t at, size_t end, const Scope& scope) {
    while (at < end) at = std::max(at + 1, take(at, end, scope));
  }

  /// Takes one declaration at `at`; returns the index behind it.
  size_t take(size_t at, size_t end, const Scope& scope) {
    if (lexed_.tokens[at].kind == TokenKind::directive || text(at) == ";") return at + 1;
    if (text(at) == "namespace" || (text(at) == "inline" && text(at + 1) == "namespace"))
      return take_namespace(at, end, scope);
    if (text(at) == "extern" && at + 2 < end && text(at + 2) == "{") {
      walk(at + 3, partner(at + 2), scope);
      return partner(at + 2) + 1;
    }
    if (any_of_words(statement_words, text(at))) return behind_statement(at, end);
    Declaration made;
    made.first = at;
    made.scope = scope.path;
    made.enclosing = scope.brace;
    made.in_record = scope.record;
    if (text(at) == "template" && text(at + 1) != "<") return take_instantiation(made, end);
    while (text(at) == "template" && text(at + 1) == "<") {
      const size_t behind = behind_angles(lexed_, at + 1, end);
      if (!behind) return behind_statement(at, end);
      made.is_template = true;
      at = behind;
    }
    made.head = at;
    return take_general(made, at, end);
  }

  size_t take_namespace(size_t at, size_t end, const Scope& scope) {
    std::string path = scope.path;
    size_t brace = at;
    for (; brace < end && text(brace) != "{" && text(brace) != ";"; ++brace)
      if (lexed_.tokens[brace].is_name() && text(brace) != "namespace" && text(brace) != "inline")
        path += std::string(text(brace)) + "::";
    if (brace >= end || text(brace) == ";") return brace + 1;
    walk(brace + 1, partner(brace), {path, brace, false});
    return partner(brace) + 1;
  }

  /// Behind the `;` (or the `:` of `public:`) of a statement without parts of interest.
  size_t behind_statement(size_t at, size_t end) const {
    for (; at < end; ++at) {
      if (text(at) == ";" || (text(at) == ":" && text(at - 1).starts_with("p"))) return at + 1;
      if (partner(at) > at) at = partner(at);
    }
    return end;
  }

  size_t take_instantiation(Declaration made, size_t end) {
    made.kind = DeclarationKind::instantiation;
    made.head = made.first + 1;
    made.last = std::min(behind_statement(made.first, end), end);
    for (size_t i = made.head; i < made.last; ++i) {
      if (opens_attribute(lexed_, i)) note_attributes(made, i);
      if (text(i) == kernel_word_) made.is_kernel = true;
      if (partner(i) > i) i = partner(i);
    }
    const size_t last = made.last;
    found_.push_back(std::move(made));
    return last;
  }

  void note_attributes(Declaration& made, size_t at) const {
    for (Attribute& attribute : read_attribute(lexed_, at)) {
      if (attribute.name == "kernel") made.is_kernel = true;
      made.attributes.push_back(std::move(attribute));
    }
  }

  size_t take_general(Declaration& made, size_t at, size_t end) {
    bool record = false;
    for (; at < end; ++at) {
      const std::string_view word = text(at);
      if (word == ";") return finish(made, at + 1);
      if (word == kernel_word_) made.is_kernel = true;
      if (any_of_words(record_words, word) && !made.params) record = true;
      if (word == "operator")
        at = made.name = take_operator(made, at, end);
      else if (word == "[")
        at = take_square(made, at);
      else if (word == "(")
        take_round(made, at), at = partner(at);
      else if (word == "<" && at > made.head && lexed_.tokens[at - 1].is_name())
        at = std::max(at + 1, behind_angles(lexed_, at, end)) - 1;
      else if (word == "=")
        return take_value(made, at, end);
      else if (word == ":" && made.params && !record)
        return take_init_list(made, at, end);
      else if (word == "{" && made.params)
        return take_body(made, at);
      else if (word == "{" && record)
        at = take_record(made, at);
      else if (word == "{")
        return take_value(made, at, end);
    }
    return finish(made, end);
  }

  size_t take_square(Declaration& made, size_t at) const {
    if (opens_attribute(lexed_, at)) {
      note_attributes(made, at);
      if (!made.name && !made.params && at > made.head && lexed_.tokens[at - 1].is_name()) made.name = at - 1;
    } else if (!made.name && at > made.head) {
      made.name = at - 1;
    }
    return partner(at);
  }

  void take_round(Declaration& made, size_t at) const {
    if (made.params || at == made.head || any_of_words(bracket_words, text(at - 1))) return;
    made.params = at;
    if (made.name) return;
    made.name = at - 1;
    if (text(at - 1) != ">") return;
    size_t open = made.head;  // f<int>(...): the name is before the list
    while (open < at && behind_angles(lexed_, open, at) != at) ++open;
    if (open < at && open > made.head) made.name = open - 1;
  }

  /// The last token of the operator's name; its parameter list is noted.
  size_t take_operator(Declaration& made, size_t at, size_t end) const {
    size_t open = at + 1;
    if (text(open) == "(" && partner(open) == open + 1) open += 2;
    while (open < end && text(open) != "(") ++open;
    made.params = open < end ? open : 0;
    return open < end ? partner(open) : open - 1;
  }

  size_t take_value(Declaration& made, size_t at, size_t end) {
    if (!made.params) made.initialiser = at;
    if (!made.name && at > made.head) made.name = at - 1;
    return finish(made, behind_statement(at, end));
  }

  size_t take_init_list(Declaration& made, size_t at, size_t end) {
    made.init_list = at;
    for (++at; at < end; ++at) {
      if (text(at) == "<" && lexed_.tokens[at - 1].is_name())
        at = std::max(at + 1, behind_angles(lexed_, at, end)) - 1;
      else if (text(at) == "(")
        at = partner(at);
      else if (text(at) == "{" && lexed_.tokens[at - 1].is_name())
        at = partner(at);
      else if (text(at) == "{" && text(at - 1) == ">")
        at = partner(at);
      else if (text(at) == "{")
        return take_body(made, at);
      else if (text(at) == ";")
        break;  // a bit field
    }
    made.init_list = 0;
    return finish(made, std::min(at + 1, end));
  }

  size_t take_body(Declaration& made, size_t at) {
    made.body = at;
    return finish(made, partner(at) + 1);
  }

  size_t take_record(Declaration& made, size_t at) {
    made.body = at;
    made.kind = DeclarationKind::record;
    return partner(at);
  }

  size_t finish(Declaration& made, size_t last) {
    made.last = last;
    if (made.kind != DeclarationKind::record)
      made.kind = made.params ? DeclarationKind::function : DeclarationKind::variable;
    if (!made.name && made.kind == DeclarationKind::variable && last >= 2) made.name = last - 2;
    found_.push_back(made);
    if (made.kind == DeclarationKind::record && !is_enum(made))
      walk(made.body + 1, partner(made.body), {made.scope + record_name(made), made.body, true});
    return last;
  }

  bool is_enum(const Declaration& made) const {
    for (size_t i = made.head; i < made.body; ++i)
      if (text(i) == "enum") return true;
    return false;
  }

  std::string record_name(const Declaration& made) const {
    for (size_t i = made.head; i < made.body; ++i)
      if (any_of_words(record_words, text(i)))
        while (++i < made.body)
          if (lexed_.tokens[i].is_name() && text(i + 1) != "(") return std::string(text(i)) + "::";
    return "";
  }

  const Lexed& lexed_;
  std::string_view kernel_word_;
  std::vector<Declaration> found_;
};

}  // namespace

std::vector<Declaration> outline(const Lexed& lexed) { return Outliner(lexed).run(); }

bool opens_attribute(const Lexed& lexed, size_t at) {
  const auto& tokens = lexed.tokens;
  return at + 1 < tokens.size() && tokens[at].is("[") && tokens[at + 1].is("[") &&
         lexed.partner[at] == lexed.partner[at + 1] + 1;
}

std::vector<Attribute> read_attribute(const Lexed& lexed, size_t at) {
  std::vector<Attribute> all;
  for (const auto& [first, last] : split_commas(lexed, at + 2, lexed.partner[at + 1])) {
    Attribute made;
    size_t i = first;
    for (; i < last && !lexed.tokens[i].is("("); ++i) made.name += lexed.tokens[i].text;
    made.first = made.last = i;
    if (i < last) made.first = i + 1, made.last = lexed.partner[i];
    if (!made.name.empty()) all.push_back(std::move(made));
  }
  return all;
}

size_t behind_angles(const Lexed& lexed, size_t at, size_t end) {
  if (!lexed.tokens[at].is("<")) return 0;
  int depth = 0;
  for (size_t i = at; i < end; ++i) {
    const std::string_view word = lexed.tokens[i].text;
    if (lexed.partner[i] > i)
      i = lexed.partner[i];
    else if (lexed.partner[i])
      return 0;  // a bracket of the outside closes
    else if (word == ";")
      return 0;
    else if (word == "<" && (i == at || lexed.tokens[i - 1].is_name()))
      ++depth;
    else if (word == ">" && --depth == 0)
      return i + 1;
  }
  return 0;
}

bool is_address_space(std::string_view word) {
  static constexpr std::array<std::string_view, 7> words = {
      "device", "constant", "threadgroup", "thread", "threadgroup_imageblock", "ray_data", "object_data"};
  return any_of_words(words, word);
}

std::vector<std::pair<size_t, size_t>> split_commas(const Lexed& lexed, size_t first, size_t last) {
  std::vector<std::pair<size_t, size_t>> parts;
  size_t start = first;
  for (size_t i = first; i < last; ++i) {
    if (lexed.tokens[i].is(",")) {
      parts.emplace_back(start, i);
      start = i + 1;
    } else if (lexed.tokens[i].is("<") && i > first && lexed.tokens[i - 1].is_name()) {
      i = std::max(i + 1, behind_angles(lexed, i, last)) - 1;
    } else if (lexed.partner[i] > i) {
      i = lexed.partner[i];
    }
  }
  if (start < last) parts.emplace_back(start, last);
  return parts;
}

}  // namespace kw::emulator
