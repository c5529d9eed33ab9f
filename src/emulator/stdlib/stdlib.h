#pragma once
#include <span>
#include <string_view>

namespace kw::emulator {

struct StdlibFile {
  std::string_view name;  // "vector.h"
  std::string_view text;
};
/// The headers of the dialects' host libraries, as they lie in this folder ("vector.h", "cuda/warp.h"), and the
/// runtime's abi.h.
std::span<const StdlibFile> stdlib_files();

/// The names under which Metal offers them ("metal_stdlib", "metal_math", ...), and CUDA ("cuda_fp16.h", ...).
std::span<const std::string_view> stdlib_names();
std::span<const std::string_view> cuda_header_names();

}  // namespace kw::emulator
