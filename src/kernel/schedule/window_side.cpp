#include "kernel/schedule/window_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "kernel/schedule/blocks.h"

namespace kw::kernel::schedule {

using tile::Bind;
using tile::Block;
using tile::Expr;

namespace {

constexpr int64_t copy_grain = 8192;  // elements of one copy task: well above the cost of taking it

int64_t product(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

/// Rows that lie a multiple of 1 KiB apart share few cache sets: one more line between them.
int64_t spread(int64_t elements) {
  const int64_t lines = (elements + 15) / 16;
  return 16 * (lines % 16 == 0 ? lines + 1 : lines);
}

}  // namespace

std::optional<WindowSide> WindowSide::find(const graph::Graph& graph, const Piece& piece, const GemmProblem& problem,
                                           bool rows) {
  WindowSide side(graph, problem, rows);
  const graph::NodeId operand = side.side_.operand;
  const bool inside = std::find(piece.nodes.begin(), piece.nodes.end(), operand) != piece.nodes.end();
  if (!inside || !side.read_geometry()) return std::nullopt;
  return side;
}

bool WindowSide::read_labels(size_t spatial_axes, size_t tap_axes) {
  const std::vector<int>& labels = side_.labels;
  const auto spatial = labels.end() - static_cast<std::ptrdiff_t>(spatial_axes + tap_axes);
  const auto taps = labels.end() - static_cast<std::ptrdiff_t>(tap_axes);
  lead_labels_.assign(labels.begin(), spatial);
  tap_labels_.assign(taps, labels.end());
  if (!std::equal(spatial, taps, own_.labels.begin(), own_.labels.end())) return false;
  auto has = [](const std::vector<int>& list, int label) {
    return std::find(list.begin(), list.end(), label) != list.end();
  };
  for (int label : tap_labels_)
    if (!has(problem_.k.labels, label)) return false;
  for (int label : lead_labels_)
    if (!has(problem_.k.labels, label) && !has(problem_.outer.labels, label)) return false;
  for (int label : problem_.k.labels)
    if (!has(labels, label)) return false;
  return true;
}

bool WindowSide::read_geometry() {
  const Shape& shape = graph_[side_.operand].shape;
  image_ = side_.operand;
  graph::NodeId id = side_.operand;
  if (graph_[id].is<graph::ReshapeAttr>()) id = graph_[id].inputs[0];
  const auto* window = std::get_if<graph::WindowAttr>(&graph_[id].attr);
  const size_t n = window ? window->axes.size() : own_.labels.size(), taps = window ? n : 0;
  if (n == 0 || shape.size() < n + taps || !read_labels(n, taps)) return false;
  const auto rank = static_cast<std::ptrdiff_t>(n);
  stride_.assign(n, 1);
  dilation_.assign(n, 1);
  if (window) {
    image_ = graph_[id].inputs[0];
    const Shape &image = graph_[image_].shape, &windowed = graph_[id].shape;
    if (image.size() < n || !std::equal(shape.end() - 2 * rank, shape.end(), windowed.end() - 2 * rank)) return false;
    for (size_t i = 0; i < n; ++i)
      if (window->axes[i] != static_cast<int>(image.size() - n + i)) return false;
    stride_ = window->stride;
    dilation_ = window->dilation;
  }
  const Shape& image = graph_[image_].shape;
  lead_.assign(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(n + taps));
  places_ = own_.shape;
  spatial_.assign(image.end() - rank, image.end());
  phase_ = (spatial_.back() + stride_.back() - 1) / stride_.back();
  pitch_.assign(n, 1);
  for (size_t i = n - 1, step = static_cast<size_t>(row_pitch()); i-- > 0; step *= static_cast<size_t>(spatial_[i]))
    pitch_[i] = static_cast<int64_t>(step);
  planes_ = product(lead_);
  plane_pitch_ = spread(rows() * row_pitch());
  if (const auto* pad = std::get_if<graph::PadAttr>(&graph_[image_].attr))
    pad_lo_ = pad->lo.back(), pad_hi_ = pad->hi.back();
  return true;
}

int64_t WindowSide::rows() const { return product(spatial_) / spatial_.back(); }

int64_t WindowSide::copy_tasks() const {
  const int64_t chunk = std::max<int64_t>(1, copy_grain / row_pitch());
  return (planes_ * rows() + chunk - 1) / chunk;
}

Block WindowSide::copy_row(ValueReader& reader, const std::string& array, const Expr& plane, const Expr& row,
                           int lanes) const {
  const Shape& image = graph_[image_].shape;
  const Shape image_lead(image.begin(), image.end() - static_cast<std::ptrdiff_t>(spatial_.size()));
  const int64_t width = spatial_.back(), s = stride_.back();
  Block block;
  for (int64_t r = 0; r < std::min(s, width); ++r) {
    // Positions q of this phase hold the elements w = q * s + r: those before `lo` and from `hi` on are padding.
    const int64_t lo = std::max<int64_t>(0, (pad_lo_ - r + s - 1) / s), count = (width - r + s - 1) / s;
    const int64_t hi = std::clamp<int64_t>((width - pad_hi_ - r + s - 1) / s, std::min(lo, count), count);
    const int64_t whole = lo + std::max<int64_t>(0, hi - lo) / lanes * lanes;
    auto part = [&](const std::string& tag, int64_t from, int64_t to, int step) {
      if (from >= to) return;
      const std::string qn = fmt::format("q{}{}", tag, r);
      // A vector's variable must stay one, even where the loop turns once.
      const Expr q = tile::index_var_in(qn, from, step > 1 ? std::max(to - step, from + 1) : to - 1);
      Coords at = coords_of(image_lead, plane);
      for (const Expr& e : coords_of(Shape(spatial_.begin(), spatial_.end() - 1), row)) at.push_back(e);
      at.push_back(q * s + r);
      reader.forget();
      if (step > 1) reader.vectorise(qn, step);
      Block body;
      const Expr value = reader.read(image_, at, body);
      const Expr index = plane * plane_pitch_ + row * row_pitch() + r * phase_ + q;
      body.push_back(tile::Store{array, problem_.dtype, {index}, tile::splat(value, step)});
      reader.forget();
      reader.scalar();
      block.push_back(tile::loop(Bind::serial, qn, from, to, std::move(body), step));
    };
    part("a", 0, std::min(lo, count), 1);
    part("b", lo, whole, lanes);
    part("c", whole, hi, 1);
    part("d", std::max(hi, lo), count, 1);
  }
  return block;
}

Block WindowSide::copy_body(ValueReader& reader, const std::string& array, int lanes) const {
  const int64_t chunk = std::max<int64_t>(1, copy_grain / row_pitch()), total = planes_ * rows();
  const Expr task = tile::index_var("task", copy_tasks());
  const Expr line = tile::index_var("line", total);
  Block body;
  body.push_back(tile::Let{"plane", line / rows()});
  body.push_back(tile::Let{"row", line % rows()});
  const Expr plane = tile::index_var("plane", planes_), row = tile::index_var("row", rows());
  for (auto& stmt : copy_row(reader, array, plane, row, lanes)) body.push_back(std::move(stmt));
  return one(tile::loop(
      Bind::grid, "task", 0, copy_tasks(),
      one(tile::loop(Bind::serial, "line", task * chunk, tile::min_of(task * chunk + chunk, total), std::move(body)))));
}

Expr WindowSide::base(const Expr& outer) const {
  LabelValues values;
  bind_labels(problem_.outer, outer, values);
  Coords at;
  for (int label : lead_labels_) at.push_back(values.count(label) ? values[label] : Expr(0));
  return linear_index(lead_, at) * plane_pitch_;
}

std::string WindowSide::tap_offset() const {
  std::string text = "0";
  for (size_t j = 0; j < problem_.k.labels.size(); ++j) {
    const int label = problem_.k.labels[j];
    const auto lead = std::find(lead_labels_.begin(), lead_labels_.end(), label);
    if (lead != lead_labels_.end()) {
      const int64_t step = product(Shape(lead_.begin() + (lead - lead_labels_.begin()) + 1, lead_.end()));
      text += fmt::format(" + i{} * {}", j, step * plane_pitch_);
      continue;
    }
    const auto axis =
        static_cast<size_t>(std::find(tap_labels_.begin(), tap_labels_.end(), label) - tap_labels_.begin());
    const int64_t d = dilation_[axis], s = stride_[axis];
    text += axis + 1 < pitch_.size() ? fmt::format(" + i{} * {}", j, d * pitch_[axis])
                                     : fmt::format(" + i{0} * {1} % {2} * {3} + i{0} * {1} / {2}", j, d, s, phase_);
  }
  return text;
}

std::string WindowSide::gather_text(const std::string& name, int width, int lanes) const {
  const std::string scalar = problem_.dtype == DType::f64 ? "double" : "float";
  const int bytes = problem_.dtype == DType::f64 ? 8 : 4;
  std::string text = fmt::format(
      "static __attribute__((noinline)) void {0}(const {1}* __restrict from, int64_t base, {1}* __restrict to, "
      "int64_t at, int64_t n0, int64_t k0, int64_t kc) {{\n  typedef {1} U __attribute__((vector_size({2}), "
      "aligned({3})));\n"
      "  int64_t source[{4}], target[{4}], count = 0;\n  to += at;\n"
      "  for (int64_t put = 0; put < {5} && n0 + put < {6};) {{\n"
      "    int64_t rest = n0 + put, place = rest % {7}, length = {7} - place;\n    rest /= {7};\n",
      name, scalar, lanes * bytes, bytes, 2 * width + 2, width, own_.size(), places_.back());
  for (size_t axis = places_.size() - 1; axis-- > 0;)
    text += fmt::format("    place += rest % {0} * {1}; rest /= {0};\n", places_[axis], stride_[axis] * pitch_[axis]);
  text += fmt::format(
      "    if (length > {0} - put) length = {0} - put;\n    for (int64_t v = 0; v < length; v += {1}) {{ "
      "source[count] = place + v; target[count++] = put + v; }}\n    put += length;\n  }}\n  int64_t k = k0;\n",
      width, lanes);
  const auto& sizes = problem_.k.shape;
  for (size_t j = sizes.size(); j-- > 0;) text += fmt::format("  int64_t i{0} = k % {1}; k /= {1};\n", j, sizes[j]);
  text += fmt::format(
      "  for (int64_t turn = 0; turn < kc; ++turn, to += {}) {{\n    const {}* p = from + base + {};\n"
      "    for (int64_t c = 0; c < count; ++c) *(U*)(to + target[c]) = *(const U*)(p + source[c]);\n    ",
      width, scalar, tap_offset());
  for (size_t j = sizes.size(); j-- > 0;)
    text += j > 0 ? fmt::format("if (++i{0} == {1}) {{ i{0} = 0; ", j, sizes[j]) : fmt::format("++i0;");
  return text + std::string(sizes.size() - 1, '}') + "\n  }\n}\n";
}

}  // namespace kw::kernel::schedule
