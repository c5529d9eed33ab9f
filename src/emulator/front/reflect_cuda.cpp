#include <fmt/format.h>

#include "emulator/front/reflect.h"

// Kernels of CUDA: every parameter is a place in the list of arguments, values and pointers alike.
namespace kw::emulator {
namespace {

ArgumentDescription describe(const Lexed& lexed, const Parameter& parameter, uint32_t index) {
  ArgumentDescription made;
  made.line = lexed.tokens[parameter.first].line;
  if (parameter.name) made.name = lexed.tokens[parameter.name].text;
  made.type = plain_text(lexed, parameter.first, parameter.type_last) + (parameter.is_array ? "*" : "");
  made.source = ArgumentSource::buffer;
  made.index = index;
  made.address_space = AddressSpace::device;
  bool is_const = false;
  made.is_pointer = parameter.is_array;
  for (size_t i = parameter.first; i < parameter.type_last; ++i) {
    const Token& token = lexed.tokens[i];
    if (token.is("const") && !made.is_pointer) is_const = true;
    if (token.is("*")) made.is_pointer = true;
    if (token.is("<")) i = std::max(i + 1, behind_angles(lexed, i, parameter.type_last)) - 1;
  }
  made.is_reference = !made.is_pointer;  // a value that the launch brings along
  made.is_written = made.is_pointer && !is_const;
  return made;
}

/// The arguments of `name(`...`)` in [first, last), 0 and 0 if it does not stand there.
std::pair<size_t, size_t> arguments_of(const Lexed& lexed, std::string_view name, size_t first, size_t last) {
  for (size_t i = first; i < last; ++i)
    if (lexed.tokens[i].is(name) && lexed.tokens[i + 1].is("(")) return {i + 2, lexed.partner[i + 1]};
  return {0, 0};
}

void describe_function(const Lexed& lexed, const Declaration& function, Kernel& kernel) {
  for (const Parameter& parameter : read_parameters(lexed, function.params))
    kernel.description.arguments.push_back(
        describe(lexed, parameter, static_cast<uint32_t>(kernel.description.arguments.size())));
  kernel.function = &function;
  const auto [first, last] = arguments_of(lexed, "__launch_bounds__", function.head, function.params);
  if (first)
    if (const auto parts = split_commas(lexed, first, last); !parts.empty())
      kernel.description.max_total_threads = plain_number(lexed, parts[0].first, parts[0].second).value_or(0);
}

/// The variable of `extern __shared__ T name[]`, as an argument of every kernel of the file.
std::optional<ArgumentDescription> dynamic_memory(const Lexed& lexed) {
  for (size_t i = 0; i + 2 < lexed.tokens.size(); ++i) {
    if (!lexed.tokens[i].is("__shared__") || i == 0 || !lexed.tokens[i - 1].is("extern")) continue;
    ArgumentDescription made;
    made.source = ArgumentSource::threadgroup;
    made.address_space = AddressSpace::threadgroup;
    made.index = 0;
    made.is_pointer = made.is_written = true;
    made.type = "unsigned char*";
    made.line = lexed.tokens[i].line;
    for (; !lexed.tokens[i].is(";") && !lexed.tokens[i].is("["); ++i)
      if (lexed.tokens[i].is("(")) i = lexed.partner[i];
    made.name = lexed.tokens[i - 1].text;
    return made;
  }
  return std::nullopt;
}

struct Instantiation {
  size_t name = 0, angles = 0, params = 0;  // f, the < behind it (0: none), the (
};
/// `template __global__ void ns::f<float>(const float*, int);`
Instantiation read_instantiation(const Lexed& lexed, const Declaration& declaration) {
  Instantiation made;
  for (size_t i = declaration.head; i < declaration.last; ++i) {
    const Token& token = lexed.tokens[i];
    const bool bounds = token.is("__launch_bounds__") || token.is("__attribute__");
    if (bounds && lexed.tokens[i + 1].is("(")) {
      i = lexed.partner[i + 1];
    } else if (token.is("<") && !made.angles) {
      made.angles = i;
      i = std::max(i + 1, behind_angles(lexed, i, declaration.last)) - 1;
    } else if (token.is("(")) {
      made.params = i;
      break;
    } else if (token.is_name() && !made.angles) {
      made.name = i;
    }
  }
  return made;
}

const Declaration* template_of(const Lexed& lexed, const std::vector<Declaration>& declarations,
                               const Instantiation& wanted) {
  const size_t count = read_parameters(lexed, wanted.params).size();
  const Declaration* found = nullptr;
  for (const Declaration& declaration : declarations) {
    if (declaration.kind != DeclarationKind::function || !declaration.is_kernel || !declaration.body) continue;
    if (!declaration.is_template || !lexed.tokens[declaration.name].is(lexed.tokens[wanted.name].text)) continue;
    if (!found || read_parameters(lexed, declaration.params).size() == count) found = &declaration;
  }
  return found;
}

/// "f<float, 4>" without blanks, as a launch names it.
std::string host_name(const Lexed& lexed, const Instantiation& read) {
  std::string name(lexed.tokens[read.name].text);
  if (!read.angles) return name;
  for (const char c : plain_text(lexed, read.angles, read.params))
    if (c != ' ') name += c;
  return name;
}

Result<Kernel> instantiated_kernel(const Lexed& lexed, const std::vector<Declaration>& declarations,
                                   const Declaration& declaration) {
  const Instantiation read = read_instantiation(lexed, declaration);
  const Declaration* function = read.params ? template_of(lexed, declarations, read) : nullptr;
  if (!function)
    return kernel_failure(lexed, declaration.head,
                          fmt::format("'{}' is instantiated as a kernel, but no __global__ template of that name is "
                                      "defined",
                                      lexed.tokens[read.name].text));
  Kernel kernel;
  place_at(lexed, kernel, read.name);
  kernel.description.name = host_name(lexed, read);
  kernel.description.expression = function->scope + std::string(lexed.tokens[read.name].text);
  if (read.angles) kernel.description.expression += plain_text(lexed, read.angles, read.params);
  kernel.signature = signature_of(lexed, read.params);
  describe_function(lexed, *function, kernel);
  return kernel;
}

Kernel plain_kernel(const Lexed& lexed, const Declaration& function) {
  Kernel kernel;
  place_at(lexed, kernel, function.name);
  kernel.description.name = lexed.tokens[function.name].text;
  kernel.description.expression = function.scope + kernel.description.name;
  kernel.signature = signature_of(lexed, function.params);
  describe_function(lexed, function, kernel);
  return kernel;
}

}  // namespace

Result<std::vector<Kernel>> find_cuda_kernels(const Lexed& lexed, const std::vector<Declaration>& declarations) {
  const std::optional<ArgumentDescription> dynamic = dynamic_memory(lexed);
  std::vector<Kernel> kernels;
  std::set<std::string> names;
  for (const Declaration& declaration : declarations) {
    if (!declaration.is_kernel) continue;
    Kernel kernel;
    if (declaration.kind == DeclarationKind::instantiation) {
      auto made = instantiated_kernel(lexed, declarations, declaration);
      if (!made) return made.failure();
      kernel = std::move(*made);
    } else if (declaration.kind == DeclarationKind::function && declaration.body && !declaration.is_template) {
      kernel = plain_kernel(lexed, declaration);
    } else {
      continue;
    }
    kernel.description.dialect = Dialect::cuda;
    if (dynamic) kernel.description.arguments.push_back(*dynamic);
    if (Status s = add_unique(lexed, kernels, names, std::move(kernel)); !s.ok()) return s.failure();
  }
  return kernels;
}

}  // namespace kw::emulator
