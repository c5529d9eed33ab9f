#include "kernel/schedule/window_shape.h"

#include <algorithm>
#include <numeric>

namespace kw::kernel::schedule {
namespace {

constexpr int64_t near_elements = 8192;   // fit the first cache with the result
constexpr int64_t most_elements = 98304;  // of a task's stack

StagedAxis staged_axis(const WindowAxis& axis, int64_t out) {
  StagedAxis staged;
  staged.out = out;
  staged.cells = out + (axis.taps - 1) * axis.dilation / axis.stride;
  staged.grain = std::gcd(axis.dilation, axis.stride);
  for (int64_t t = 0; t < std::min(axis.taps, axis.stride); ++t)
    staged.phases = std::max(staged.phases, t * axis.dilation % axis.stride / staged.grain + 1);
  return staged;
}

}  // namespace

int64_t WindowShape::places() const {
  int64_t count = row();
  for (size_t i = 0; i + 1 < axes.size(); ++i) count *= axes[i].out;
  return count;
}

int64_t WindowShape::tap_offset(const WindowProblem& problem, size_t axis, int64_t tap) const {
  const WindowAxis& w = problem.axes[axis];
  const int64_t reach = tap * w.dilation;
  return reach % w.stride / axes[axis].grain * axes[axis].phase_step + reach / w.stride * axes[axis].step;
}

WindowShape window_shape(const WindowProblem& problem, int64_t band, int lanes) {
  WindowShape shape;
  shape.band = band;
  shape.bands = (problem.axes[0].out + band - 1) / band;
  shape.lanes = lanes;
  for (size_t i = 0; i < problem.axes.size(); ++i)
    shape.axes.push_back(staged_axis(problem.axes[i], i == 0 ? band : problem.axes[i].out));
  // Sums and extrema shrink the other axes first, so that fewer rows are split by phase.
  if (problem.weight < 0 && problem.axes.size() > 1 && problem.axes.back().stride > 1) {
    StagedAxis& last = shape.axes.back();
    shape.late = last;
    const int64_t line = (last.cells - 1) * problem.axes.back().stride + (last.phases - 1) * last.grain + 1;
    last = StagedAxis{line, line};
  }
  for (size_t i = shape.axes.size(); i-- > 0;) {
    shape.axes[i].step = shape.volume;
    shape.volume *= shape.axes[i].cells;
  }
  shape.elements = shape.volume;
  for (StagedAxis& axis : shape.axes) {
    axis.phase_step = shape.elements;
    shape.elements *= axis.phases;
  }
  return shape;
}

int64_t default_band(const WindowProblem& problem, const Facts& facts) {
  const int64_t out = problem.axes[0].out;
  const int64_t halo = (problem.axes[0].taps - 1) * problem.axes[0].dilation / problem.axes[0].stride;
  const auto even = [&](int64_t bands) { return (out + bands - 1) / bands; };
  int64_t band = out;
  for (int64_t bands = 1; window_shape(problem, band, 1).elements > near_elements && band > 1; band = even(++bands))
    if (window_shape(problem, band, 1).elements <= most_elements && even(bands + 1) < 4 * halo) break;
  // Too few planes for the threads: bands are tasks too.
  const int64_t tasks = problem.planes() * ((out + band - 1) / band), wanted = 4 * facts.threads;
  if (tasks < wanted && facts.threads > 1)
    band = std::min(band, std::max(even((wanted + problem.planes() - 1) / problem.planes()), 2 * halo + 1));
  return band;
}

}  // namespace kw::kernel::schedule
