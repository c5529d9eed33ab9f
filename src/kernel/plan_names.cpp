#include "kernel/plan_names.h"

#include <algorithm>
#include <array>

namespace kw::kernel {
namespace {

constexpr std::array<std::string_view, 6> role_names{"input", "parameter", "state", "prepared", "scratch", "output"};

template <size_t N>
bool is_one_of(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

}  // namespace

bool is_identifier(std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  auto fits = [&](char c) { return letter(c) || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= 64 && letter(text[0]) && std::all_of(text.begin(), text.end(), fits);
}

bool is_target(std::string_view text) { return is_one_of<3>(text, {"cpu", "cuda", "metal"}); }
bool is_isa(std::string_view text) { return is_one_of<4>(text, {"", "avx512", "avx2", "neon"}); }
bool is_scalar_type(std::string_view text) { return is_one_of<4>(text, {"u32", "i32", "i64", "f32"}); }

std::string_view name_of(Role role) { return role_names[static_cast<size_t>(role)]; }

std::optional<Role> role_from_name(std::string_view name) {
  const auto* found = std::find(role_names.begin(), role_names.end(), name);
  if (found == role_names.end()) return std::nullopt;
  return static_cast<Role>(found - role_names.begin());
}

}  // namespace kw::kernel
