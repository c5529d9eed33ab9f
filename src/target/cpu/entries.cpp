#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "target/cpu/toolchain.h"

namespace kw::target {
namespace {

using kernel::Buffer;
using kernel::Plan;
using kernel::Role;

std::string_view c_type(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return "kw_f16";
    case DType::bf16:
      return "kw_bf16";
    case DType::f32:
      return "float";
    case DType::f64:
      return "double";
    case DType::boolean:
      return "unsigned char";
    case DType::u8:
      return "uint8_t";
    case DType::i8:
      return "int8_t";
    case DType::i16:
      return "int16_t";
    case DType::i32:
      return "int32_t";
    case DType::i64:
      return "int64_t";
  }
  return "void";
}

struct ScalarRow {
  std::string_view type, c_type, stored;
};
constexpr ScalarRow scalars[] = {{"u32", "uint32_t", "int64_t"},
                                 {"i32", "int32_t", "int64_t"},
                                 {"i64", "int64_t", "int64_t"},
                                 {"f32", "float", "double"},
                                 {"f64", "double", "double"}};

bool read_only(Role role, bool in_prepare) {
  return role == Role::input || role == Role::parameter || (role == Role::prepared && !in_prepare);
}

/// How one argument of a kernel is passed; launches of the same kernel must agree but for constness.
struct Parameter {
  std::string type;
  bool scalar = false;
  bool constant = false;
  std::string stored;
};
using Kernels = std::map<std::string, std::vector<Parameter>>;

Result<Parameter> parameter_of(const Plan& plan, const kernel::Arg& arg, bool in_prepare) {
  if (const auto* scalar = std::get_if<kernel::ScalarArg>(&arg)) {
    for (const ScalarRow& row : scalars)
      if (row.type == scalar->type) return Parameter{std::string(row.c_type), true, false, std::string(row.stored)};
    return Failure{"plan.field", fmt::format("the Plan passes a scalar of unknown type {}", scalar->type), ""};
  }
  const std::string& name = std::get<std::string>(arg);
  const auto at =
      std::find_if(plan.buffers.begin(), plan.buffers.end(), [&](const Buffer& b) { return b.name == name; });
  if (at == plan.buffers.end()) return Failure{"plan.buffer", fmt::format("the Plan names no buffer {}", name), ""};
  return Parameter{std::string(c_type(at->dtype)), false, read_only(at->role, in_prepare), ""};
}

Status merge(const std::string& kernel, std::vector<Parameter>& known, const std::vector<Parameter>& more) {
  bool same = known.size() == more.size();
  for (size_t i = 0; same && i < more.size(); ++i) {
    same = known[i].type == more[i].type && known[i].scalar == more[i].scalar;
    known[i].constant = known[i].constant || more[i].constant;
  }
  if (same) return ok_status();
  return Failure{"plan.kernel", fmt::format("the Plan launches {} with arguments of different types", kernel),
                 "write one kernel for each set of argument types"};
}

bool identifier(const std::string& name) {
  const auto good = [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !name.empty() && name.size() < 200 && !(name[0] >= '0' && name[0] <= '9') &&
         std::all_of(name.begin(), name.end(), good);
}

Status collect(const Plan& plan, const std::vector<kernel::Step>& steps, bool in_prepare, Kernels& kernels) {
  for (const kernel::Step& step : steps) {
    if (const auto* repeat = std::get_if<std::shared_ptr<kernel::Repeat>>(&step)) {
      if (Status status = collect(plan, (*repeat)->steps, in_prepare, kernels); !status.ok()) return status;
      continue;
    }
    const auto& launch = std::get<kernel::Launch>(step);
    if (!identifier(launch.kernel))
      return Failure{"plan.kernel", "the Plan launches a kernel whose name is no identifier", ""};
    std::vector<Parameter> parameters;
    for (const kernel::Arg& arg : launch.args) {
      auto parameter = parameter_of(plan, arg, in_prepare);
      if (!parameter) return parameter.failure();
      parameters.push_back(*parameter);
    }
    const auto [at, fresh] = kernels.emplace(launch.kernel, parameters);
    if (fresh) continue;
    if (Status status = merge(launch.kernel, at->second, parameters); !status.ok()) return status;
  }
  return ok_status();
}

std::string entry_of(const std::string& kernel, const std::vector<Parameter>& parameters) {
  std::string call;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    call += p.scalar ? fmt::format("({})*(const {}*)args[{}], ", p.type, p.stored, i)
                     : fmt::format("({}{}*)args[{}], ", p.constant ? "const " : "", p.type, i);
  }
  return fmt::format(
      "extern \"C\" __attribute__((visibility(\"default\"))) void kw_entry_{0}(void* const* args, const int64_t* at) "
      "{{\n"
      "  (void)args;\n  ::{0}({1}KwGroup{{at[0], at[1], at[2]}});\n}}\n",
      kernel, call);
}

}  // namespace

Result<std::string> entries_of(const Plan& plan) {
  Kernels kernels;
  for (const Status& status : {collect(plan, plan.prepare, true, kernels), collect(plan, plan.steps, false, kernels)})
    if (!status.ok()) return status.failure();
  std::string text;
  for (const auto& [kernel, parameters] : kernels) text += entry_of(kernel, parameters);
  return text;
}

}  // namespace kw::target
