#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kw {

/// Element types that a module may hold. Sub-byte and quantised types are refused at import.
enum class DType : uint8_t { f16, bf16, f32, f64, boolean, u8, i8, i16, i32, i64 };

size_t size_bytes(DType dtype);
/// "f32", "bf16", "bool", ...: the names used in Plans, manifests and reports.
std::string_view name_of(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);
bool is_float(DType dtype);
/// Unit roundoff: 2^-24 for f32, 2^-11 for f16, 2^-8 for bf16, 2^-53 for f64, 0 for integers.
double unit_roundoff(DType dtype);

}  // namespace kw
