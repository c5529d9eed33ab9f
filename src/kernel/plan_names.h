#pragma once
#include <optional>
#include <string_view>

#include "kernel/plan.h"

/// Words of the Plan format.
namespace kw::kernel {

inline constexpr std::string_view plan_format = "kernelwright-plan/1";

/// A letter or _, then letters, digits or _; at most 64 characters.
bool is_identifier(std::string_view text);
bool is_target(std::string_view text);
bool is_isa(std::string_view text);
bool is_scalar_type(std::string_view text);
std::string_view name_of(Role role);
std::optional<Role> role_from_name(std::string_view name);

}  // namespace kw::kernel
