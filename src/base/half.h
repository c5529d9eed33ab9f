#pragma once
#include <cstdint>

namespace kw {

float half_to_float(uint16_t bits);
float bfloat_to_float(uint16_t bits);
/// Round to nearest even straight from double, so that no value is rounded twice.
uint16_t half_from_double(double value);
uint16_t bfloat_from_double(double value);

}  // namespace kw
