#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace kw {

/// Lower-case hex SHA-256.
std::string sha256(std::string_view text);
std::string sha256(std::span<const std::byte> bytes);

}  // namespace kw
