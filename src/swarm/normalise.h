#pragma once
#include <string>
#include <string_view>

namespace kw::swarm {

/// A candidate's identity but for form: the source without comments and spacing, its own names numbered in order of
/// appearance (names that the Plan uses stay), and the Plan with sorted keys. Equal keys compute the same.
std::string normal_key(std::string_view source, std::string_view plan_json);

/// The source as it enters the key; for tests.
std::string normal_source(std::string_view source, std::string_view plan_json);
/// The Plan with sorted keys and no spacing; as it is where it is no JSON.
std::string normal_plan(std::string_view plan_json);

}  // namespace kw::swarm
