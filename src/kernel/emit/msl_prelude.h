#pragma once
#include <string>

namespace kw::kernel::emit {

/// A whole Metal source: the includes, the helpers that `kernels` uses (kw_erf, kw_max, ...), then `kernels`.
std::string msl_source(const std::string& kernels);

}  // namespace kw::kernel::emit
