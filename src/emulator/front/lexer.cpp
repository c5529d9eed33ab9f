#include "emulator/front/lexer.h"

#include <array>
#include <cctype>
#include <unordered_map>

namespace kw::emulator {
namespace {

bool starts_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || (c & 0x80); }
bool goes_on_name(char c) { return starts_name(c) || std::isdigit(static_cast<unsigned char>(c)); }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)); }

// Longest first. `>>` and its kin are left in pieces, for template lists close with them.
constexpr std::array<std::string_view, 21> long_punctuation = {
    "<<=", "...", "->*", "::", "->", "<<", "<=", ">=", "==", "!=", "&&",
    "||",  "++",  "--",  "+=", "-=", "*=", "/=", "%=", "|=", "^="};

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& unit_name, Dialect dialect) : source_(source) {
    lexed_.dialect = dialect;
    lexed_.files.push_back(unit_name);
    file_index_[unit_name] = 0;
  }

  Result<Lexed> run() {
    while (at_ < source_.size() && problem_.empty()) next();
    if (problem_.empty()) pair_brackets();
    if (!problem_.empty()) return failure();
    lexed_.tokens.push_back({TokenKind::end, {}, source_.substr(gap_start_), file_, line_});
    lexed_.partner.resize(lexed_.tokens.size());
    return std::move(lexed_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  void next() {
    const char c = peek();
    if (std::isspace(static_cast<unsigned char>(c))) return skip_space();
    if (c == '/' && (peek(1) == '/' || peek(1) == '*')) return skip_comment();
    if (c == '#' && line_is_fresh_) return take_directive();
    if (starts_string()) return take_string();
    if (starts_name(c)) return take_while(TokenKind::identifier, goes_on_name);
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return take_number();
    take_punctuation();
  }

  void skip_space() {
    if (peek() == '\n') {
      ++line_;
      line_is_fresh_ = true;
    }
    ++at_;
  }

  void skip_comment() {
    const bool block = peek(1) == '*';
    const size_t end = source_.find(block ? "*/" : "\n", at_ + 2);
    if (block && end == std::string_view::npos) return fail("the comment that starts here has no end");
    const size_t stop = end == std::string_view::npos ? source_.size() : end + (block ? 2 : 0);
    count_lines(source_.substr(at_, stop - at_));
    at_ = stop;
  }

  /// A line marker `# 12 "file" ...` sets where the next line is; any other directive (`#pragma`) is one token.
  void take_directive() {
    size_t end = source_.find('\n', at_);
    if (end == std::string_view::npos) end = source_.size();
    const std::string_view text = source_.substr(at_, end - at_);
    push(TokenKind::directive, text.size());
    size_t digit = text.find_first_not_of(" \t", 1);
    if (text.substr(1).find("line") == digit - 1 && digit != std::string_view::npos)
      digit = text.find_first_not_of(" \t", digit + 4);
    if (digit == std::string_view::npos || !is_digit(text[digit])) return;
    uint32_t number = 0;
    while (digit < text.size() && is_digit(text[digit]))
      number = number * 10 + static_cast<uint32_t>(text[digit++] - '0');
    const size_t open = text.find('"', digit), close = text.rfind('"');
    if (open != std::string_view::npos && close > open)
      file_ = index_of(string_value(text.substr(open, close - open + 1)));
    line_ = number - 1;  // the newline that ends the marker counts one
  }

  uint32_t index_of(const std::string& name) {
    const auto [found, fresh] = file_index_.try_emplace(name, static_cast<uint32_t>(lexed_.files.size()));
    if (fresh) lexed_.files.push_back(name);
    return found->second;
  }

  bool starts_string() const {
    size_t ahead = 0;
    while (ahead < 3 && (peek(ahead) == 'u' || peek(ahead) == '8' || peek(ahead) == 'U' || peek(ahead) == 'L')) ++ahead;
    if (peek(ahead) == 'R' && peek(ahead + 1) == '"') return true;
    return peek(ahead) == '"' || peek(ahead) == '\'';
  }

  void take_string() {
    size_t quote = at_;
    while (source_[quote] != '"' && source_[quote] != '\'') ++quote;
    const size_t end = quote > at_ && source_[quote - 1] == 'R' ? raw_string_end(quote) : plain_string_end(quote);
    if (end == std::string_view::npos) return fail("the string that starts here has no end");
    const std::string_view text = source_.substr(at_, end - at_);
    push(TokenKind::text, text.size());
    count_lines(text);
    line_is_fresh_ = false;
  }

  size_t plain_string_end(size_t quote) const {
    for (size_t i = quote + 1; i < source_.size() && source_[i] != '\n'; ++i) {
      if (source_[i] == '\\')
        ++i;
      else if (source_[i] == source_[quote])
        return i + 1;
    }
    return std::string_view::npos;
  }

  size_t raw_string_end(size_t quote) const {
    const size_t open = source_.find('(', quote);
    if (open == std::string_view::npos) return open;
    const std::string close = ")" + std::string(source_.substr(quote + 1, open - quote - 1)) + "\"";
    const size_t end = source_.find(close, open);
    return end == std::string_view::npos ? end : end + close.size();
  }

  void take_number() {
    size_t size = 1;
    for (; at_ + size < source_.size(); ++size) {
      const char c = source_[at_ + size], before = source_[at_ + size - 1];
      const bool sign = (c == '+' || c == '-') && exponent_may_follow(before, size);
      if (!goes_on_name(c) && c != '.' && c != '\'' && !sign) break;
    }
    push(TokenKind::number, size);
  }

  /// `e` is an exponent in decimal numbers, a digit in hexadecimal ones.
  bool exponent_may_follow(char before, size_t size) const {
    const bool hexadecimal = size > 1 && source_[at_] == '0' && (source_[at_ + 1] | 0x20) == 'x';
    return (before | 0x20) == (hexadecimal ? 'p' : 'e');
  }

  void take_while(TokenKind kind, bool (*goes_on)(char)) {
    size_t size = 1;
    while (at_ + size < source_.size() && goes_on(source_[at_ + size])) ++size;
    push(kind, size);
  }

  void take_punctuation() {
    for (std::string_view punctuation : long_punctuation)
      if (source_.substr(at_).starts_with(punctuation)) return push(TokenKind::punctuation, punctuation.size());
    push(TokenKind::punctuation, 1);
  }

  void push(TokenKind kind, size_t size) {
    lexed_.tokens.push_back(
        {kind, source_.substr(at_, size), source_.substr(gap_start_, at_ - gap_start_), file_, line_});
    at_ += size;
    gap_start_ = at_;
    line_is_fresh_ = false;
  }

  void count_lines(std::string_view text) {
    for (char c : text) line_ += c == '\n';
  }

  void pair_brackets() {
    lexed_.partner.assign(lexed_.tokens.size(), 0);
    std::vector<size_t> open;
    for (size_t i = 0; i < lexed_.tokens.size(); ++i) {
      const Token& token = lexed_.tokens[i];
      if (token.kind != TokenKind::punctuation || token.text.size() != 1) continue;
      const size_t kind = std::string_view("([{)]}").find(token.text[0]);
      if (kind == std::string_view::npos) continue;
      if (kind < 3) {
        open.push_back(i);
        continue;
      }
      if (open.empty() || std::string_view("([{").find(lexed_.tokens[open.back()].text[0]) != kind - 3)
        return fail_at(token, "this '" + std::string(token.text) + "' closes nothing that is open");
      lexed_.partner[open.back()] = i;
      lexed_.partner[i] = open.back();
      open.pop_back();
    }
    if (!open.empty()) {
      const Token& token = lexed_.tokens[open.back()];
      fail_at(token, "the '" + std::string(token.text) + "' that is opened here is never closed");
    }
  }

  void fail(const std::string& what) { fail_at({TokenKind::end, {}, {}, file_, line_}, what); }
  void fail_at(const Token& token, const std::string& what) {
    problem_ = lexed_.files[token.file] + ":" + std::to_string(token.line) + ": " + what;
  }
  Failure failure() const { return {std::string(row_of(lexed_.dialect).id) + ".syntax", problem_, ""}; }

  std::string_view source_;
  size_t at_ = 0, gap_start_ = 0;
  uint32_t file_ = 0, line_ = 1;
  bool line_is_fresh_ = true;
  std::unordered_map<std::string, uint32_t> file_index_;
  std::string problem_;
  Lexed lexed_;
};

}  // namespace

Result<Lexed> lex(std::string_view source, const std::string& unit_name, Dialect dialect) {
  return Lexer(source, unit_name, dialect).run();
}

std::string string_value(std::string_view token) {
  std::string value;
  const size_t open = token.find('"');
  for (size_t i = open + 1; i + 1 < token.size(); ++i) {
    if (token[i] == '\\' && i + 2 < token.size()) ++i;
    value += token[i];
  }
  return value;
}

}  // namespace kw::emulator
