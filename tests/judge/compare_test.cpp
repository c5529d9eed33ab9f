#include "judge/compare.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "judge/pattern.h"

using namespace kw;
using namespace kw::judge;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

Tensor floats(std::vector<double> values) {
  Tensor tensor = Tensor::zeros(DType::f32, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) store_element(tensor, static_cast<int64_t>(i), values[i]);
  return tensor;
}

graph::Reference reference(std::vector<double> values, std::vector<double> bounds) {
  return {DType::f32, {static_cast<int64_t>(values.size())}, std::move(values), std::move(bounds)};
}

Standing of(double value, double bound, double got, double framework = 0, const Rules& rules = {}) {
  return stand(value, bound, got, framework, format_of(DType::f32), rules);
}

std::string where(const Shape& shape, const std::vector<int64_t>& wrong) {
  std::vector<uint8_t> map(static_cast<size_t>(element_count(shape)));
  for (const int64_t i : wrong) map[static_cast<size_t>(i)] = 1;
  return locate(map, shape);
}

}  // namespace

TEST_CASE("one element against its bound") {
  CHECK(of(1, 1e-6, 1 + 1e-6) == Standing::within);
  CHECK(of(1, 1e-6, 1 + 3e-6) == Standing::outside);
  CHECK(of(1, 1e-6, nan_value) == Standing::outside);
  CHECK(of(1, 1e-6, inf) == Standing::outside);
  CHECK(of(0, 0, 0x1p-127) == Standing::within);  // flushed to zero, or not
  CHECK(of(0, 0, 0x1p-100) == Standing::outside);
}

TEST_CASE("NaN and infinities must match, and NaN is never a wildcard") {
  CHECK(of(nan_value, 0, nan_value) == Standing::within);
  CHECK(of(nan_value, 0, 0) == Standing::outside);
  CHECK(of(nan_value, 0, inf) == Standing::outside);
  CHECK(of(inf, 0, inf) == Standing::within);
  CHECK(of(inf, 0, -inf) == Standing::outside);
  CHECK(of(inf, 0, 3e38) == Standing::outside);
  CHECK(of(2, inf, 3) == Standing::undecided);
  CHECK(of(2, nan_value, nan_value) == Standing::undecided);
}

TEST_CASE("overflow is accepted where float32 ends, or where PyTorch overflows too") {
  const double largest = std::numeric_limits<float>::max();
  CHECK(of(largest, 1e33, inf) == Standing::overflowed);
  CHECK(of(largest, 1e33, -inf) == Standing::outside);
  CHECK(of(1e30, 1e25, inf) == Standing::outside);
  CHECK(of(1e30, 1e25, inf, nan_value) == Standing::overflowed);
  CHECK(of(1e30, 1e25, 2e30, inf) == Standing::outside);
}

TEST_CASE("where the bound decides nothing, PyTorch's own error does") {
  Rules rules;
  rules.framework_limit = 1e-3;
  CHECK(of(5, inf, 5.0005, 5, rules) == Standing::within);
  CHECK(of(5, inf, 5.1, 5, rules) == Standing::outside);
  CHECK(of(5, inf, nan_value, 5, rules) == Standing::outside);
}

TEST_CASE("where inputs share an offset, a bound beyond every value still ends what may be") {
  Rules rules;
  rules.offset = true;
  const graph::Reference expected = reference({1, 1, 1}, {5, 5, 1e-6});
  CHECK(compare(expected, floats({3, 1, 1}), rules).right());
  CHECK(compare(expected, floats({3, 1, 1}), rules).undecided == 2);
  CHECK(compare(expected, floats({7, 1, 1}), rules).wrong == 1);
  CHECK(compare(expected, floats({nan_value, 1, 1}), rules).wrong == 1);
  CHECK(compare(expected, floats({1, 1, 1.1f}), rules).wrong == 1);
}

TEST_CASE("where sums overflow on the way, an infinite bound and nothing else admits anything") {
  Rules rules;
  rules.framework_limit = 1e-3;
  const Tensor framework = floats({5, 5, 5});
  rules.framework = &framework;
  const graph::Reference expected = reference({5, 5, 5}, {inf, 1e-6, 7});
  CHECK(compare(expected, floats({nan_value, 5, 5}), rules).wrong == 1);
  rules.overflowing = true;
  CHECK(compare(expected, floats({nan_value, 5, 5}), rules).right());
  CHECK(compare(expected, floats({nan_value, 5, 5}), rules).undecided == 1);
  CHECK(compare(expected, floats({5, nan_value, 5}), rules).wrong == 1);
  CHECK(compare(expected, floats({5, 5, nan_value}), rules).wrong == 1);
}

TEST_CASE("exact means exact") {
  Rules rules;
  rules.exact = true;
  CHECK(of(3, 1, 3, 0, rules) == Standing::within);
  CHECK(of(3, 1, 3 + 1e-6, 0, rules) == Standing::outside);
}

TEST_CASE("a tally counts every element and keeps the worst") {
  const Tally tally = compare(reference({1, 2, 3, 4}, {1e-6, 1e-6, 1e-6, 1e-6}), floats({1, 2.5, 3, 9}), {});
  CHECK(tally.wrong == 2);
  CHECK(!tally.right());
  REQUIRE(tally.worst);
  CHECK(tally.worst->index == 3);
  CHECK(tally.worst->got == 9);
  CHECK(compare(reference({1, 2}, {0, 0}), floats({1, 2}), {}).right());
}

TEST_CASE("shape and dtype must match") {
  CHECK(compare(reference({1, 2}, {0, 0}), floats({1, 2, 3}), {}).misfit == "f32[3] instead of f32[2]");
  CHECK(!compare(reference({1}, {0}), Tensor::zeros(DType::f16, {1}), {}).right());
}

TEST_CASE("a bound larger than every value shows nothing") {
  const Tally tally = compare(reference({1, 2, 3}, {100, 100, 0.1}), floats({50, 50, 3}), {});
  CHECK(tally.right());
  CHECK(tally.undecided == 2);
  CHECK(!tally.shown());
}

TEST_CASE("the root mean square error is relative to the values") {
  const Tally tally = compare(reference({3, 4}, {1, 1}), floats({3, 4.5}), {});
  CHECK(tally.relative_rms() == doctest::Approx(0.1));
}

TEST_CASE("wrong places in words") {
  CHECK(where({2, 3}, {0, 1, 2, 3, 4, 5}) == "all 6 elements");
  CHECK(where({10}, {8, 9}) == "the tail 8:10 of axis 0");
  CHECK(where({4, 4}, {1, 5, 9, 13}) == "the stripe at index 1 of axis 1");
  CHECK(where({4, 4}, {12, 13, 14, 15}) == "the stripe at index 3 of axis 0");
  CHECK(where({4, 4}, {10, 11, 14, 15}) == "the tile [2:4, 2:4]");
  CHECK(where({12}, {1, 4, 7, 10}) == "indices 1, 4, ... of axis 0");
  CHECK(where({5, 5}, {22, 23, 24}) == "the tile [4:5, 2:5]");
  CHECK(where({5, 5}, {3, 11, 16}) == "3 of 25 elements, scattered");
  CHECK(where({5, 5}, {7}) == "one of 25 elements");
  CHECK(where({3, 4}, {6, 7, 8, 9, 10, 11}) == "the last 6 of 12 elements (a tail)");
}
