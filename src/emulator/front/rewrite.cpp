#include "emulator/front/rewrite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "emulator/front/edits.h"
#include "emulator/front/registration.h"
#include "emulator/front/slots.h"

namespace kw::emulator {
namespace {

bool is_specifier(std::string_view word) {
  static constexpr std::string_view words[] = {"static",   "inline",   "constexpr", "const",
                                               "constant", "volatile", "extern"};
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

class Rewriter {
 public:
  Rewriter(const Lexed& lexed, const std::vector<Declaration>& declarations, const std::vector<Kernel>& kernels)
      : lexed_(lexed), declarations_(declarations), kernels_(kernels), edits_(lexed) {}

  Result<Rewritten> run(const RewriteOptions& options) {
    take_tokens();
    for (const Declaration& declaration : declarations_) take_declaration(declaration);
    drop_doubles();
    Rewritten made;
    made.text = edits_.all() + registration(lexed_, kernels_, constants_, refreshes_, options.kernels);
    for (const Kernel& kernel : kernels_) made.reflection.kernels.push_back(kernel.description);
    for (const FunctionConstant& constant : constants_) made.reflection.constants.push_back(constant.description);
    return made;
  }

 private:
  const Token& token(size_t at) const { return lexed_.tokens[at]; }
  std::string_view text(size_t at) const { return lexed_.tokens[at].text; }
  size_t partner(size_t at) const { return lexed_.partner[at]; }

  // ---- What is done to every token, wherever it stands.

  void take_tokens() {
    for (size_t i = 0; i + 1 < lexed_.tokens.size(); ++i) {
      if (token(i).kind == TokenKind::directive)
        take_directive(i);
      else if (token(i).kind == TokenKind::number)
        take_number(i);
      else if (opens_attribute(lexed_, i))
        edits_.erase(i, partner(i) + 1), i = partner(i);
      else if (text(i) == "kernel")
        edits_.erase(i);
      else if (text(i) == "coherent")
        take_coherent(i);
      else if (is_address_space(text(i)))
        take_address_space(i);
    }
  }

  void take_directive(size_t at) {
    const std::string_view line = text(at);
    const size_t word = line.find_first_not_of(" \t", 1);
    if (word != std::string_view::npos && line.substr(word).starts_with("pragma")) edits_.erase(at);
  }

  /// 1.5h and 2bf; 1.5 is a float, for there is no double
  void take_number(size_t at) {
    static constexpr std::pair<std::string_view, std::string_view> suffixes[] = {
        {"bf", "bfloat"}, {"BF", "bfloat"}, {"h", "half"}, {"H", "half"}};
    const bool hexadecimal = text(at).starts_with("0x") || text(at).starts_with("0X");
    for (const auto& [suffix, type] : suffixes) {
      if (!text(at).ends_with(suffix) || (hexadecimal && text(at).find_first_of("pP") == std::string_view::npos))
        continue;
      const std::string_view digits = text(at).substr(0, text(at).size() - suffix.size());
      return edits_.replace(at, fmt::format("{}({})", type, digits));
    }
    const bool exponent = text(at).find_first_of(hexadecimal ? "pP" : "eE") != std::string_view::npos;
    const bool fraction = exponent || text(at).find('.') != std::string_view::npos;
    if (fraction && (std::isdigit(static_cast<unsigned char>(text(at).back())) || text(at).back() == '.'))
      edits_.after(at, "f");
  }

  /// `coherent` or `coherent(device)`, a qualifier.
  void take_coherent(size_t at) {
    const bool called = text(at + 1) == "(" && token(at + 2).is_name() && text(at + 3) == ")";
    if (called)
      edits_.erase(at, partner(at + 1) + 1);
    else if (token(at + 1).is_name())
      edits_.erase(at);
  }

  void take_address_space(size_t at) {
    if (text(at) == "threadgroup" && take_group_variable(at)) return;
    if (text(at) != "constant" || specifiers_say_const(at)) return edits_.erase(at);
    edits_.replace(at, "const");
  }

  bool specifiers_say_const(size_t at) const {
    const auto fixed = [&](size_t i) { return text(i) == "const" || text(i) == "constexpr"; };
    for (size_t i = at; i > 0 && is_specifier(text(i)); --i)
      if (fixed(i)) return true;
    for (size_t i = at; is_specifier(text(i)); ++i)
      if (fixed(i)) return true;
    return false;
  }

  // ---- threadgroup T x[N];

  /// The first token of the declaration that `at` belongs to, if only specifiers stand between; else 0.
  size_t statement_start(size_t at) const {
    size_t i = at;
    while (i > 0) {
      const std::string_view before = text(i - 1);
      if (token(i - 1).kind == TokenKind::directive || before == ";" || before == "{" || before == "}" || before == ":")
        return i;
      if (is_specifier(before))
        --i;
      else if (before == "]" && partner(i - 1) && opens_attribute(lexed_, partner(i - 1)))
        i = partner(i - 1);
      else if (before == ")" && i >= 2 && partner(i - 1) > 0) {
        const std::string_view word = text(partner(i - 1) - 1);
        if (word != "alignas" && word != "__attribute__") return 0;  // `f() threadgroup {`
        i = partner(i - 1) - 1;
      } else
        return 0;
    }
    return i;
  }

  bool take_group_variable(size_t at) {
    const size_t start = statement_start(at);
    if (!start) return false;
    size_t end = at;
    bool indirect = false;
    std::vector<size_t> names;
    for (size_t i = at + 1; i + 1 < lexed_.tokens.size(); ++i) {
      const std::string_view word = text(i);
      if (word == "*" || word == "&") indirect = true;
      if (word == "{" && names.empty() && token(i - 1).is_name() && !token(i - 1).is("]")) names.push_back(i - 1);
      if ((word == "[" || word == "," || word == ";" || word == "=") && token(i - 1).is_name() &&
          !opens_attribute(lexed_, i))
        names.push_back(i - 1);
      if (word == ";") {
        end = i;
        break;
      }
      if (word == "(" && text(i - 1) != "alignas" && text(i - 1) != "__attribute__" && text(i - 1) != "decltype")
        return false;
      if (word == "}" || word == ")") return false;
      if (word == "<" && token(i - 1).is_name())
        i = std::max(i + 1, behind_angles(lexed_, i, lexed_.tokens.size() - 1)) - 1;
      else if (partner(i) > i)
        i = partner(i);
    }
    if (indirect || names.empty() || end == at) return false;
    make_slots(start, at, end, names);
    return true;
  }

  /// A record of the declared shape, a slot of the group's memory for each name, and a reference into it.
  void make_slots(size_t start, size_t at, size_t end, const std::vector<size_t>& names) {
    const std::string record = fmt::format("kw_group_{}", at);
    for (size_t i = start; i < at; ++i)
      if (is_specifier(text(i))) edits_.erase(i);
    edits_.before(start, fmt::format("struct {} {{ ", record));
    edits_.erase(at);
    std::string slots = " };";
    for (size_t name : names) slots += slot_text(record, name, text(name), token(name).line);
    edits_.after(end, slots + size_check(record, start));
  }

  /// Together with those declared before in this block and around it, a group has 32 KB of variables at most.
  std::string size_check(const std::string& record, size_t at) {
    size_t block = at;
    while (block > 0 && text(block) != "{") block = text(block - 1) == "}" ? partner(block - 1) - 1 : block - 1;
    std::string sum = fmt::format("sizeof({})", record);
    for (const auto& [other, last] : records_)
      if (at < last) sum += fmt::format(" + sizeof({})", other);
    records_.emplace_back(record, partner(block));
    return fmt::format(" static_assert({} <= 32768, \"threadgroup variables take more than 32768 bytes\");", sum);
  }

  // ---- Declarations.

  void take_declaration(const Declaration& declaration) {
    if (declaration.kind == DeclarationKind::instantiation) return take_instantiation(declaration);
    if (declaration.kind == DeclarationKind::function) return take_function(declaration);
    if (declaration.kind != DeclarationKind::variable) return;
    for (const Attribute& attribute : declaration.attributes)
      if (attribute.name == "function_constant" && declaration.name) return take_constant(declaration, attribute);
    if (declaration.in_record)
      take_static_member(declaration);
    else if (depends_on_constants(declaration))
      take_dependent(declaration);
  }

  void take_instantiation(const Declaration& declaration) {
    const bool is_host_visible =
        declaration.is_kernel || std::any_of(declaration.attributes.begin(), declaration.attributes.end(),
                                             [](const Attribute& a) { return a.name == "host_name"; });
    if (is_host_visible) edits_.erase(declaration.first, declaration.last);
  }

  /// `... f() const device {`: the address space of *this. `constant` makes the function const.
  void take_function(const Declaration& declaration) {
    const size_t end = declaration.init_list ? declaration.init_list
                       : declaration.body    ? declaration.body
                                             : declaration.last;
    bool is_const = false;
    for (size_t i = partner(declaration.params) + 1; i < end; ++i) {
      if (text(i) == "->") break;
      if (text(i) == "constant" && !is_const && !is_constructor(declaration))
        edits_.replace(i, "const");
      else if (is_address_space(text(i)))
        edits_.erase(i);
      is_const = is_const || text(i) == "const";
    }
  }

  bool is_constructor(const Declaration& declaration) const {
    const std::string own = std::string(text(declaration.name)) + "::";
    return declaration.in_record && (declaration.init_list || declaration.scope.ends_with(own));
  }

  /// `constant bool f [[function_constant(3)]];` becomes a variable that the host sets.
  void take_constant(const Declaration& declaration, const Attribute& attribute) {
    FunctionConstant made;
    made.qualified = declaration.scope + std::string(text(declaration.name));
    made.index_text = plain_text(lexed_, attribute.first, attribute.last);
    made.description.name = text(declaration.name);
    made.description.type = type_of_constant(declaration);
    made.description.index = plain_number(lexed_, attribute.first, attribute.last);
    made.description.file = lexed_.files[token(declaration.name).file];
    made.description.line = token(declaration.name).line;
    made.defined = fmt::format("kw_defined_{}", declaration.name);
    made.scope = declaration.scope;
    for (size_t i = declaration.head; i < declaration.name; ++i)
      if (is_specifier(text(i))) edits_.erase(i);
    edits_.before(declaration.head, fmt::format("static kw_emu_u8 {}; static ", made.defined));
    changing_.insert(std::string(text(declaration.name)));
    replace_defined_queries(made);
    constants_.push_back(std::move(made));
  }

  std::string type_of_constant(const Declaration& declaration) const {
    std::string type;
    for (size_t i = declaration.head; i < declaration.name; ++i)
      if (!is_specifier(text(i))) type += (type.empty() ? "" : " ") + std::string(text(i));
    return type;
  }

  void replace_defined_queries(const FunctionConstant& constant) {
    for (size_t i = 0; i + 3 < lexed_.tokens.size(); ++i)
      if (text(i) == "is_function_constant_defined" && text(i + 1) == "(" && text(i + 2) == constant.description.name) {
        edits_.replace(i + 2, fmt::format("{}{} != 0", constant.scope, constant.defined));
        edits_.erase(i);
      }
  }

  bool depends_on_constants(const Declaration& declaration) const {
    if (!declaration.initialiser || declaration.is_template) return false;
    bool constant = false;
    for (size_t i = declaration.head; i < declaration.initialiser; ++i) {
      if (text(i) == "constexpr" || text(i) == "[") return false;
      constant = constant || text(i) == "constant";
    }
    for (size_t i = declaration.initialiser; constant && i < declaration.last; ++i)
      if (changing_.count(std::string(text(i)))) return true;
    return false;
  }

  /// A constant made from function constants: a variable that is computed again when they are set.
  void take_dependent(const Declaration& declaration) {
    const std::string name(text(declaration.name)), refresh = fmt::format("kw_refresh_{}", declaration.name);
    for (size_t i = declaration.head; i < declaration.name; ++i)
      if (is_specifier(text(i))) edits_.erase(i);
    edits_.before(declaration.head, "static ");
    const size_t skip = text(declaration.initialiser) == "=" ? 1 : 0;
    const std::string value = edits_.line(declaration.initialiser + skip, declaration.last - 1);
    edits_.after(declaration.last - 1, fmt::format(" static void {}() {{ {} = {}; }}", refresh, name, value));
    changing_.insert(name);
    refreshes_.push_back(declaration.scope + refresh);
  }

  /// `static const constant float max = 1;` in a record: C++ wants inline, or constexpr.
  void take_static_member(const Declaration& declaration) {
    if (!declaration.initialiser) return;
    size_t last_static = 0;
    bool settled = false, constant = false;
    for (size_t i = declaration.head; i < declaration.initialiser; ++i) {
      if (text(i) == "static") last_static = i + 1;
      settled = settled || text(i) == "constexpr" || text(i) == "inline";
      constant = constant || text(i) == "constant";
    }
    if (last_static && constant && !settled) edits_.before(last_static - 1, "inline ");
  }

  // ---- Functions and records that differ in address spaces alone.

  void drop_doubles() {
    std::map<std::pair<size_t, std::string>, std::string> seen;  // scope and erased key -> key as written
    for (const Declaration& declaration : declarations_) {
      if (edits_.erased(declaration.first)) continue;
      const bool function = declaration.kind == DeclarationKind::function;
      if (!function && !(declaration.kind == DeclarationKind::record && declaration.is_template)) continue;
      if (!declaration.body && !declaration.in_record) continue;
      const auto [place, fresh] =
          seen.try_emplace({declaration.enclosing, key_of(declaration, true)}, key_of(declaration, false));
      if (!fresh && place->second != key_of(declaration, false)) edits_.erase(declaration.first, declaration.last);
    }
  }

  /// The declaration's head; parameter names, default values and attributes are left out.
  std::string key_of(const Declaration& declaration, bool erased) const {
    std::string key;
    size_t end = declaration.init_list ? declaration.init_list
                 : declaration.body    ? declaration.body
                                       : declaration.last - 1;
    const size_t params_end = declaration.params ? partner(declaration.params) : 0;
    if (!declaration.params) return range_key(declaration.first, end, erased);
    key = range_key(declaration.first, declaration.params + 1, erased);
    for (const Parameter& parameter : read_parameters(lexed_, declaration.params))
      key += range_key(parameter.first, parameter.type_last, erased) + " , ";
    if (erased && is_constructor(declaration)) return key;  // its qualifiers say where the object is, no more
    return key + range_key(params_end, end, erased);
  }

  std::string range_key(size_t first, size_t last, bool erased) const {
    std::string key;
    for (size_t i = first; i < last; ++i) {
      if (token(i).kind == TokenKind::directive) continue;
      if (opens_attribute(lexed_, i)) {
        i = partner(i);
        continue;
      }
      const std::string_view word =
          erased && is_address_space(text(i)) ? (text(i) == "constant" ? "const" : "") : text(i);
      if (word.empty() || word == "inline" || (word == "const" && key.ends_with("const "))) continue;
      key += std::string(word) + " ";
    }
    return key;
  }

  const Lexed& lexed_;
  const std::vector<Declaration>& declarations_;
  const std::vector<Kernel>& kernels_;
  Edits edits_;
  std::vector<FunctionConstant> constants_;
  std::vector<std::string> refreshes_;
  std::vector<std::pair<std::string, size_t>> records_;  // of threadgroup variables, and where their blocks end
  std::set<std::string> changing_;                       // function constants and what is made from them
};

}  // namespace

Result<Rewritten> rewrite(const Lexed& lexed, const std::vector<Declaration>& declarations,
                          const std::vector<Kernel>& kernels, const RewriteOptions& options) {
  if (lexed.dialect == Dialect::cuda) return rewrite_cuda(lexed, declarations, kernels, options);
  return Rewriter(lexed, declarations, kernels).run(options);
}

}  // namespace kw::emulator
