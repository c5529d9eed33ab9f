#pragma once
#include <string>

#include "module/json_cursor.h"
#include "module/program.h"

namespace kw::module {

/// The serialised number of a dtype; fails with pt2.dtype, naming `owner`, where no DType matches.
DType read_dtype(const JsonCursor& json, const std::string& owner);
/// A serialised TensorMeta. fails: pt2.dynamic_shape, pt2.dtype, pt2.hostile (sizes negative or beyond 2^48 bytes)
TensorMeta read_tensor_meta(const JsonCursor& json, const std::string& owner);
/// Whether sizes, strides and offset are nonnegative, as many as each other, and reach no further than 2^48 bytes.
bool is_addressable(const TensorMeta& meta);
/// Whether a tensor of this meta is dense and row-major.
bool is_contiguous(const TensorMeta& meta);
/// Bytes of its storage that the tensor reaches, from the storage's start; 0 when it has no elements.
size_t reach_bytes(const TensorMeta& meta);

}  // namespace kw::module
