#pragma once
#include <span>
#include <string_view>

namespace kw::emulator {

struct StdlibFile {
  std::string_view name;  // "vector.h"
  std::string_view text;
};
/// The headers of the host metal_stdlib, as they lie in this folder, and the runtime's abi.h.
std::span<const StdlibFile> stdlib_files();

/// The names under which Metal offers them: "metal_stdlib", "metal_math", ...
std::span<const std::string_view> stdlib_names();

}  // namespace kw::emulator
