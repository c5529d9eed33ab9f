#pragma once
#include <map>
#include <string>
#include <string_view>

namespace kw::author {

/// The template with every {{name}} replaced. A name without a value, or a value without a place, is a bug.
std::string fill(std::string_view text, const std::map<std::string, std::string>& values);

/// A code block whose fence is longer than any inside.
std::string fenced(std::string_view tag, std::string_view code);

}  // namespace kw::author
