#pragma once
#include <string_view>

namespace kw::runtime {

/// The best instruction set this CPU and its system support: "avx512", "avx2", "neon" or "scalar".
std::string_view best_isa();
/// True if code built for `isa` runs here ("" and "scalar" always do).
bool isa_runs(std::string_view isa);

}  // namespace kw::runtime
