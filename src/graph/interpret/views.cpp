#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "graph/interpret/evaluators.h"

/// Views that are affine cost nothing; pad, dilate and cat copy.
namespace kw::graph::interpreter {
namespace {

size_t at(int axis) { return static_cast<size_t>(axis); }

Value like(const Value& x, const Node& node) {
  Value y = x;
  y.shape = node.shape;
  return y;
}

/// Copies `from` into the view `to` of the same shape; with bounds where `to` holds them.
void copy_into(const Value& from, const Value& to) {
  if (to.count() == 0) return;
  const Reader reader(from);
  const size_t rank = to.shape.size();
  const int64_t row = rank == 0 ? 1 : to.shape[rank - 1];
  const int64_t step = rank == 0 ? 1 : to.strides[rank - 1];
  Value rows = to;
  if (rank > 0) rows.shape[rank - 1] = 1;
  std::vector<int> axes;
  for (size_t i = 0; i + 1 < rank; ++i) axes.push_back(static_cast<int>(i));
  const std::vector<int64_t> starts = offsets_of(rows, axes);
  parallel_for(static_cast<int64_t>(starts.size()), std::max<int64_t>(1, (1 << 14) / row),
               [&](int64_t begin, int64_t end) {
                 std::vector<double> scratch(static_cast<size_t>(row));
                 for (int64_t r = begin; r < end; ++r) {
                   const int64_t start = to.offset + starts[static_cast<size_t>(r)];
                   const double* v = reader.values(r * row, row, scratch.data());
                   for (int64_t j = 0; j < row; ++j) to.buffer->value[static_cast<size_t>(start + j * step)] = v[j];
                   if (!to.has_bound()) continue;
                   const double* b = reader.bounds(r * row, row, scratch.data());
                   for (int64_t j = 0; j < row; ++j) to.buffer->bound[static_cast<size_t>(start + j * step)] = b[j];
                 }
               });
}

Result<Value> filled(const Context& context, const Node& node, double value, bool with_bound) {
  auto made = make_value(context, node.dtype, node.shape, with_bound);
  if (!made) return made;
  std::fill_n(made->buffer->value.get(), made->count(), value);
  if (with_bound) std::fill_n(made->buffer->bound.get(), made->count(), 0.0);
  return made;
}

/// New strides when the old axes can be split and merged without moving elements.
std::optional<Shape> reshaped_strides(const Value& x, const Shape& to) {
  Shape shape, strides;
  for (size_t i = 0; i < x.shape.size(); ++i) {
    if (x.shape[i] == 1) continue;
    if (!shape.empty() && strides.back() == x.strides[i] * x.shape[i]) {
      shape.back() *= x.shape[i];
      strides.back() = x.strides[i];
    } else {
      shape.push_back(x.shape[i]);
      strides.push_back(x.strides[i]);
    }
  }
  Shape result(to.size(), 1);
  size_t group = shape.size();
  int64_t left = 1;
  int64_t stride = 1;
  for (size_t i = to.size(); i-- > 0;) {
    if (to[i] == 1) continue;
    if (left == 1) {
      if (group-- == 0) return std::nullopt;
      left = shape[group];
      stride = strides[group];
    }
    if (left % to[i] != 0) return std::nullopt;
    result[i] = stride;
    stride *= to[i];
    left /= to[i];
  }
  return result;
}

}  // namespace

Result<Value> eval_constant(Context& context, const Node& node, std::span<const Value>) {
  const double value = node.as<ConstantAttr>().value;
  const bool held = node.dtype == DType::f64 || !is_float(node.dtype) ||
                    static_cast<double>(static_cast<float>(value)) == value || std::isnan(value);
  const bool narrow = limits_of(node.dtype).storage_roundoff > 0;
  auto made = filled(context, node, value, context.options.bounds && (!held || narrow));
  if (made && made->has_bound()) {
    store(made->buffer->value[0], made->buffer->bound[0], limits_of(node.dtype));
    made->buffer->bound[0] += held ? 0 : 0x1p-24 * std::fabs(value);
  }
  return made;
}

Result<Value> eval_iota(Context& context, const Node& node, std::span<const Value>) {
  auto made = make_value(context, node.dtype, node.shape, false);
  if (!made) return made;
  for (int64_t i = 0; i < node.shape[0]; ++i) made->buffer->value[static_cast<size_t>(i)] = static_cast<double>(i);
  return made;
}

Result<Value> eval_permute(Context&, const Node& node, std::span<const Value> in) {
  Value y = like(in[0], node);
  const std::vector<int>& perm = node.as<PermuteAttr>().perm;
  for (size_t i = 0; i < perm.size(); ++i) y.strides[i] = in[0].strides[at(perm[i])];
  return y;
}

Result<Value> eval_reshape(Context& context, const Node& node, std::span<const Value> in) {
  Value y = like(in[0], node);
  if (y.count() == 0) {
    y.strides = dense_strides(node.shape);
    return y;
  }
  if (auto strides = reshaped_strides(in[0], node.shape)) {
    y.strides = std::move(*strides);
    return y;
  }
  auto copy = dense(context, in[0]);
  if (!copy) return copy;
  copy->shape = node.shape;
  copy->strides = dense_strides(node.shape);
  return copy;
}

Result<Value> eval_expand(Context&, const Node& node, std::span<const Value> in) {
  Value y = like(in[0], node);
  for (size_t i = 0; i < y.shape.size(); ++i) {
    if (in[0].shape[i] == 1 && y.shape[i] != 1) y.strides[i] = 0;
  }
  return y;
}

Result<Value> eval_slice(Context&, const Node& node, std::span<const Value> in) {
  Value y = like(in[0], node);
  const SliceAttr& attr = node.as<SliceAttr>();
  for (size_t i = 0; i < y.shape.size(); ++i) {
    if (y.count() > 0) y.offset += attr.start[i] * y.strides[i];
    y.strides[i] *= attr.step[i];
  }
  return y;
}

Result<Value> eval_flip(Context&, const Node& node, std::span<const Value> in) {
  Value y = like(in[0], node);
  for (int axis : node.as<FlipAttr>().axes) {
    if (y.count() > 0) y.offset += (y.shape[at(axis)] - 1) * y.strides[at(axis)];
    y.strides[at(axis)] *= -1;
  }
  return y;
}

Result<Value> eval_window(Context&, const Node& node, std::span<const Value> in) {
  Value y = like(in[0], node);
  const WindowAttr& attr = node.as<WindowAttr>();
  for (size_t i = 0; i < attr.axes.size(); ++i) {
    y.strides.push_back(in[0].strides[at(attr.axes[i])] * attr.dilation[i]);
    y.strides[at(attr.axes[i])] *= attr.stride[i];
  }
  return y;
}

Result<Value> eval_pad(Context& context, const Node& node, std::span<const Value> in) {
  const PadAttr& attr = node.as<PadAttr>();
  auto made = filled(context, node, to_dtype_domain(node.dtype, attr.value), in[0].has_bound());
  if (!made) return made;
  Value inner = *made;
  inner.shape = in[0].shape;
  for (size_t i = 0; i < attr.lo.size(); ++i) inner.offset += attr.lo[i] * inner.strides[i];
  copy_into(in[0], inner);
  return made;
}

Result<Value> eval_dilate(Context& context, const Node& node, std::span<const Value> in) {
  auto made = filled(context, node, 0, in[0].has_bound());
  if (!made) return made;
  Value inner = *made;
  inner.shape = in[0].shape;
  const DilateAttr& attr = node.as<DilateAttr>();
  for (size_t i = 0; i < attr.axes.size(); ++i) inner.strides[at(attr.axes[i])] *= attr.factor[i];
  copy_into(in[0], inner);
  return made;
}

Result<Value> eval_cat(Context& context, const Node& node, std::span<const Value> in) {
  const bool with_bound = std::any_of(in.begin(), in.end(), [](const Value& x) { return x.has_bound(); });
  auto made = make_value(context, node.dtype, node.shape, with_bound);
  if (!made) return made;
  const size_t axis = at(node.as<CatAttr>().axis);
  Value part = *made;
  for (const Value& x : in) {
    part.shape = x.shape;
    copy_into(x, part);
    part.offset += x.shape[axis] * part.strides[axis];
  }
  return made;
}

}  // namespace kw::graph::interpreter
