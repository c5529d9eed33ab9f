#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "emulator/lint/lint.h"

namespace kw::emulator {
namespace {

constexpr uint32_t most_buffers = 31;
constexpr uint32_t most_threads = 1024;

bool is_kernel_definition(const Declaration& d) {
  return d.kind == DeclarationKind::function && d.is_kernel && d.params && d.body;
}

/// Calls f(declarator's first token behind the type's `threadgroup`, its ;) for every threadgroup variable in a body.
template <class F>
void each_group_variable(const LintContext& c, const Declaration& d, F f) {
  for (size_t i = d.body; i < c.lexed.partner[d.body]; ++i) {
    if (c.text(i) != "threadgroup") continue;
    const std::string_view before = c.text(i - 1);
    if (before != ";" && before != "{" && before != "}" && before != "static" && before != "const" && before != ":")
      continue;
    size_t end = i;
    bool indirect = false;
    for (; c.text(end) != ";" && end < c.lexed.partner[d.body]; ++end) {
      if (c.text(end) == "*" || c.text(end) == "&") indirect = true;
      if (c.text(end) == "=" || c.text(end) == "{") break;
      if (c.lexed.partner[end] > end) end = c.lexed.partner[end];
      if (c.text(end) == "<") end = std::max(end + 1, behind_angles(c.lexed, end, c.lexed.partner[d.body])) - 1;
    }
    if (!indirect) f(i, end);
  }
}

/// The element type and width that a built-in value may have: scalars for indices, up to three for positions.
bool may_hold(std::string_view type, ArgumentSource source) {
  for (const std::string_view drop : {"const "})
    if (type.starts_with(drop)) type.remove_prefix(drop.size());
  if (type.starts_with("metal::")) type.remove_prefix(7);
  static constexpr std::string_view scalars[] = {"uint",           "ushort",   "unsigned", "unsigned int",
                                                 "unsigned short", "uint32_t", "uint16_t"};
  static constexpr std::string_view vectors[] = {"uint2",   "uint3",        "ushort2",
                                                 "ushort3", "vec<uint, 2>", "vec<uint, 3>"};
  if (std::find(std::begin(scalars), std::end(scalars), type) != std::end(scalars)) return true;
  const bool position = source >= ArgumentSource::position_in_grid && source <= ArgumentSource::threads_per_grid;
  return position && std::find(std::begin(vectors), std::end(vectors), type) != std::end(vectors);
}

}  // namespace

void check_group_initialisers(LintContext& c) {
  for (const Declaration& d : c.declarations)
    if (d.kind == DeclarationKind::function && d.body)
      each_group_variable(c, d, [&](size_t at, size_t end) {
        // Metal takes `= {0}`, though it sets nothing.
        const size_t open = c.text(end) == "=" ? end + 1 : end;
        const size_t inside = c.lexed.partner[open] > open ? c.lexed.partner[open] - open - 1 : 2;
        const bool empty = inside == 0 || (inside == 1 && c.text(open + 1) == "0");
        if ((c.text(end) == "=" || c.text(end) == "{") && !empty)
          c.report(at, "a threadgroup variable cannot have an initialiser: let one thread write it, then a barrier");
      });
}

void check_group_place(LintContext& c) {
  for (const Declaration& d : c.declarations)
    if (d.kind == DeclarationKind::function && d.body && !d.is_kernel)
      each_group_variable(c, d, [&](size_t at, size_t) {
        c.report(at, "a threadgroup variable can be declared only in a kernel: pass a pointer to it");
      });
}

void check_buffer_indices(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (!is_kernel_definition(d)) continue;
    std::map<std::string, std::set<uint32_t>> taken;
    for (const Parameter& parameter : read_parameters(c.lexed, d.params)) {
      const bool optional = std::any_of(parameter.attributes.begin(), parameter.attributes.end(),
                                        [](const Attribute& a) { return a.name == "function_constant"; });
      for (const Attribute& attribute : parameter.attributes) {
        if (attribute.name != "buffer" && attribute.name != "threadgroup") continue;
        const auto index = plain_number(c.lexed, attribute.first, attribute.last);
        if (!index) continue;
        if (*index >= most_buffers)
          c.report(parameter.first, fmt::format("{} index {} is above {}", attribute.name, *index, most_buffers - 1));
        else if (!taken[attribute.name].insert(*index).second && !optional)
          c.report(parameter.first, fmt::format("{} index {} is given to two parameters", attribute.name, *index));
      }
    }
  }
  for (const Kernel& kernel : c.kernels)
    for (const ArgumentDescription& argument : kernel.description.arguments)
      if (argument.source == ArgumentSource::buffer && argument.attribute.empty() &&
          argument.index.value_or(0) >= most_buffers)
        c.report(kernel.place, fmt::format("parameter '{}' would be buffer {}; the last one is {}", argument.name,
                                           *argument.index, most_buffers - 1));
}

void check_thread_limit(LintContext& c) {
  for (const Declaration& d : c.declarations)
    for (const Attribute& attribute : d.attributes)
      if (attribute.name == "max_total_threads_per_threadgroup")
        if (const auto most = plain_number(c.lexed, attribute.first, attribute.last); most && *most > most_threads)
          c.report(attribute.first, fmt::format("a threadgroup has at most {} threads, not {}", most_threads, *most));
}

void check_kernel_result(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (!is_kernel_definition(d)) continue;
    bool is_void = false;
    for (size_t i = d.head; i < d.name; ++i) is_void = is_void || c.text(i) == "void";
    if (!is_void) c.report(d.name, fmt::format("kernel '{}' must return void", c.text(d.name)));
  }
}

void check_kernel_parameters(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (!is_kernel_definition(d)) continue;
    const auto parameters = read_parameters(c.lexed, d.params);
    const auto owner =
        std::find_if(c.kernels.begin(), c.kernels.end(), [&](const Kernel& k) { return k.function == &d; });
    if (owner == c.kernels.end()) continue;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const ArgumentDescription& a = owner->description.arguments[i];
      const bool memory = a.is_pointer || a.is_reference;
      if (a.source == ArgumentSource::unsupported && a.attribute.empty())
        c.report(parameters[i].first,
                 fmt::format("kernel parameter '{}' needs an attribute, or must be a pointer or reference", a.name));
      else if (a.source == ArgumentSource::unsupported)
        c.report(parameters[i].first,
                 fmt::format("kernel parameter '{}': the attribute '{}' is outside what the emulator covers", a.name,
                             a.attribute));
      else if (a.source <= ArgumentSource::threadgroup && !memory)
        c.report(parameters[i].first, fmt::format("kernel parameter '{}' must be a pointer or a reference", a.name));
      else if (memory && a.address_space == AddressSpace::thread)
        c.report(parameters[i].first,
                 fmt::format("kernel parameter '{}' cannot be in the thread address space", a.name));
    }
  }
}

void check_builtin_types(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (!is_kernel_definition(d)) continue;
    for (const Parameter& parameter : read_parameters(c.lexed, d.params))
      for (const Attribute& attribute : parameter.attributes) {
        const ArgumentSource source = builtin_source(attribute.name);
        if (source == ArgumentSource::unsupported) continue;
        const std::string type = plain_text(c.lexed, parameter.first, parameter.type_last);
        if (!may_hold(type, source))
          c.report(parameter.first,
                   fmt::format("[[{}]] cannot have the type '{}': use uint or ushort{}", attribute.name, type,
                               source <= ArgumentSource::threads_per_grid ? ", or two or three of them" : ""));
      }
  }
}

}  // namespace kw::emulator
