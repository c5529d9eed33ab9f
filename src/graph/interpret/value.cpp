#include "graph/interpret/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <new>

#include "base/parallel.h"

namespace kw::graph::interpreter {

std::shared_ptr<Buffer> Buffer::make(std::shared_ptr<Ledger> ledger, int64_t count, bool with_bound) {
  const auto elements = static_cast<size_t>(std::max<int64_t>(count, 1));
  const size_t bytes = elements * sizeof(double) * (with_bound ? 2 : 1);
  if (bytes > ledger->limit_bytes || ledger->live_bytes.load() > ledger->limit_bytes - bytes) return nullptr;
  ledger->live_bytes += bytes;
  std::shared_ptr<Buffer> buffer(new Buffer(std::move(ledger), bytes));
  try {
    buffer->value = std::make_unique_for_overwrite<double[]>(elements);
    if (with_bound) buffer->bound = std::make_unique_for_overwrite<double[]>(elements);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  return buffer;
}

Buffer::~Buffer() { ledger_->live_bytes -= bytes_; }

Shape dense_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(shape[i], 1);
  return strides;
}

Limits limits_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return {FLT_MAX, FLT_MIN, 0};
    case DType::f16:
      return {65519.99, 0x1p-24, unit_roundoff(DType::f16)};
    case DType::bf16:
      return {3.39e38, FLT_MIN, unit_roundoff(DType::bf16)};
    case DType::f64:
      return {DBL_MAX, DBL_MIN, 0};
    default:
      return {std::numeric_limits<double>::infinity(), 0, 0};
  }
}

double largest_sum(DType dtype) { return dtype == DType::f64 ? DBL_MAX : FLT_MAX; }

double Context::roundoff(DType dtype) const {
  if (dtype == DType::f64) return 0x1p-53;
  return is_float(dtype) ? options.roundoff : 0;
}

void settle_beyond(double& value, double& bound, const Limits& limits) {
  const double inf = std::numeric_limits<double>::infinity();
  if (std::isnan(value)) return;  // the caller knows whether it is certain
  if (std::isnan(bound)) bound = inf;
  if (std::fabs(value) > limits.largest) {
    if (std::isfinite(value)) bound = std::fabs(value) - bound > limits.largest ? 0 : inf;
    value = std::copysign(inf, value);
  } else {
    bound = inf;
  }
}

void Context::parallel(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) const {
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    if (!late()) body(begin, end);
  });
}

Failure out_of_memory(const Context& context) {
  return {"interpret.memory",
          fmt::format("the float64 reference needs more than {} MB", context.options.memory_limit_bytes >> 20),
          "use smaller example inputs, or raise the memory limit"};
}

Result<Value> make_value(const Context& context, DType dtype, const Shape& shape, bool with_bound) {
  Value value{dtype, shape, dense_strides(shape), 0, nullptr, {}};
  value.buffer = Buffer::make(context.ledger, value.count(), with_bound);
  if (!value.buffer) return out_of_memory(context);
  return value;
}

Result<Value> load_value(const Context& context, const Tensor& tensor) {
  auto made = make_value(context, tensor.dtype, tensor.shape, false);
  if (!made) return made;
  double* out = made->buffer->value.get();
  context.parallel(made->count(), 1 << 16, [&](int64_t begin, int64_t end) {
    if (tensor.dtype == DType::f32) {
      for (int64_t i = begin; i < end; ++i) out[i] = static_cast<double>(tensor.as<float>()[i]);
    } else {
      for (int64_t i = begin; i < end; ++i) out[i] = load_element(tensor, i);
    }
  });
  return made;
}

Result<Value> dense(const Context& context, const Value& value) {
  bool is_dense = true;
  const Shape wanted = dense_strides(value.shape);
  for (size_t i = 0; i < wanted.size(); ++i) is_dense &= value.shape[i] == 1 || value.strides[i] == wanted[i];
  if (is_dense) {
    Value same = value;
    same.strides = wanted;
    return same;
  }
  auto made = make_value(context, value.dtype, value.shape, value.has_bound());
  if (!made) return made;
  const Reader reader(value);
  context.parallel(made->count(), 1 << 14, [&](int64_t begin, int64_t end) {
    const auto copy = [&](const double* from, double* to) {
      if (from != to) std::copy(from, from + (end - begin), to);
    };
    double* out = made->buffer->value.get() + begin;
    copy(reader.values(begin, end - begin, out), out);
    if (!value.has_bound()) return;
    double* out_bound = made->buffer->bound.get() + begin;
    copy(reader.bounds(begin, end - begin, out_bound), out_bound);
  });
  return made;
}

Reader::Reader(const Value& value)
    : value_(value.buffer->value.get() + value.offset),
      bound_(value.has_bound() ? value.buffer->bound.get() + value.offset : nullptr) {
  for (size_t i = 0; i < value.shape.size(); ++i) {
    if (value.shape[i] == 1) continue;
    if (!shape_.empty() && strides_.back() == value.strides[i] * value.shape[i]) {
      shape_.back() *= value.shape[i];
      strides_.back() = value.strides[i];
    } else {
      shape_.push_back(value.shape[i]);
      strides_.push_back(value.strides[i]);
    }
  }
}

const double* Reader::read(const double* base, int64_t begin, int64_t count, double* scratch) const {
  if (shape_.empty()) return base;
  const size_t last = shape_.size() - 1;
  if (last == 0 && strides_[0] == 1) return base + begin;
  int64_t index[64];
  int64_t rest = begin;
  int64_t offset = 0;
  for (size_t i = shape_.size(); i-- > 0;) {
    index[i] = rest % shape_[i];
    rest /= shape_[i];
    offset += index[i] * strides_[i];
  }
  for (int64_t done = 0; done < count;) {
    const int64_t run = std::min(count - done, shape_[last] - index[last]);
    for (int64_t j = 0; j < run; ++j) scratch[done + j] = base[offset + j * strides_[last]];
    done += run;
    offset += (run - 1) * strides_[last];
    index[last] += run - 1;
    for (size_t i = last + 1; i-- > 0;) {  // the odometer's next place
      offset += strides_[i];
      if (++index[i] < shape_[i]) break;
      offset -= index[i] * strides_[i];
      index[i] = 0;
    }
  }
  return scratch;
}

const double* Reader::values(int64_t begin, int64_t count, double* scratch) const {
  return read(value_, begin, count, scratch);
}

const double* Reader::bounds(int64_t begin, int64_t count, double* scratch) const {
  if (bound_ != nullptr) return read(bound_, begin, count, scratch);
  std::fill(scratch, scratch + count, 0.0);
  return scratch;
}

std::vector<int64_t> offsets_of(const Value& value, std::span<const int> axes) {
  std::vector<int64_t> offsets = {0};
  for (int axis : axes) {
    const int64_t size = value.shape[static_cast<size_t>(axis)];
    const int64_t stride = value.strides[static_cast<size_t>(axis)];
    std::vector<int64_t> wider;
    wider.reserve(offsets.size() * static_cast<size_t>(size));
    for (int64_t offset : offsets) {
      for (int64_t i = 0; i < size; ++i) wider.push_back(offset + i * stride);
    }
    offsets = std::move(wider);
  }
  return offsets;
}

}  // namespace kw::graph::interpreter
