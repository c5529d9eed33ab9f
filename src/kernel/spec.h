#pragma once
#include <string>

#include "kernel/tile.h"

namespace kw::kernel::tile {

/// The tile IR's executable spec: names defined before use and once in a scope, types and lanes agree, conditions are
/// boolean, unrolled loops and register indices constant, stores go to arrays that may be written, grid loops
/// outermost and at most three. The first fault in words, else "".
std::string find_fault(const Function& function);

}  // namespace kw::kernel::tile
