#include "target/metal/code.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace kw::target {
namespace {

using emulator::ArgumentDescription;
using emulator::ArgumentSource;
using emulator::KernelDescription;
using kernel::Plan;

/// Element types as Metal writes them; vectors of them count as the same.
struct TypeRow {
  std::string_view metal;
  DType dtype;
};
constexpr std::array<TypeRow, 15> type_rows = {{{"float", DType::f32},
                                                {"half", DType::f16},
                                                {"bfloat", DType::bf16},
                                                {"bool", DType::boolean},
                                                {"uchar", DType::u8},
                                                {"uint8_t", DType::u8},
                                                {"char", DType::i8},
                                                {"int8_t", DType::i8},
                                                {"short", DType::i16},
                                                {"int16_t", DType::i16},
                                                {"int", DType::i32},
                                                {"int32_t", DType::i32},
                                                {"long", DType::i64},
                                                {"int64_t", DType::i64},
                                                {"double", DType::f64}}};

/// "const packed_float4*" to "float"; a name that is none of the table's stays unknown.
std::string element_name(std::string type) {
  for (const std::string_view word : {"const", "volatile", "*", "&", " ", "packed_"})
    for (size_t at = type.find(word); at != std::string::npos; at = type.find(word)) type.erase(at, word.size());
  if (type.size() > 1 && type.back() >= '2' && type.back() <= '4') {
    std::string base = type.substr(0, type.size() - 1);
    if (std::any_of(type_rows.begin(), type_rows.end(), [&](const TypeRow& row) { return row.metal == base; }))
      return base;
  }
  return type;
}

/// Booleans are bytes.
bool fits(const std::string& type, DType dtype) {
  const std::string name = element_name(type);
  bool known = false;
  for (const TypeRow& row : type_rows) {
    if (row.metal != name) continue;
    known = true;
    if (row.dtype == dtype || (dtype == DType::boolean && row.dtype == DType::u8)) return true;
  }
  return !known;
}

std::string names_of(const std::vector<const ArgumentDescription*>& arguments) {
  std::string names;
  for (const ArgumentDescription* argument : arguments) names += (names.empty() ? "" : ", ") + argument->name;
  return names;
}

Status check_builtins(const KernelDescription& kernel) {
  for (const ArgumentDescription& argument : kernel.arguments) {
    if (argument.source == ArgumentSource::unsupported)
      return Failure{"plan.kernel",
                     fmt::format("{} takes {} {} (line {}), which is neither a buffer nor a position", kernel.name,
                                 argument.type, argument.name, argument.line),
                     ""};
    if (argument.source == ArgumentSource::threadgroup)
      return Failure{"plan.kernel",
                     fmt::format("{} takes threadgroup memory as the argument {} (line {}), which a Plan cannot size",
                                 kernel.name, argument.name, argument.line),
                     "declare it in the kernel's body"};
  }
  return ok_status();
}

Status check_argument(const Plan& plan, const kernel::Launch& launch, size_t i, const ArgumentDescription& takes) {
  if (const auto* name = std::get_if<std::string>(&launch.args[i])) {
    const auto at =
        std::find_if(plan.buffers.begin(), plan.buffers.end(), [&](const auto& b) { return b.name == *name; });
    if (at == plan.buffers.end()) return Failure{"plan.buffer", fmt::format("the Plan names no buffer {}", *name), ""};
    if (fits(takes.type, at->dtype)) return ok_status();
    return Failure{"plan.kernel",
                   fmt::format("{} takes {} {} (line {}), and the Plan passes {}, whose elements are {}", launch.kernel,
                               takes.type, takes.name, takes.line, *name, name_of(at->dtype)),
                   ""};
  }
  const auto& scalar = std::get<kernel::ScalarArg>(launch.args[i]);
  if (takes.is_pointer)
    return Failure{"plan.kernel",
                   fmt::format("{} takes the array {} (line {}), and the Plan passes a number", launch.kernel,
                               takes.name, takes.line),
                   "take it as `constant T&`"};
  // Unsigned numbers are not among the elements of tensors; an int of the same size reads them right.
  const DType passed = scalar.type == "u32" ? DType::i32 : dtype_from_name(scalar.type).value_or(DType::f32);
  if (fits(takes.type, passed)) return ok_status();
  return Failure{"plan.kernel",
                 fmt::format("{} takes {} {} (line {}), and the Plan passes a number of type {}", launch.kernel,
                             takes.type, takes.name, takes.line, scalar.type),
                 ""};
}

Status check_launch(const Plan& plan, const kernel::Launch& launch, const emulator::Reflection& reflection) {
  const KernelDescription* kernel = reflection.find(launch.kernel);
  if (!kernel)
    return Failure{"plan.kernel", fmt::format("the Plan launches {}, and the source has no such kernel", launch.kernel),
                   ""};
  if (Status status = check_builtins(*kernel); !status.ok()) return status;
  const auto takes = buffer_arguments(*kernel);
  if (takes.size() != launch.args.size())
    return Failure{"plan.kernel",
                   fmt::format("{} takes {} buffer arguments ({}), and the Plan passes {}", launch.kernel, takes.size(),
                               names_of(takes), launch.args.size()),
                   "give them in the order of their indices"};
  for (size_t i = 0; i < takes.size(); ++i)
    if (Status status = check_argument(plan, launch, i, *takes[i]); !status.ok()) return status;
  return ok_status();
}

Status check_steps(const Plan& plan, const std::vector<kernel::Step>& steps, const emulator::Reflection& reflection) {
  for (const kernel::Step& step : steps) {
    const auto* repeat = std::get_if<std::shared_ptr<kernel::Repeat>>(&step);
    Status status = repeat ? check_steps(plan, (*repeat)->steps, reflection)
                           : check_launch(plan, std::get<kernel::Launch>(step), reflection);
    if (!status.ok()) return status;
  }
  return ok_status();
}

/// The front end's words under the names that every target uses.
Failure renamed(Failure failure) {
  if (failure.id == "emulator.compiler")
    failure.id = "compile.missing";
  else if (failure.id == "msl.timeout")
    failure.id = "compile.timeout";
  else if (failure.id.starts_with("msl."))
    failure.id = "compile.error";
  return failure;
}

}  // namespace

std::vector<const ArgumentDescription*> buffer_arguments(const KernelDescription& kernel) {
  std::vector<const ArgumentDescription*> found;
  for (const ArgumentDescription& argument : kernel.arguments)
    if (argument.source == ArgumentSource::buffer && argument.index) found.push_back(&argument);
  std::sort(found.begin(), found.end(), [](const auto* a, const auto* b) { return *a->index < *b->index; });
  return found;
}

Result<emulator::KernelModule> MetalCode::build(bool checked, bool profile) {
  emulator::CompileOptions options;
  options.mode.checked = checked;
  options.mode.profile = profile;
  auto module = emulator::compile_source(toolchain_, {.text = source_, .name = "kernels.metal"}, options);
  if (!module) return renamed(module.failure());
  return module;
}

Status check_launches(const Plan& plan, const emulator::Reflection& reflection) {
  for (const auto* steps : {&plan.prepare, &plan.steps})
    if (Status status = check_steps(plan, *steps, reflection); !status.ok()) return status;
  return ok_status();
}

}  // namespace kw::target
