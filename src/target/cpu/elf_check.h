#pragma once
#include <filesystem>
#include <span>
#include <vector>

#include "base/result.h"

namespace kw::target {

/// What a finished kernel binary may not have: undefined symbols outside the list of memory and math functions,
/// exported symbols other than kernel entries, writable data, thread-local data, code that runs at load,
/// relocations that call code or touch text, other libraries than libc and libm.
/// fails: binary.forbidden, binary.damaged
Status check_binary(std::span<const std::byte> elf);
Status check_binary_file(const std::filesystem::path& path);

}  // namespace kw::target
