#pragma once
#include <string_view>

namespace kw::kernel {

/// The text of cpu_prelude.h, which comes before every CPU kernel source.
std::string_view cpu_prelude();

}  // namespace kw::kernel
