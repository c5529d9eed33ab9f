#pragma once
#include <string>
#include <string_view>

namespace kw {

/// From now on `redact` hides this value. Values under 6 bytes are no keys and would hide ordinary words.
void register_secret(std::string_view value);

/// The text with every registered secret replaced. Logs, the store, prompts and reports pass through it.
std::string redact(std::string_view text);

}  // namespace kw
