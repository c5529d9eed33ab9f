#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "emulator/lint/lint.h"

namespace kw::emulator {
namespace {

bool is_builtin_type(std::string_view word) {
  for (const std::string_view base :
       {"float", "half", "bfloat", "int", "uint", "short", "ushort", "char", "uchar", "long", "ulong", "bool"}) {
    if (!word.starts_with(base)) continue;
    const std::string_view rest = word.substr(base.size());
    if (rest.empty() || rest == "2" || rest == "3" || rest == "4") return true;
  }
  return word == "void" || (word.ends_with("_t") && (word.starts_with("int") || word.starts_with("uint")));
}

struct Shape {
  bool indirect = false;   // a * or & outside of template lists
  bool deduced = false;    // auto, a pack, or a function's type: nothing to say
  std::string_view space;  // of the pointee: the last one before the first * or &
};
Shape shape_of(const Lexed& lexed, size_t first, size_t last) {
  Shape made;
  for (size_t i = first; i < last; ++i) {
    const std::string_view word = lexed.tokens[i].text;
    if (opens_attribute(lexed, i))
      i = lexed.partner[i];
    else if (word == "<" && i > first)
      i = std::max(i + 1, behind_angles(lexed, i, last)) - 1;
    else if (word == "*" || word == "&" || word == "&&")
      made.indirect = true;
    else if (word == "auto" || word == "..." || word == "decltype" || word == "(")
      made.deduced = true;
    else if (is_address_space(word) && (made.space.empty() || !made.indirect))
      made.space = word;
  }
  return made;
}

/// Walks a function's body and knows in which address space each pointer points.
class SpaceWalk {
 public:
  SpaceWalk(LintContext& c, const Declaration& function,
            const std::map<std::string_view, std::vector<const Declaration*>>& functions)
      : c_(c), function_(function), functions_(functions) {}

  void run() {
    for (const Parameter& parameter : read_parameters(c_.lexed, function_.params)) {
      const Shape shape = shape_of(c_.lexed, parameter.first, parameter.type_last);
      if (parameter.name && shape.indirect && !shape.space.empty()) known_[c_.text(parameter.name)] = shape.space;
    }
    const size_t end = c_.lexed.partner[function_.body];
    for (size_t i = function_.body + 1; i < end; ++i) {
      if (starts_statement(i)) take_statement(i, end);
      if (c_.lexed.tokens[i].is_name() && c_.text(i + 1) == "(" && !is_member(i)) take_call(i);
      if (c_.text(i) == "(") take_cast(i);
    }
  }

 private:
  bool starts_statement(size_t i) const {
    const std::string_view before = c_.text(i - 1);
    return before == ";" || before == "{" || before == "}" || before == "(";
  }
  bool is_member(size_t i) const {
    const std::string_view before = c_.text(i - 1);
    return before == "." || before == "->" || before == "::";
  }

  /// [const] SPACE [const] type [*|&] name [= value] | name [n];
  void take_statement(size_t first, size_t end) {
    size_t i = first;
    std::string_view space;
    bool indirect = false;
    for (; i < end; ++i) {
      const std::string_view word = c_.text(i);
      if (is_address_space(word)) {
        if (space.empty()) space = word;
      } else if (word == "*" || word == "&")
        indirect = true;
      else if (word == "<")
        i = std::max(i + 1, behind_angles(c_.lexed, i, end)) - 1;
      else if (opens_attribute(c_.lexed, i))
        i = c_.lexed.partner[i];
      else if (!c_.lexed.tokens[i].is_name() && word != "::")
        break;
    }
    if (i == first || !c_.lexed.tokens[i - 1].is_name()) return;
    const size_t name = i - 1;
    if (space.empty()) return take_plain_local(first, name);
    if (indirect && c_.text(i) == "=" && space != "constant") compare(space, i + 1, "initialises");
    if (indirect || space == "threadgroup")
      known_[c_.text(name)] = space;
    else
      known_.erase(c_.text(name));
  }

  /// `float* p = ...` says no address space; `float x[4]` is in thread.
  void take_plain_local(size_t first, size_t name) {
    size_t type = first;
    while (c_.text(type) == "const" || c_.text(type) == "volatile") ++type;
    if (!is_builtin_type(c_.text(type))) return;
    const std::string_view mark = c_.text(type + 1);
    if (type + 2 == name && (mark == "*" || mark == "&")) {
      if (missing_)
        c_.report(name,
                  fmt::format("'{}' needs an address space: thread, threadgroup, device or constant", c_.text(name)));
    } else if (type + 1 == name && c_.text(name + 1) == "[") {
      known_[c_.text(name)] = "thread";
    } else if (type + 1 == name) {
      known_.erase(c_.text(name));
    }
  }

  /// The address space that an expression at `at` points to, as far as its beginning tells; empty if it does not.
  std::string_view space_at(size_t at) const {
    const bool address = c_.text(at) == "&";
    const size_t name = address ? at + 1 : at;
    if (!c_.lexed.tokens[name].is_name()) return {};
    const auto found = known_.find(c_.text(name));
    if (found == known_.end()) return {};
    size_t behind = name + 1;
    if (address && c_.text(behind) == "[") behind = c_.lexed.partner[behind] + 1;
    const std::string_view next = c_.text(behind);
    return next == ";" || next == "," || next == ")" || next == "+" || next == "-" ? found->second : std::string_view();
  }

  void compare(std::string_view wanted, size_t at, const char* how) {
    const std::string_view given = space_at(at);
    if (given.empty() || given == wanted || !mixed_) return;
    c_.report(at, fmt::format("a pointer to {} memory {} one to {} memory", given, how, wanted));
  }

  void take_call(size_t at) {
    const auto found = functions_.find(c_.text(at));
    if (found == functions_.end() || found->second.size() != 1) return;
    const auto parameters = read_parameters(c_.lexed, found->second[0]->params);
    const auto arguments = split_commas(c_.lexed, at + 2, c_.lexed.partner[at + 1]);
    for (size_t k = 0; k < std::min(parameters.size(), arguments.size()); ++k) {
      const Shape shape = shape_of(c_.lexed, parameters[k].first, parameters[k].type_last);
      bool pointer = false;
      for (size_t i = parameters[k].first; i < parameters[k].type_last; ++i) pointer = pointer || c_.text(i) == "*";
      if (pointer && !shape.deduced && !shape.space.empty()) compare(shape.space, arguments[k].first, "is given for");
    }
  }

  /// (device float*)p
  void take_cast(size_t at) {
    const size_t close = c_.lexed.partner[at];
    if (c_.text(close - 1) != "*") return;
    const Shape shape = shape_of(c_.lexed, at + 1, close);
    if (!shape.space.empty() && !shape.deduced) compare(shape.space, close + 1, "is cast to");
  }

 public:
  bool missing_ = false, mixed_ = false;

 private:
  LintContext& c_;
  const Declaration& function_;
  const std::map<std::string_view, std::vector<const Declaration*>>& functions_;
  std::map<std::string_view, std::string_view> known_;
};

void walk(LintContext& c, bool missing, bool mixed) {
  std::map<std::string_view, std::vector<const Declaration*>> functions;
  for (const Declaration& d : c.declarations)
    if (d.kind == DeclarationKind::function && d.params && d.name && !d.in_record)
      functions[c.text(d.name)].push_back(&d);
  for (const Declaration& d : c.declarations) {
    if (d.kind != DeclarationKind::function || !d.body || !d.params) continue;
    SpaceWalk step(c, d, functions);
    step.missing_ = missing;
    step.mixed_ = mixed;
    step.run();
  }
}

}  // namespace

void check_missing_spaces(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (d.kind == DeclarationKind::function && d.params && d.name) {
      for (const Parameter& parameter : read_parameters(c.lexed, d.params)) {
        const Shape shape = shape_of(c.lexed, parameter.first, parameter.type_last);
        if (shape.indirect && !shape.deduced && shape.space.empty() && parameter.name)
          c.report(parameter.first, fmt::format("'{}' needs an address space: thread, threadgroup, device or constant",
                                                c.text(parameter.name)));
      }
    } else if (d.kind == DeclarationKind::variable && d.in_record && d.name && !d.initialiser) {
      const Shape shape = shape_of(c.lexed, d.head, d.name);
      if (shape.indirect && !shape.deduced && shape.space.empty())
        c.report(d.name,
                 fmt::format("'{}' needs an address space: thread, threadgroup, device or constant", c.text(d.name)));
    }
  }
  walk(c, true, false);
}

void check_mixed_spaces(LintContext& c) { walk(c, false, true); }

void check_recursion(LintContext& c) {
  // Plain functions of one definition: a template may call another instance of itself, which is no recursion.
  std::map<std::string_view, std::vector<const Declaration*>> functions;
  for (const Declaration& d : c.declarations)
    if (d.kind == DeclarationKind::function && d.body && d.name && !d.in_record)
      functions[c.text(d.name)].push_back(&d);
  std::map<std::string_view, std::vector<std::string_view>> calls;
  for (const auto& [name, all] : functions) {
    if (all.size() != 1 || all[0]->is_template) continue;
    for (size_t i = all[0]->body; i < c.lexed.partner[all[0]->body]; ++i) {
      const std::string_view before = c.text(i - 1);
      if (c.lexed.tokens[i].is_name() && c.text(i + 1) == "(" && before != "." && before != "->" && before != "::" &&
          functions.count(c.text(i)))
        calls[name].push_back(c.text(i));
    }
  }
  for (const auto& [name, first] : calls) {
    std::vector<std::string_view> open = first, seen;
    while (!open.empty()) {
      const std::string_view next = open.back();
      open.pop_back();
      if (next == name) {
        c.report(functions[name][0]->name, fmt::format("'{}' calls itself, and Metal has no recursion", name));
        break;
      }
      if (std::find(seen.begin(), seen.end(), next) != seen.end()) continue;
      seen.push_back(next);
      if (calls.count(next)) open.insert(open.end(), calls[next].begin(), calls[next].end());
    }
  }
}

}  // namespace kw::emulator
