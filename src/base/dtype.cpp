#include "base/dtype.h"

#include <array>
#include <cmath>

namespace kw {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  size_t size_bytes;
  int mantissa_bits;  // with the implicit one; 0 for integers
};

constexpr std::array<DTypeRow, 10> kRows{{{DType::f16, "f16", 2, 11},
                                          {DType::bf16, "bf16", 2, 8},
                                          {DType::f32, "f32", 4, 24},
                                          {DType::f64, "f64", 8, 53},
                                          {DType::boolean, "bool", 1, 0},
                                          {DType::u8, "u8", 1, 0},
                                          {DType::i8, "i8", 1, 0},
                                          {DType::i16, "i16", 2, 0},
                                          {DType::i32, "i32", 4, 0},
                                          {DType::i64, "i64", 8, 0}}};

const DTypeRow& row(DType dtype) { return kRows[static_cast<size_t>(dtype)]; }

}  // namespace

size_t size_bytes(DType dtype) { return row(dtype).size_bytes; }

std::string_view name_of(DType dtype) { return row(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeRow& r : kRows)
    if (r.name == name) return r.dtype;
  return std::nullopt;
}

bool is_float(DType dtype) { return row(dtype).mantissa_bits > 0; }

double unit_roundoff(DType dtype) { return is_float(dtype) ? std::ldexp(1.0, -row(dtype).mantissa_bits) : 0.0; }

}  // namespace kw
