#include "judge/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/parallel.h"

namespace kw::judge {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct FormatRow {
  DType dtype;
  Format format;
};

// The reference's bounds hold the rounding of f16 and bf16 stores already.
constexpr FormatRow format_rows[] = {
    {DType::f64, {true, std::numeric_limits<double>::max(), 0x1p-126}},
    {DType::f32, {true, std::numeric_limits<float>::max(), 0x1p-126}},
    {DType::f16, {true, 65504.0, 0x1p-126}},
    {DType::bf16, {true, 0x1.fep127, 0x1p-126}},
};

double allowance(double value, double bound, const Format& format, const Rules& rules) {
  if (rules.loose) return *rules.loose * (1 + std::abs(value));
  return bound + format.tiny;
}

/// PyTorch's own arithmetic left the type's range here, so that an infinity or NaN is no fault of the candidate.
bool both_overflow(double got, double framework) { return !std::isfinite(got) && !std::isfinite(framework); }

bool may_be_infinite(double value, double allowed, double got, const Format& format) {
  return std::isinf(got) && std::signbit(got) == std::signbit(value) && std::abs(value) + allowed > format.max_finite;
}

Standing stand_finite(double value, double bound, double got, double framework, const Format& format,
                      const Rules& rules) {
  const double allowed = allowance(value, bound, format, rules);
  if (std::abs(got - value) <= allowed) return Standing::within;
  if (may_be_infinite(value, allowed, got, format) || both_overflow(got, framework)) return Standing::overflowed;
  return Standing::outside;
}

/// Where the bound decides nothing, PyTorch's own error is the measure, if it is known.
Standing stand_undecided(double value, double got, double framework, const Rules& rules) {
  if (rules.framework_limit <= 0 || !std::isfinite(value)) return Standing::undecided;
  if (std::abs(got - value) <= rules.framework_limit) return Standing::within;
  return both_overflow(got, framework) ? Standing::overflowed : Standing::outside;
}

/// A bound that exceeds every value tells right from wrong only beyond it; within, nothing was shown.
Standing stand_vague(double value, double bound, double got, double framework, const Format& format,
                     const Rules& rules) {
  const Standing standing = stand_finite(value, bound, got, framework, format, rules);
  return standing == Standing::within ? Standing::undecided : standing;
}

void add_element(Tally& tally, int64_t index, double value, double bound, double got, Standing standing) {
  tally.undecided += standing == Standing::undecided;
  tally.overflowed += standing == Standing::overflowed;
  if (std::isfinite(value) && std::isfinite(got)) {
    const double error = std::abs(got - value);
    tally.error_squares += error * error;
    tally.value_squares += value * value;
    tally.worst_error = std::max(tally.worst_error, error);
    ++tally.measured;
    if (standing == Standing::within && bound > 0 && std::isfinite(bound))
      tally.worst_bound_share = std::max(tally.worst_bound_share, error / bound);
  }
  if (standing != Standing::outside) return;
  ++tally.wrong;
  // A wrong class (NaN, infinity) is worse than any distance.
  const bool classes = !std::isfinite(value) || !std::isfinite(got);
  const double distance = classes ? infinity : std::abs(got - value) / (std::max(bound, 0.0) + 0x1p-126);
  if (tally.worst && distance <= tally.worst->distance) return;
  tally.worst = WrongElement{index, value, got, bound, distance};
}

void merge(Tally& into, const Tally& part) {
  into.wrong += part.wrong;
  into.undecided += part.undecided;
  into.overflowed += part.overflowed;
  into.measured += part.measured;
  into.error_squares += part.error_squares;
  into.value_squares += part.value_squares;
  into.worst_error = std::max(into.worst_error, part.worst_error);
  into.worst_bound_share = std::max(into.worst_bound_share, part.worst_bound_share);
  if (part.worst && (!into.worst || part.worst->distance > into.worst->distance)) into.worst = part.worst;
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string find_misfit(const graph::Reference& expected, const Tensor& got) {
  if (got.dtype == expected.dtype && got.shape == expected.shape) return "";
  return std::string(name_of(got.dtype)) + shape_text(got.shape) + " instead of " +
         std::string(name_of(expected.dtype)) + shape_text(expected.shape);
}

}  // namespace

Format format_of(DType dtype) {
  for (const FormatRow& row : format_rows)
    if (row.dtype == dtype) return row.format;
  return {false, infinity, 0};
}

Standing stand(double value, double bound, double got, double framework, const Format& format, const Rules& rules) {
  if (rules.exact) return got == value ? Standing::within : Standing::outside;
  if (!std::isfinite(bound)) return stand_undecided(value, got, framework, rules);
  if (std::isnan(value)) return std::isnan(got) ? Standing::within : Standing::outside;
  if (std::isinf(value)) return got == value ? Standing::within : Standing::outside;
  if (!format.is_float) return std::abs(got - value) <= bound ? Standing::within : Standing::outside;
  return stand_finite(value, bound, got, framework, format, rules);
}

double useful_bound(const graph::Reference& expected) {
  if (!is_float(expected.dtype)) return infinity;
  double largest = 0;
  for (const double value : expected.value)
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  return largest > 0 ? largest : infinity;
}

double Tally::relative_rms() const {
  if (error_squares == 0) return 0;
  return value_squares > 0 ? std::sqrt(error_squares / value_squares) : infinity;
}

Tally compare(const graph::Reference& expected, const Tensor& got, const Rules& rules) {
  Tally tally;
  tally.elements = element_count(expected.shape);
  tally.misfit = find_misfit(expected, got);
  if (!tally.misfit.empty()) return tally;
  const Format format = format_of(expected.dtype);
  const double useful = useful_bound(expected);
  std::vector<uint8_t> wrong(static_cast<size_t>(tally.elements));
  std::mutex mutex;
  parallel_for(tally.elements, 1 << 16, [&](int64_t begin, int64_t end) {
    Tally part;
    for (int64_t i = begin; i < end; ++i) {
      const double value = expected.value[static_cast<size_t>(i)];
      const double raw = expected.bound.empty() ? 0 : expected.bound[static_cast<size_t>(i)];
      const double bound = raw <= useful ? raw : infinity;
      const double found = load_element(got, i);
      const double theirs = rules.framework ? load_element(*rules.framework, i) : 0.0;
      const bool lost = rules.overflowing && std::isinf(raw);
      const bool vague = rules.offset && raw > useful && std::isfinite(raw) && std::isfinite(value);
      const Standing standing = lost    ? Standing::undecided
                                : vague ? stand_vague(value, raw, found, theirs, format, rules)
                                        : stand(value, bound, found, theirs, format, rules);
      add_element(part, i, value, bound, found, standing);
      wrong[static_cast<size_t>(i)] = standing == Standing::outside;
    }
    const std::lock_guard lock(mutex);
    merge(tally, part);
  });
  if (tally.wrong) tally.wrong_map = std::move(wrong);
  return tally;
}

}  // namespace kw::judge
