#include "base/half.h"

#include <bit>
#include <cmath>

namespace kw {
namespace {

/// Rounds |value| to `mantissa` bits (with the implicit one) at least `min_exponent` in unit size.
double round_to_grid(double value, int mantissa, int min_exponent) {
  int exponent = 0;
  std::frexp(value, &exponent);
  const int unit = std::max(exponent - mantissa, min_exponent);
  return std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
}

}  // namespace

float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

float half_to_float(uint16_t bits) {
  const int sign = bits >> 15, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  float magnitude;
  if (exponent == 31)
    magnitude = fraction ? NAN : INFINITY;
  else if (exponent == 0)
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  else
    magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return sign ? -magnitude : magnitude;
}

uint16_t half_from_double(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return sign | 0x7e00;
  const double magnitude = std::isinf(value) ? value : round_to_grid(value, 11, -24);
  const double absolute = std::fabs(magnitude);
  if (absolute > 65504.0) return sign | 0x7c00;
  if (absolute < std::ldexp(1.0, -14)) return sign | static_cast<uint16_t>(std::ldexp(absolute, 24));
  int exponent = 0;
  const double fraction = std::frexp(absolute, &exponent);  // [0.5, 1)
  return sign | static_cast<uint16_t>(((exponent + 14) << 10) + static_cast<int>(std::ldexp(fraction, 11)) - 1024);
}

uint16_t bfloat_from_double(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return sign | 0x7fc0;
  const double magnitude = std::isinf(value) ? value : round_to_grid(value, 8, -133);
  const float single = static_cast<float>(std::fabs(magnitude));
  return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(single) >> 16);
}

}  // namespace kw
