#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/dtype.h"

namespace kw {

using Shape = std::vector<int64_t>;
int64_t element_count(const Shape& shape);

/// A dense row-major tensor on the host. Copies share the bytes; `data` may point into a mapped file.
struct Tensor {
  DType dtype = DType::f32;
  Shape shape;
  std::shared_ptr<std::byte[]> owner;  // may be an aliasing pointer that keeps a mapping alive
  std::byte* data = nullptr;

  static Tensor zeros(DType dtype, Shape shape);  // 64-byte aligned
  size_t bytes() const;
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

/// One element as double (exact for every dtype but large i64).
double load_element(const Tensor& tensor, int64_t index);
/// Rounds to the tensor's dtype (to nearest even; bool: != 0).
void store_element(Tensor& tensor, int64_t index, double value);

}  // namespace kw
