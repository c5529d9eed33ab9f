#include "emulator/front/reflect.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace kw::emulator {
namespace {

struct BuiltinRow {
  std::string_view attribute;
  ArgumentSource source;
};
constexpr BuiltinRow builtins[] = {
    {"thread_position_in_grid", ArgumentSource::position_in_grid},
    {"thread_position_in_threadgroup", ArgumentSource::position_in_threadgroup},
    {"threadgroup_position_in_grid", ArgumentSource::group_position_in_grid},
    {"threads_per_threadgroup", ArgumentSource::threads_per_threadgroup},
    {"dispatch_threads_per_threadgroup", ArgumentSource::dispatch_threads_per_threadgroup},
    {"threadgroups_per_grid", ArgumentSource::threadgroups_per_grid},
    {"threads_per_grid", ArgumentSource::threads_per_grid},
    {"thread_index_in_threadgroup", ArgumentSource::index_in_threadgroup},
    {"thread_index_in_simdgroup", ArgumentSource::index_in_simdgroup},
    {"simdgroup_index_in_threadgroup", ArgumentSource::simdgroup_in_threadgroup},
    {"simdgroups_per_threadgroup", ArgumentSource::simdgroups_per_threadgroup},
    {"dispatch_simdgroups_per_threadgroup", ArgumentSource::dispatch_simdgroups_per_threadgroup},
    {"threads_per_simdgroup", ArgumentSource::threads_per_simdgroup},
    {"thread_execution_width", ArgumentSource::threads_per_simdgroup},
    {"thread_index_in_quadgroup", ArgumentSource::index_in_quadgroup},
    {"quadgroup_index_in_threadgroup", ArgumentSource::quadgroup_in_threadgroup},
    {"quadgroups_per_threadgroup", ArgumentSource::quadgroups_per_threadgroup},
};

struct SpaceRow {
  std::string_view word;
  AddressSpace space;
};
constexpr SpaceRow spaces[] = {{"device", AddressSpace::device},
                               {"constant", AddressSpace::constant},
                               {"threadgroup", AddressSpace::threadgroup},
                               {"thread", AddressSpace::thread}};

bool is_type_word(std::string_view word) {
  static constexpr std::string_view words[] = {"unsigned", "signed", "int",  "char", "short",
                                               "long",     "float",  "half", "bool", "void",
                                               "const",    "double", "uint", "auto", "typename"};
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

/// The last name of a declarator that has a type before it: in [first, last) without attributes.
size_t declared_name(const Lexed& lexed, size_t first, size_t last) {
  size_t name = 0, seen = 0;
  for (size_t i = first; i < last; ++i) {
    const Token& token = lexed.tokens[i];
    if (token.is("=")) break;
    if (lexed.partner[i] > i) {
      if (token.is("[") && !opens_attribute(lexed, i)) break;  // an array's bounds: the name is behind us
      i = lexed.partner[i];
      continue;
    }
    if (token.is("<") && i > first && lexed.tokens[i - 1].is_name()) {
      i = std::max(i + 1, behind_angles(lexed, i, last)) - 1;
      continue;
    }
    const bool metal = lexed.dialect == Dialect::metal;
    if (!token.is_name() || (metal && is_address_space(token.text))) continue;
    const bool qualified = i > first && lexed.tokens[i - 1].is("::");
    if (seen > 0 && !qualified && !is_type_word(token.text)) name = i;
    if (!token.is("const") && !token.is("volatile") && !token.is("typename") && !qualified) ++seen;
  }
  return name;
}

ArgumentDescription describe(const Lexed& lexed, const Parameter& parameter) {
  ArgumentDescription made;
  made.line = lexed.tokens[parameter.first].line;
  if (parameter.name) made.name = lexed.tokens[parameter.name].text;
  made.type = plain_text(lexed, parameter.first, parameter.type_last);
  if (parameter.is_array) made.type += "*";
  made.is_pointer = parameter.is_array;
  bool is_const = false, star_seen = false;
  for (size_t i = parameter.first; i < parameter.type_last; ++i) {
    const Token& token = lexed.tokens[i];
    for (const SpaceRow& row : spaces)
      if (token.is(row.word) && made.address_space == AddressSpace::none) made.address_space = row.space;
    if (token.is("const") && !star_seen) is_const = true;
    if (token.is("*")) made.is_pointer = star_seen = true;
    if (token.is("&")) made.is_reference = true;
    if (token.is("<")) i = std::max(i + 1, behind_angles(lexed, i, parameter.type_last)) - 1;
  }
  made.is_written = (made.is_pointer || made.is_reference) && !is_const && made.address_space != AddressSpace::constant;
  for (const Attribute& attribute : parameter.attributes) {
    if (attribute.name == "function_constant")
      made.only_if = plain_text(lexed, attribute.first, attribute.last);
    else if (made.attribute.empty())
      made.attribute = attribute.name;
    if (attribute.name == "buffer" || attribute.name == "threadgroup") {
      made.source = attribute.name == "buffer" ? ArgumentSource::buffer : ArgumentSource::threadgroup;
      made.index = plain_number(lexed, attribute.first, attribute.last);
    } else if (builtin_source(attribute.name) != ArgumentSource::unsupported) {
      made.source = builtin_source(attribute.name);
    }
  }
  const bool memory = made.is_pointer || made.is_reference;
  if (made.attribute.empty() && memory)
    made.source =
        made.address_space == AddressSpace::threadgroup ? ArgumentSource::threadgroup : ArgumentSource::buffer;
  return made;
}

/// Arguments without an index take the first places that are free, in order.
void place_implicit(std::vector<ArgumentDescription>& arguments) {
  for (ArgumentSource source : {ArgumentSource::buffer, ArgumentSource::threadgroup}) {
    std::set<uint32_t> taken;
    for (const ArgumentDescription& argument : arguments)
      if (argument.source == source && argument.index) taken.insert(*argument.index);
    uint32_t next = 0;
    for (ArgumentDescription& argument : arguments) {
      if (argument.source != source || argument.index) continue;
      while (taken.count(next)) ++next;
      argument.index = next++;
    }
  }
}

const Attribute* find_attribute(const Declaration& declaration, std::string_view name) {
  for (const Attribute& attribute : declaration.attributes)
    if (attribute.name == name) return &attribute;
  return nullptr;
}

void describe_function(const Lexed& lexed, const Declaration& function, Kernel& kernel) {
  for (const Parameter& parameter : read_parameters(lexed, function.params))
    kernel.description.arguments.push_back(describe(lexed, parameter));
  place_implicit(kernel.description.arguments);
  kernel.function = &function;
  if (const Attribute* most = find_attribute(function, "max_total_threads_per_threadgroup"))
    kernel.description.max_total_threads = plain_number(lexed, most->first, most->last).value_or(0);
}

}  // namespace

void place_at(const Lexed& lexed, Kernel& kernel, size_t token) {
  kernel.place = token;
  kernel.description.file = lexed.files[lexed.tokens[token].file];
  kernel.description.line = lexed.tokens[token].line;
}

std::string signature_of(const Lexed& lexed, size_t open) {
  std::string all;
  for (const Parameter& parameter : read_parameters(lexed, open))
    all += (all.empty() ? "" : ", ") + plain_text(lexed, parameter.first, parameter.type_last) +
           (parameter.is_array ? "*" : "");
  return "void (*)(" + all + ")";
}

namespace {

Kernel plain_kernel(const Lexed& lexed, const Declaration& function) {
  Kernel kernel;
  place_at(lexed, kernel, function.name);
  kernel.description.expression = function.scope + std::string(lexed.tokens[function.name].text);
  const Attribute* host_name = find_attribute(function, "host_name");
  kernel.description.name = host_name ? joined_strings(lexed, host_name->first, host_name->last)
                                      : std::string(lexed.tokens[function.name].text);
  kernel.signature = signature_of(lexed, function.params);
  describe_function(lexed, function, kernel);
  return kernel;
}

/// `template [[host_name("x")]] [[kernel]] decltype(f<A>) f<A>;` or `template ... kernel void f<A>(...);`
struct Instantiation {
  size_t first = 0, last = 0;  // the expression f<A>
  size_t name = 0;             // f
  size_t params = 0;           // the ( of a written parameter list
};
Instantiation read_instantiation(const Lexed& lexed, const Declaration& declaration) {
  Instantiation made;
  size_t i = declaration.head;
  const size_t end = declaration.last - 1;
  while (i < end) {
    const Token& token = lexed.tokens[i];
    if (opens_attribute(lexed, i))
      i = lexed.partner[i] + 1;
    else if (token.is("kernel") || token.is("void"))
      ++i;
    else if (token.is("decltype") || token.is("__attribute__"))
      i = lexed.partner[i + 1] + 1;
    else
      break;
  }
  // A name, perhaps a type before it: `rows_t rows<float>`.
  do {
    made.first = made.name = i;
    for (; i < end && (lexed.tokens[i].is_name() || lexed.tokens[i].is("::")); ++i) {
      if (lexed.tokens[i].is_name() && i > made.first && !lexed.tokens[i - 1].is("::")) break;
      if (lexed.tokens[i].is_name()) made.name = i;
    }
    if (i < end && lexed.tokens[i].is("<")) i = std::max(i + 1, behind_angles(lexed, i, end));
  } while (i < end && lexed.tokens[i].is_name());
  made.last = std::min(i, end);
  if (i < end && lexed.tokens[i].is("(")) made.params = i;
  return made;
}

const Declaration* template_of(const Lexed& lexed, const std::vector<Declaration>& declarations,
                               const Instantiation& wanted) {
  const size_t count = wanted.params ? read_parameters(lexed, wanted.params).size() : 0;
  const Declaration* found = nullptr;
  for (const Declaration& declaration : declarations) {
    if (declaration.kind != DeclarationKind::function || !declaration.is_kernel || !declaration.body) continue;
    if (!lexed.tokens[declaration.name].is(lexed.tokens[wanted.name].text)) continue;
    if (!found || (wanted.params && read_parameters(lexed, declaration.params).size() == count)) found = &declaration;
  }
  return found;
}

}  // namespace

Failure kernel_failure(const Lexed& lexed, size_t token, const std::string& what) {
  const Token& t = lexed.tokens[token];
  return {fmt::format("{}.kernel", row_of(lexed.dialect).id),
          fmt::format("{}:{}: {}", lexed.files[t.file], t.line, what), ""};
}

Status add_unique(const Lexed& lexed, std::vector<Kernel>& kernels, std::set<std::string>& names, Kernel kernel) {
  if (!names.insert(kernel.description.name).second)
    return kernel_failure(lexed, kernel.place,
                          fmt::format("a second kernel is called \"{}\"", kernel.description.name));
  kernels.push_back(std::move(kernel));
  return ok_status();
}

ArgumentSource builtin_source(std::string_view attribute) {
  for (const BuiltinRow& row : builtins)
    if (row.attribute == attribute) return row.source;
  return ArgumentSource::unsupported;
}

std::string plain_text(const Lexed& lexed, size_t first, size_t last) {
  const bool metal = lexed.dialect == Dialect::metal;
  std::string text;
  for (size_t i = first; i < last; ++i) {
    const Token& token = lexed.tokens[i];
    if (opens_attribute(lexed, i)) {
      i = lexed.partner[i];
      continue;
    }
    if (metal && token.is("coherent")) {
      if (lexed.tokens[i + 1].is("(")) i = lexed.partner[i + 1];
      continue;
    }
    if (token.kind == TokenKind::directive || token.is("__grid_constant__")) continue;
    if (metal && is_address_space(token.text) && !token.is("constant")) continue;
    const std::string word(metal && token.is("constant") ? "const" : token.text);
    if (word == "const" && text.ends_with("const")) continue;
    const bool glued =
        token.kind == TokenKind::punctuation || text.empty() || text.ends_with("::") || text.ends_with("<");
    text += (glued ? "" : " ") + word;
  }
  return text;
}

std::string joined_strings(const Lexed& lexed, size_t first, size_t last) {
  std::string text;
  for (size_t i = first; i < last; ++i)
    if (lexed.tokens[i].kind == TokenKind::text) text += string_value(lexed.tokens[i].text);
  return text;
}

std::optional<uint32_t> plain_number(const Lexed& lexed, size_t first, size_t last) {
  while (first < last && lexed.tokens[first].is("(") && lexed.partner[first] + 1 == last) ++first, --last;
  if (last != first + 1 || lexed.tokens[first].kind != TokenKind::number) return std::nullopt;
  std::string_view text = lexed.tokens[first].text;
  while (!text.empty() && (text.back() == 'u' || text.back() == 'U')) text.remove_suffix(1);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<Parameter> read_parameters(const Lexed& lexed, size_t open) {
  std::vector<Parameter> all;
  for (const auto& [first, last] : split_commas(lexed, open + 1, lexed.partner[open])) {
    Parameter made;
    made.first = first;
    made.last = last;
    made.name = declared_name(lexed, first, last);
    made.type_last = last;
    for (size_t i = last; i-- > first;)
      if (lexed.tokens[i].is("=")) made.type_last = i;
    if (made.name) made.type_last = made.name;
    made.is_array = made.name && lexed.tokens[made.name + 1].is("[") && !opens_attribute(lexed, made.name + 1);
    for (size_t i = first; i < last; ++i) {
      if (!opens_attribute(lexed, i)) continue;
      for (Attribute& attribute : read_attribute(lexed, i)) made.attributes.push_back(std::move(attribute));
      i = lexed.partner[i];
    }
    if (last == first + 1 && lexed.tokens[first].is("void")) continue;
    all.push_back(std::move(made));
  }
  return all;
}

Result<std::vector<Kernel>> find_kernels(const Lexed& lexed, const std::vector<Declaration>& declarations) {
  if (lexed.dialect == Dialect::cuda) return find_cuda_kernels(lexed, declarations);
  std::vector<Kernel> kernels;
  std::set<std::string> names;
  for (const Declaration& declaration : declarations) {
    if (!declaration.is_kernel && !find_attribute(declaration, "host_name")) continue;
    if (declaration.kind == DeclarationKind::function && declaration.body && !declaration.is_template) {
      if (Status s = add_unique(lexed, kernels, names, plain_kernel(lexed, declaration)); !s.ok()) return s.failure();
    } else if (declaration.kind == DeclarationKind::instantiation) {
      const Attribute* host_name = find_attribute(declaration, "host_name");
      if (!host_name) continue;  // no name by which a host could ask for it
      const Instantiation read = read_instantiation(lexed, declaration);
      const Declaration* function = template_of(lexed, declarations, read);
      if (!function)
        return kernel_failure(lexed, read.name,
                              fmt::format("'{}' is instantiated as a kernel, but no kernel of that name is defined",
                                          lexed.tokens[read.name].text));
      Kernel kernel;
      place_at(lexed, kernel, read.name);
      kernel.description.name = joined_strings(lexed, host_name->first, host_name->last);
      kernel.description.expression = plain_text(lexed, read.first, read.last);
      if (!plain_text(lexed, read.first, read.last).starts_with(declaration.scope))
        kernel.description.expression = declaration.scope + kernel.description.expression;
      if (read.params) kernel.signature = signature_of(lexed, read.params);
      describe_function(lexed, *function, kernel);
      if (Status s = add_unique(lexed, kernels, names, std::move(kernel)); !s.ok()) return s.failure();
    }
  }
  return kernels;
}

}  // namespace kw::emulator
