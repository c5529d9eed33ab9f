#pragma once
#include <string>
#include <string_view>

namespace kw {

/// True for well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool valid_utf8(std::string_view text);

/// Ill-formed bytes become U+FFFD, one each.
std::string as_utf8(std::string_view text);

/// At most `bytes` of `text`, cut between characters.
std::string_view cut_utf8(std::string_view text, size_t bytes);

}  // namespace kw
