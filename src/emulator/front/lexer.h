#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "emulator/front/dialect.h"

namespace kw::emulator {

enum class TokenKind { identifier, number, text, punctuation, directive, end };

/// One token of preprocessed source. `gap` is what stood before it (blanks, newlines), so that gaps and tokens
/// put together give the source back; views point into the source, which must outlive the tokens.
struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;
  std::string_view gap;
  uint32_t file = 0;  // index into Lexed::files
  uint32_t line = 0;  // from 1, in that file, as the preprocessor's line markers say

  bool is(std::string_view word) const { return text == word; }
  bool is_name() const { return kind == TokenKind::identifier; }
};

struct Lexed {
  std::vector<Token> tokens;       // ends with one of kind `end`
  std::vector<std::string> files;  // as named by the line markers; files[0] is the unit itself
  Dialect dialect = Dialect::metal;
  std::vector<size_t> partner;  // of every ( [ { the index of its ) ] } and the reverse; 0 elsewhere
};

/// Splits preprocessed source. Brackets come one by one (`[[` is two tokens, `>>` too), `::` and `->` in one piece.
/// fails: *.syntax (an open bracket, string or comment), with file and line
Result<Lexed> lex(std::string_view source, const std::string& unit_name, Dialect dialect = Dialect::metal);

/// The text with which a `text` token stands: escapes resolved, quotes gone. Not for raw strings with delimiters.
std::string string_value(std::string_view token);

}  // namespace kw::emulator
