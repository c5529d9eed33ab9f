#pragma once
#include <string_view>

namespace kw::author {

/// A text file that was built in: "models.toml", "prompts/system.md". Asking for another is a bug.
std::string_view embedded_text(std::string_view name);
/// The same; "" when there is none.
std::string_view find_embedded(std::string_view name);

}  // namespace kw::author
