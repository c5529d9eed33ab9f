#include "base/tensor.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/half.h"
#include "base/result.h"

namespace kw {
namespace {

template <class T>
double read_as(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

template <class T>
void write_as(std::byte* at, double value) {
  const T typed = static_cast<T>(value);
  std::memcpy(at, &typed, sizeof typed);
}

uint16_t read_bits(const std::byte* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return bits;
}

void write_bits(std::byte* at, uint16_t bits) { std::memcpy(at, &bits, sizeof bits); }

}  // namespace

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

size_t Tensor::bytes() const { return static_cast<size_t>(element_count(shape)) * size_bytes(dtype); }

Tensor Tensor::zeros(DType dtype, Shape shape) {
  Tensor t{dtype, std::move(shape), nullptr, nullptr};
  const size_t rounded = (t.bytes() + 127) / 64 * 64;
  void* memory = std::aligned_alloc(64, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, rounded);
  t.data = static_cast<std::byte*>(memory);
  t.owner = std::shared_ptr<std::byte[]>(t.data, [](std::byte* p) { std::free(p); });
  return t;
}

double load_element(const Tensor& tensor, int64_t index) {
  const std::byte* at = tensor.data + static_cast<size_t>(index) * size_bytes(tensor.dtype);
  switch (tensor.dtype) {
    case DType::f16:
      return half_to_float(read_bits(at));
    case DType::bf16:
      return bfloat_to_float(read_bits(at));
    case DType::f32:
      return read_as<float>(at);
    case DType::f64:
      return read_as<double>(at);
    case DType::boolean:
      return read_as<uint8_t>(at) != 0 ? 1.0 : 0.0;
    case DType::u8:
      return read_as<uint8_t>(at);
    case DType::i8:
      return read_as<int8_t>(at);
    case DType::i16:
      return read_as<int16_t>(at);
    case DType::i32:
      return read_as<int32_t>(at);
    case DType::i64:
      return read_as<int64_t>(at);
  }
  throw BugError("load_element: unknown dtype");
}

void store_element(Tensor& tensor, int64_t index, double value) {
  std::byte* at = tensor.data + static_cast<size_t>(index) * size_bytes(tensor.dtype);
  switch (tensor.dtype) {
    case DType::f16:
      return write_bits(at, half_from_double(value));
    case DType::bf16:
      return write_bits(at, bfloat_from_double(value));
    case DType::f32:
      return write_as<float>(at, value);
    case DType::f64:
      return write_as<double>(at, value);
    case DType::boolean:
      return write_as<uint8_t>(at, value != 0 ? 1.0 : 0.0);
    case DType::u8:
      return write_as<uint8_t>(at, value);
    case DType::i8:
      return write_as<int8_t>(at, value);
    case DType::i16:
      return write_as<int16_t>(at, value);
    case DType::i32:
      return write_as<int32_t>(at, value);
    case DType::i64:
      return write_as<int64_t>(at, value);
  }
  throw BugError("store_element: unknown dtype");
}

}  // namespace kw
