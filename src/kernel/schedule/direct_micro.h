#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernel/schedule/direct_problem.h"

namespace kw::kernel::schedule {

/// The register tile of a direct kernel: neighbouring places of one row by blocks of filters.
struct DirectTile {
  int places = 7, filters = 1;
};

/// Which (tap, place) pairs of a row's tile lie inside the image: tiles with equal masks share a function.
using TapMask = std::vector<std::vector<bool>>;  // [tap][place]
TapMask tap_mask(const DirectProblem& problem, int places, int64_t x0);

/// void NAME(const float* x, i64 xo, const float* w, i64 wo, float* t, i64 to, i64 blocks, i64 y0, i64 y1, i64 add):
/// t[to + (place * filters + filter) * lanes + lane], summed over `blocks` of summed channels and the taps [y0, y1) of
/// the first axis; added to what is there if `add`. Weights lie as [block][tap y][channel][tap x][filter][lane].
std::string direct_micro_text(const std::string& name, const DirectProblem& problem, const DirectTile& tile,
                              const TapMask& mask);

}  // namespace kw::kernel::schedule
