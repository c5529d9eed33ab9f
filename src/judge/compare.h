#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "graph/interpret.h"

namespace kw::judge {

/// How one element stands against its reference.
enum class Standing : uint8_t { within, outside, undecided, overflowed };

/// What a type can hold, as far as comparison needs it.
struct Format {
  bool is_float = true;
  double max_finite = 0;  // largest finite value
  double tiny = 0;        // absolute allowance: values below the normal range may be flushed to zero
};
Format format_of(DType dtype);

struct Rules {
  bool exact = false;                 // value for value
  std::optional<double> loose;        // atol = rtol of the field's usual test, in place of the bound
  const Tensor* framework = nullptr;  // PyTorch's own output, or null
  bool overflowing = false;           // some sum may overflow on the way: an infinite bound then admits anything
  /// The inputs share an offset, so that roundings add up in one direction: how far depends on the order of a sum, and
  /// PyTorch's own error, small by luck, is no measure of an honest one. A bound beyond every value then still holds.
  bool offset = false;
  double framework_limit = 0;  // allowed |error| where the bound decides nothing; 0: such elements stay undecided
};

/// The rule for one element. `framework` is PyTorch's value, or the reference's own where there is none.
Standing stand(double value, double bound, double got, double framework, const Format& format, const Rules& rules);

struct WrongElement {
  int64_t index = 0;
  double expected = 0, got = 0, bound = 0;
  double distance = 0;  // |error| / bound; infinite when NaN or infinity is missed
};

/// One output against its reference, every element.
struct Tally {
  int64_t elements = 0, wrong = 0, undecided = 0, overflowed = 0, measured = 0;
  double error_squares = 0, value_squares = 0;  // over the `measured` (finite) elements
  double worst_error = 0, worst_bound_share = 0;
  std::optional<WrongElement> worst;  // the wrong element furthest outside
  std::vector<uint8_t> wrong_map;     // one an element; empty when none is wrong
  std::string misfit;                 // "f16 instead of f32": shape or dtype differ, nothing was compared

  bool right() const { return wrong == 0 && misfit.empty(); }
  bool shown() const { return elements == 0 || 2 * undecided <= elements; }
  /// Root mean square of the error over that of the values.
  double relative_rms() const;
};
Tally compare(const graph::Reference& expected, const Tensor& got, const Rules& rules);

/// A bound that exceeds every value of the output decides nothing there.
double useful_bound(const graph::Reference& expected);

}  // namespace kw::judge
