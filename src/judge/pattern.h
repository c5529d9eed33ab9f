#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace kw::judge {

/// Says in words where an output is wrong: "all 64 elements", "the last 3 of 1027 elements (a tail)",
/// "the stripe at index 5 of axis 1", "the tile [16:32, 0:16]", "indices 1, 4, ... of axis 0",
/// "12 of 4096 elements, scattered". wrong: one flag an element of `shape`, at least one set.
std::string locate(const std::vector<uint8_t>& wrong, const Shape& shape);

std::vector<int64_t> unravel(int64_t flat, const Shape& shape);

}  // namespace kw::judge
