#include <fmt/format.h>

#include <algorithm>

#include "kernel/schedule/window_shape.h"

namespace kw::kernel::schedule {
namespace {

/// Text of the loops that combine taps; "b" is the staged copy, "out" the dense result.
class FilterText {
 public:
  FilterText(const WindowProblem& problem, const WindowShape& shape, DType dtype)
      : problem_(problem),
        shape_(shape),
        scalar_(dtype == DType::f64 ? "double" : "float"),
        vector_(dtype == DType::f64 ? "f64v" : "f32v") {}

  std::string text(const std::string& name) {
    text_ = fmt::format("static __attribute__((noinline)) void {0}({1}* b, const {1}* w, {1}* KW_RESTRICT out) {{\n",
                        name, scalar_);
    if (problem_.weight >= 0)
      weighted_pass();
    else
      reducing_passes();
    return text_ + "}\n";
  }

 private:
  struct Tap {
    int64_t offset;
    std::string weight;  // empty: none
  };

  void weighted_pass() {
    std::vector<Tap> taps{{0, ""}};
    for (size_t axis = 0; axis < shape_.axes.size(); ++axis) {
      std::vector<Tap> next;
      for (const Tap& tap : taps)
        for (int64_t t = 0; t < problem_.axes[axis].taps; ++t)
          next.push_back({tap.offset + shape_.tap_offset(problem_, axis, t), ""});
      taps = std::move(next);
    }
    for (size_t i = 0; i < taps.size(); ++i) {
      taps[i].weight = fmt::format("w{}", i);
      text_ += fmt::format("  const kw_{0} w{1} = kw_splat_{0}(w[{1}]);\n", vector_, i);
    }
    int64_t count = shape_.volume;
    for (const StagedAxis& axis : shape_.axes) count -= (axis.cells - axis.out) * axis.step;
    last_pass(taps, count);
  }

  /// Sums and extrema of a box are taken one axis after the other, the last axis first, in place.
  void reducing_passes() {
    std::vector<size_t> axes;
    for (size_t i = shape_.axes.size(); i-- > 0;)
      if (problem_.axes[i].taps > 1 && !(shape_.late && i + 1 == shape_.axes.size())) axes.push_back(i);
    int64_t unused = 0;  // cells at the end that no later pass reads
    for (size_t i : axes) {
      const StagedAxis& axis = shape_.axes[i];
      unused += (axis.cells - axis.out) * axis.step;
      std::vector<Tap> taps;
      for (int64_t t = 0; t < problem_.axes[i].taps; ++t) taps.push_back({shape_.tap_offset(problem_, i, t), ""});
      if (i == axes.back() && !shape_.late)
        last_pass(taps, shape_.volume - unused);
      else
        flat_pass(taps, axis.phase_step - unused, "b");
    }
    if (shape_.late) return late_pass();
    if (axes.empty()) last_pass({{0, ""}}, shape_.volume);
  }

  std::string load(const Tap& tap, int64_t more) const {
    const std::string value = fmt::format("kw_load_{}(p + {})", vector_, tap.offset + more);
    return tap.weight.empty() ? value : fmt::format("{} * {}", value, tap.weight);
  }

  std::string combined(const std::string& a, const std::string& b) const {
    if (problem_.weight >= 0 || problem_.op == graph::ReduceOp::sum) return fmt::format("{} + {}", a, b);
    return fmt::format("kw_{}({}, {})", problem_.op == graph::ReduceOp::max ? "max" : "min", a, b);
  }

  /// `count` vectors, `apart` elements from each other in the copy, to "to" and `to_apart`.
  void block(const std::vector<Tap>& taps, int count, int64_t apart, int64_t to_apart) {
    for (int r = 0; r < count; ++r) {
      text_ += fmt::format("    kw_{} a{} = {};\n", vector_, r, load(taps[0], r * apart));
      for (size_t t = 1; t < taps.size(); ++t)
        text_ += fmt::format("    a{0} = {1};\n", r, combined(fmt::format("a{}", r), load(taps[t], r * apart)));
    }
    for (int r = 0; r < count; ++r) text_ += fmt::format("    kw_store_{}(to + {}, a{});\n", vector_, r * to_apart, r);
  }

  /// Whole vectors run on past the ends of rows.
  void flat_pass(const std::vector<Tap>& taps, int64_t count, const std::string& to) {
    const int64_t lanes = shape_.lanes, vectors = (count + lanes - 1) / lanes;
    const int unroll = static_cast<int>(vectors <= 8 ? vectors : 4);
    text_ += fmt::format("  for (int64_t q = 0; q < {}; q += {}) {{\n    const {}* p = b + q; {}* to = {} + q;\n",
                         count, unroll * lanes, scalar_, scalar_, to);
    block(taps, unroll, lanes, lanes);
    text_ += "  }\n";
  }

  bool dense() const {
    return std::all_of(shape_.axes.begin() + 1, shape_.axes.end(),
                       [](const StagedAxis& axis) { return axis.cells == axis.out; });
  }

  void last_pass(const std::vector<Tap>& taps, int64_t count) {
    const int64_t row = shape_.row(), lanes = shape_.lanes;
    if (dense()) return flat_pass(taps, count, "out");
    const int64_t vectors = (row + lanes - 1) / lanes;
    if (row >= lanes && vectors * lanes * 5 <= shape_.axes.back().cells * 7) return row_pass(taps);
    flat_pass(taps, count, "b");
    close_up();
  }

  /// Opens loops over all axes but the last `inner` ones; their places are i0, i1, ...
  void open_outer(size_t inner) {
    for (size_t i = 0; i + inner < shape_.axes.size(); ++i)
      text_ += fmt::format("  for (int64_t i{0} = 0; i{0} < {1}; ++i{0})\n", i, shape_.axes[i].out);
  }
  std::string outer_place(size_t inner) const {
    std::string text = "0";
    for (size_t i = 0; i + inner < shape_.axes.size(); ++i) text += fmt::format(" + i{} * {}", i, shape_.axes[i].step);
    return text;
  }
  std::string outer_out(size_t inner) const {
    std::string text = "0";
    int64_t size = 1;
    for (size_t i = shape_.axes.size(); i-- > 0;
         size *= i + 1 == shape_.axes.size() ? shape_.row() : shape_.axes[i].out)
      if (i + inner < shape_.axes.size()) text += fmt::format(" + i{} * {}", i, size);
    return text;
  }

  /// Vectors end with their row (the last one overlaps the one before); rows go four at a time, sharing loads.
  void row_pass(const std::vector<Tap>& taps) {
    const StagedAxis& rows = shape_.axes[shape_.axes.size() - 2];
    open_outer(2);
    text_ += "  {\n";
    int64_t from = 0;
    for (int together : {4, 1}) {
      const int64_t to = rows.out / together * together;
      if (to <= from) continue;
      text_ += fmt::format(
          "  for (int64_t r = {0}; r < {1}; r += {2})\n  for (int64_t c0 = 0; c0 < {3}; c0 += {4}) {{\n"
          "    const int64_t c = c0 < {5} ? c0 : {5};\n    const {6}* p = b + ({7} + r * {8} + c);\n"
          "    {6}* to = out + ({9} + r * {3} + c);\n",
          from, to, together, shape_.row(), shape_.lanes, shape_.row() - shape_.lanes, scalar_, outer_place(2),
          rows.step, outer_out(2));
      block(taps, together, rows.step, shape_.row());
      text_ += "  }\n";
      from = to;
    }
    text_ += "  }\n";
  }

  /// Copies the rows in use next to each other, in order: what a vector has too much the next row overwrites.
  void close_up() {
    open_outer(1);
    text_ += fmt::format(
        "  for (int64_t c = 0; c < {0}; c += {1})\n    kw_store_{2}(out + ({3} + c), kw_load_{2}(b + ({4} + c)));\n",
        shape_.row(), shape_.lanes, vector_, outer_out(1), outer_place(1));
  }

  /// The last axis row by row, when all others are done: a row is split by phase, then its taps are combined.
  void late_pass() {
    const StagedAxis& late = *shape_.late;
    const WindowAxis& w = problem_.axes.back();
    // Whole vectors where the copy's slack has room for what they read beyond the row.
    const int64_t lanes = shape_.lanes, whole = (late.cells + lanes - 1) / lanes * lanes;
    const int64_t cells = w.stride * lanes <= shape_.slack() ? whole : late.cells;
    text_ += fmt::format("  alignas(64) {} s[{}] = {{}};\n", scalar_, late.phases * cells + shape_.slack());
    open_outer(1);
    text_ += fmt::format("  {{\n    const {0}* row = b + ({1});\n", scalar_, outer_place(1));
    for (int64_t f = 0; f < late.phases; ++f)
      text_ += fmt::format("    for (int64_t c = 0; c < {0}; ++c) s[{1} + c] = row[c * {2} + {3}];\n", cells, f * cells,
                           w.stride, f * late.grain);
    std::vector<Tap> taps;
    for (int64_t t = 0; t < w.taps; ++t) {
      const int64_t reach = t * w.dilation;
      taps.push_back({reach % w.stride / late.grain * cells + reach / w.stride, ""});
    }
    text_ += fmt::format(
        "    for (int64_t c = 0; c < {0}; c += {1}) {{\n    const {2}* p = s + c;\n    {2}* to = out + ({3} + c);\n",
        late.out, shape_.lanes, scalar_, outer_out(1));
    block(taps, 1, 0, 0);
    text_ += "    }\n  }\n";
  }

  const WindowProblem& problem_;
  const WindowShape& shape_;
  const std::string scalar_, vector_;
  std::string text_;
};

}  // namespace

std::string window_filter_text(const std::string& name, const WindowProblem& problem, const WindowShape& shape,
                               DType dtype) {
  return FilterText(problem, shape, dtype).text(name);
}

}  // namespace kw::kernel::schedule
