#include "judge/pattern.h"

#include <algorithm>
#include <optional>

namespace kw::judge {

namespace {

/// The coordinates that occur among the wrong elements, axis by axis.
struct Extent {
  int64_t count = 0, first = 0, last = 0;  // flat
  std::vector<std::vector<uint8_t>> seen;  // [axis][coordinate]
};

Extent measure(const std::vector<uint8_t>& wrong, const Shape& shape) {
  Extent extent;
  for (const int64_t size : shape) extent.seen.emplace_back(static_cast<size_t>(size), uint8_t{0});
  for (int64_t i = 0; i < static_cast<int64_t>(wrong.size()); ++i) {
    if (!wrong[static_cast<size_t>(i)]) continue;
    if (extent.count++ == 0) extent.first = i;
    extent.last = i;
    const std::vector<int64_t> at = unravel(i, shape);
    for (size_t axis = 0; axis < at.size(); ++axis) extent.seen[axis][static_cast<size_t>(at[axis])] = 1;
  }
  return extent;
}

struct Range {
  int64_t lo = 0, hi = 0, count = 0;  // [lo, hi), and how many coordinates in it occur
};

Range range_of(const std::vector<uint8_t>& seen) {
  const auto first = std::find(seen.begin(), seen.end(), 1);
  const auto last = std::find(seen.rbegin(), seen.rend(), 1);
  return {first - seen.begin(), seen.rend() - last, std::count(seen.begin(), seen.end(), 1)};
}

/// The period of the coordinates that occur, when there are at least three at one distance.
std::optional<int64_t> period_of(const std::vector<uint8_t>& seen) {
  int64_t previous = -1, step = 0, count = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(seen.size()); ++i) {
    if (!seen[static_cast<size_t>(i)]) continue;
    if (previous >= 0 && step == 0) step = i - previous;
    if (previous >= 0 && i - previous != step) return std::nullopt;
    previous = i;
    ++count;
  }
  return count >= 3 && step >= 2 ? std::optional(step) : std::nullopt;
}

std::string number(int64_t value) { return std::to_string(value); }

std::string tile_text(const std::vector<Range>& ranges) {
  std::string text = "the tile [";
  for (size_t axis = 0; axis < ranges.size(); ++axis)
    text += (axis ? ", " : "") + number(ranges[axis].lo) + ":" + number(ranges[axis].hi);
  return text + "]";
}

/// One axis is hit at one coordinate, a tail of coordinates or a period; every other axis in full.
std::optional<std::string> stripe_text(const Extent& extent, const std::vector<Range>& ranges, const Shape& shape) {
  for (size_t axis = 0; axis < ranges.size(); ++axis) {
    int64_t rest = 1;
    bool others_full = true;
    for (size_t other = 0; other < ranges.size(); ++other) {
      if (other == axis) continue;
      rest *= shape[other];
      others_full = others_full && ranges[other].count == shape[other];
    }
    const Range& range = ranges[axis];
    if (!others_full || range.count == shape[axis] || extent.count != rest * range.count) continue;
    const std::string name = " of axis " + number(static_cast<int64_t>(axis));
    if (const auto period = period_of(extent.seen[axis]))
      return "indices " + number(range.lo) + ", " + number(range.lo + *period) + ", ..." + name;
    if (range.count != range.hi - range.lo) continue;
    if (range.count == 1) return "the stripe at index " + number(range.lo) + name;
    const bool tail = range.hi == shape[axis];
    return std::string(tail ? "the tail " : "the stripe ") + number(range.lo) + ":" + number(range.hi) + name;
  }
  return std::nullopt;
}

std::optional<std::string> whole_tile(const Extent& extent, const std::vector<Range>& ranges) {
  int64_t volume = 1;
  for (const Range& range : ranges) volume *= range.hi - range.lo;
  return volume == extent.count && volume > 1 ? std::optional(tile_text(ranges)) : std::nullopt;
}

}  // namespace

std::vector<int64_t> unravel(int64_t flat, const Shape& shape) {
  std::vector<int64_t> at(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    at[axis] = flat % shape[axis];
    flat /= shape[axis];
  }
  return at;
}

std::string locate(const std::vector<uint8_t>& wrong, const Shape& shape) {
  const Extent extent = measure(wrong, shape);
  const auto total = static_cast<int64_t>(wrong.size());
  if (extent.count == total) return "all " + number(total) + " elements";
  std::vector<Range> ranges;
  for (const auto& seen : extent.seen) ranges.push_back(range_of(seen));
  if (extent.count > 1) {
    if (const auto text = stripe_text(extent, ranges, shape)) return *text;
    if (const auto text = whole_tile(extent, ranges)) return *text;
  }
  const std::string of = number(extent.count) + " of " + number(total) + " elements";
  const bool one_run = extent.last - extent.first + 1 == extent.count;
  if (one_run && extent.last == total - 1) return "the last " + of + " (a tail)";
  if (one_run && extent.count > 1) return of + " in one run from " + number(extent.first);
  if (10 * extent.count >= 9 * total) return of + " (nearly all)";
  return extent.count == 1 ? "one of " + number(total) + " elements" : of + ", scattered";
}

}  // namespace kw::judge
