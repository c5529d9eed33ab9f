#include <charconv>
#include <limits>
#include <map>

#include "kernel/plan.h"

namespace kw::kernel {
namespace {

constexpr size_t max_text_bytes = 512;
constexpr int max_depth = 32;

using Value = Result<int64_t>;

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

/// Reads and evaluates in one pass. Without symbols it only checks the syntax: every name counts as 1 and arithmetic
/// faults are left to the evaluation.
class Reader {
 public:
  Reader(std::string_view text, const std::map<std::string, int64_t>* symbols) : text_(text), symbols_(symbols) {}

  Value read_all() {
    if (text_.size() > max_text_bytes) return syntax("is longer than 512 characters");
    Value value = comparison();
    if (!value) return value;
    skip_space();
    return at_ == text_.size() ? value : syntax("has unexpected `" + std::string(text_.substr(at_, 8)) + "`");
  }

 private:
  struct Sign {
    std::string_view text;
    char op;
  };

  Value comparison() { return chain({{"==", '='}, {"!=", '!'}, {"<=", 'l'}, {">=", 'g'}, {"<", '<'}, {">", '>'}}, 0); }

  /// level 0: comparisons; 1: + -; 2: * / %; 3: one operand.
  Value level_value(int level) {
    if (level == 1) return chain({{"+", '+'}, {"-", '-'}}, 1);
    if (level == 2) return chain({{"*", '*'}, {"/", '/'}, {"%", '%'}}, 2);
    return operand();
  }

  Value chain(std::initializer_list<Sign> signs, int level) {
    Value left = level_value(level + 1);
    while (left) {
      const char op = take_any(signs);
      if (op == 0) return left;
      Value right = level_value(level + 1);
      if (!right) return right;
      left = apply(op, *left, *right);
    }
    return left;
  }

  char take_any(std::initializer_list<Sign> signs) {
    skip_space();
    for (const Sign& sign : signs) {
      if (text_.substr(at_).starts_with(sign.text)) {
        at_ += sign.text.size();
        return sign.op;
      }
    }
    return 0;
  }

  Value operand() {
    skip_space();
    if (++depth_ > max_depth) return syntax("is nested deeper than 32");
    Value value = operand_inside();
    --depth_;
    return value;
  }

  Value operand_inside() {
    if (at_ == text_.size()) return syntax("ends where a number or name is expected");
    const char c = text_[at_];
    if (c == '-') {
      ++at_;
      Value inner = operand();
      return inner ? apply('-', 0, *inner) : inner;
    }
    if (c == '(') return parenthesis();
    if (c >= '0' && c <= '9') return number();
    return name_or_call();
  }

  Value parenthesis() {
    ++at_;
    Value value = comparison();
    if (!value) return value;
    return take_any({{")", ')'}}) ? value : syntax("lacks `)`");
  }

  Value number() {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) return syntax("has a number that does not fit 64 bits");
    at_ = static_cast<size_t>(end - text_.data());
    return value;
  }

  Value name_or_call() {
    const size_t start = at_;
    auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    while (at_ < text_.size() && (letter(text_[at_]) || (at_ > start && text_[at_] >= '0' && text_[at_] <= '9'))) ++at_;
    const std::string name(text_.substr(start, at_ - start));
    if (name.empty()) return syntax("has unexpected `" + std::string(text_.substr(at_, 1)) + "`");
    if (take_any({{"(", '('}})) return call(name);
    if (symbols_ == nullptr) return int64_t{1};
    auto found = symbols_->find(name);
    if (found != symbols_->end()) return found->second;
    return Failure{"plan.symbol", "size `" + std::string(text_) + "` uses the unknown symbol `" + name + "`",
                   "declare it under \"symbols\", or use it inside the repeat whose index it is"};
  }

  Value call(const std::string& name) {
    const char op = name == "min" ? 'm' : name == "max" ? 'M' : name == "ceil_div" ? 'c' : 0;
    if (op == 0) return syntax("calls the unknown function `" + name + "`");
    Value a = comparison();
    if (!a) return a;
    if (!take_any({{",", ','}})) return syntax("lacks `,` in " + name);
    Value b = comparison();
    if (!b) return b;
    if (!take_any({{")", ')'}})) return syntax("lacks `)` after " + name);
    return apply(op, *a, *b);
  }

  Value apply(char op, int64_t a, int64_t b) {
    int64_t r = 0;
    const bool dividing = op == '/' || op == '%' || op == 'c';
    if (dividing && (b == 0 || (b == -1 && a == std::numeric_limits<int64_t>::min()))) {
      return symbols_ == nullptr ? Value(int64_t{1}) : arithmetic("divides by zero");
    }
    switch (op) {
      case '+':
        return __builtin_add_overflow(a, b, &r) ? overflow() : Value(r);
      case '-':
        return __builtin_sub_overflow(a, b, &r) ? overflow() : Value(r);
      case '*':
        return __builtin_mul_overflow(a, b, &r) ? overflow() : Value(r);
      case '/':
        return floor_div(a, b);
      case '%':
        return a - floor_div(a, b) * b;
      case 'c':
        return floor_div(a, b) + (a % b != 0);
      case 'm':
        return std::min(a, b);
      case 'M':
        return std::max(a, b);
      default:
        return compare(op, a, b);
    }
  }

  static int64_t compare(char op, int64_t a, int64_t b) {
    switch (op) {
      case '=':
        return a == b;
      case '!':
        return a != b;
      case 'l':
        return a <= b;
      case 'g':
        return a >= b;
      case '<':
        return a < b;
      default:
        return a > b;
    }
  }

  Value overflow() { return symbols_ == nullptr ? Value(int64_t{1}) : arithmetic("overflows 64 bits"); }
  Value arithmetic(const std::string& what) {
    return Failure{"plan.arithmetic", "size `" + std::string(text_) + "` " + what, "guard against such shapes"};
  }
  Value syntax(const std::string& what) {
    return Failure{"plan.size", "size `" + std::string(text_.substr(0, 80)) + "` " + what,
                   "sizes are integers, symbols, + - * / % ( ), min(a, b), max(a, b), ceil_div(a, b)"};
  }
  void skip_space() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }

  std::string_view text_;
  const std::map<std::string, int64_t>* symbols_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

SizeExpr::SizeExpr(int64_t value) : text_(std::to_string(value)) {}

Result<SizeExpr> SizeExpr::parse(std::string_view text) {
  Value checked = Reader(text, nullptr).read_all();
  if (!checked) return checked.failure();
  SizeExpr made;
  made.text_ = std::string(text);
  return made;
}

Result<int64_t> SizeExpr::evaluate(const std::map<std::string, int64_t>& symbols) const {
  return Reader(text_, &symbols).read_all();
}

}  // namespace kw::kernel
