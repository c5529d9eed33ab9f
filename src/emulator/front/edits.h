#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "emulator/front/lexer.h"

namespace kw::emulator {

/// What a rewriter does to tokens, and the text that results. Gaps stay, so tokens keep their lines.
class Edits {
 public:
  explicit Edits(const Lexed& lexed) : lexed_(lexed), changes_(lexed.tokens.size()) {}

  void erase(size_t at) { changes_[at].replaced = true, changes_[at].text.clear(); }
  void erase(size_t first, size_t last) {
    for (; first < last; ++first) erase(first);
  }
  void replace(size_t at, std::string_view text) { changes_[at].replaced = true, changes_[at].text = text; }
  void before(size_t at, std::string_view text) { changes_[at].before += text; }
  void after(size_t at, std::string_view text) { changes_[at].after += text; }
  bool erased(size_t at) const { return changes_[at].replaced && changes_[at].text.empty(); }

  std::string_view text(size_t at) const {
    return changes_[at].replaced ? std::string_view(changes_[at].text) : lexed_.tokens[at].text;
  }
  /// The tokens of [first, last) as they now are, on one line.
  std::string line(size_t first, size_t last) const {
    std::string all;
    for (size_t i = first; i < last; ++i) {
      if (lexed_.tokens[i].kind == TokenKind::directive) continue;
      const std::string word = changes_[i].before + std::string(text(i)) + changes_[i].after;
      if (!word.empty() && !all.empty() && !lexed_.tokens[i].gap.empty()) all += ' ';
      all += word;
    }
    return all;
  }
  std::string all() const {
    std::string text_of_all;
    for (size_t i = 0; i < changes_.size(); ++i) {
      text_of_all += lexed_.tokens[i].gap;
      text_of_all += changes_[i].before;
      // Words that stood apart from an erased one must not grow together; an erased token leaves a blank.
      text_of_all += erased(i) ? std::string_view(" ") : text(i);
      text_of_all += changes_[i].after;
    }
    return text_of_all;
  }

 private:
  struct Change {
    bool replaced = false;
    std::string text, before, after;
  };
  const Lexed& lexed_;
  std::vector<Change> changes_;
};

}  // namespace kw::emulator
