#include "module/meta_reader.h"

#include <fmt/format.h>

#include <limits>

namespace kw::module {
namespace {

constexpr int64_t max_tensor_bytes = int64_t{1} << 48;
constexpr int64_t strided_layout = 7;

struct DTypeRow {
  int number;
  std::string_view torch_name;
  std::optional<DType> dtype;  // none: known to torch, not to us
};

constexpr DTypeRow dtype_rows[] = {
    {1, "uint8", DType::u8},       {2, "int8", DType::i8},      {3, "int16", DType::i16},
    {4, "int32", DType::i32},      {5, "int64", DType::i64},    {6, "float16", DType::f16},
    {7, "float32", DType::f32},    {8, "float64", DType::f64},  {9, "complex32", {}},
    {10, "complex64", {}},         {11, "complex128", {}},      {12, "bool", DType::boolean},
    {13, "bfloat16", DType::bf16}, {28, "uint16", {}},          {29, "float8_e4m3fn", {}},
    {30, "float8_e5m2", {}},       {31, "float8_e4m3fnuz", {}}, {32, "float8_e5m2fnuz", {}},
    {33, "float8_e8m0fnu", {}},    {34, "uint32", {}},          {35, "uint64", {}},
};

Failure unsupported_dtype(const std::string& owner, std::string_view torch_name) {
  return {"pt2.dtype", fmt::format("{} has dtype {}, which is not supported", owner, torch_name),
          "float16, bfloat16, float32, float64, bool, uint8 and int8 to int64 are"};
}

Failure dynamic(const std::string& owner, size_t dim, const std::string& expression) {
  return {"pt2.dynamic_shape", fmt::format("{} has the dynamic size {} in dimension {}", owner, expression, dim),
          "export with static shapes (no dynamic_shapes), and without ops whose result size depends on data"};
}

/// A SymInt that must be a plain number.
int64_t read_size(const JsonCursor& json, const std::string& owner, size_t dim) {
  const auto [tag, value] = json.only_field();
  if (tag == "as_int") return value.integer();
  if (tag == "as_expr") {
    const std::string expression = value.has("expr_str") ? value.at("expr_str").text() : "?";
    json.faults().fail(dynamic(owner, dim, expression));
  } else {
    json.faults().fail_schema("holds a size of unknown kind");
  }
  return 0;
}

Shape read_sizes(const JsonCursor& json, const std::string& owner) {
  Shape sizes;
  for (const JsonCursor& item : json.items()) sizes.push_back(read_size(item, owner, sizes.size()));
  return sizes;
}

}  // namespace

bool is_addressable(const TensorMeta& meta) {
  if (meta.shape.size() != meta.strides.size()) return false;
  const auto width = static_cast<int64_t>(size_bytes(meta.dtype));
  int64_t count = 1;
  bool empty = false;
  for (const int64_t size : meta.shape) empty |= size == 0;
  for (const int64_t size : meta.shape) {
    if (size < 0) return false;
    if (size > 0 && count > max_tensor_bytes / width / size) return false;
    count *= size > 0 ? size : 1;
  }
  int64_t last = meta.storage_offset;
  if (last < 0 || last > max_tensor_bytes / width) return false;
  for (size_t i = 0; i < meta.shape.size(); ++i) {
    const int64_t steps = meta.shape[i] - 1, stride = meta.strides[i];
    if (stride < 0) return false;
    if (!empty && steps > 0 && stride > (max_tensor_bytes / width - last) / steps) return false;
    if (!empty) last += steps * stride;
  }
  return true;
}

DType read_dtype(const JsonCursor& json, const std::string& owner) {
  const int64_t number = json.integer();
  if (!json.faults().ok()) return DType::f32;
  for (const DTypeRow& row : dtype_rows) {
    if (row.number != number) continue;
    if (row.dtype) return *row.dtype;
    json.faults().fail(unsupported_dtype(owner, row.torch_name));
    return DType::f32;
  }
  json.faults().fail(unsupported_dtype(owner, fmt::format("number {}", number)));
  return DType::f32;
}

TensorMeta read_tensor_meta(const JsonCursor& json, const std::string& owner) {
  TensorMeta meta;
  meta.dtype = read_dtype(json.at("dtype"), owner);
  meta.shape = read_sizes(json.at("sizes"), owner);
  meta.strides = read_sizes(json.at("strides"), owner);
  meta.storage_offset = read_size(json.at("storage_offset"), owner, 0);
  FaultKeeper& faults = json.faults();
  if (json.has("layout") && json.at("layout").integer() != strided_layout)
    faults.fail({"pt2.dtype", owner + " is not a dense strided tensor", "convert it with to_dense() in the module"});
  if (meta.shape.size() != meta.strides.size()) faults.fail_schema("holds a tensor with fewer strides than sizes");
  if (faults.ok() && !is_addressable(meta))
    faults.fail({"pt2.hostile", owner + " has a negative size or stride, or more than 2^48 bytes",
                 "torch.export.save never writes such an archive; do not trust this file"});
  return faults.ok() ? meta : TensorMeta{};
}

bool is_contiguous(const TensorMeta& meta) {
  int64_t expected = 1;
  for (size_t i = meta.shape.size(); i-- > 0;) {
    if (meta.shape[i] != 1 && meta.strides[i] != expected) return false;
    expected *= meta.shape[i];
  }
  return true;
}

size_t reach_bytes(const TensorMeta& meta) {
  int64_t last = meta.storage_offset;
  for (size_t i = 0; i < meta.shape.size(); ++i) {
    if (meta.shape[i] == 0) return 0;
    last += (meta.shape[i] - 1) * meta.strides[i];
  }
  return static_cast<size_t>(last + 1) * size_bytes(meta.dtype);
}

}  // namespace kw::module
