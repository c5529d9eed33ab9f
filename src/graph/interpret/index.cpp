#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <numeric>

#include "base/parallel.h"
#include "graph/interpret/evaluators.h"

/// Gather, scatter and sort. What an uncertain index picks is as uncertain as its candidates differ; without a list of
/// them, and in a scatter, its bound is infinite.
namespace kw::graph::interpreter {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

Failure index_failure(double index, int64_t size) {
  return {"interpret.index", fmt::format("index {} is out of range for an axis of size {}", index, size),
          "check that the example inputs hold valid indices"};
}

/// Where the elements addressed by each index combination start inside the data, and which of them are uncertain.
struct Places {
  std::vector<int64_t> offsets;
  std::vector<char> uncertain;
  /// Where else an uncertain place may start, as offsets; empty lists where anything is possible.
  std::unordered_map<size_t, std::vector<int64_t>> others;
};

/// The other starts of place `i` when index `k` is the only uncertain one there.
void add_others(Places& places, size_t i, const Value& index, int64_t at, double value, int64_t stride) {
  std::vector<int64_t>& others = places.others[i];
  const auto found = index.buffer->candidates.find(index.offset + at);
  const bool alone = !places.uncertain[i];
  others.clear();
  if (!alone || found == index.buffer->candidates.end()) return;
  for (const int64_t candidate : found->second) others.push_back((candidate - static_cast<int64_t>(value)) * stride);
}

Result<Places> find_places(const Value& data, const std::vector<int>& axes, std::span<const Value> indices) {
  const int64_t count = indices[0].count();
  Places places{
      std::vector<int64_t>(static_cast<size_t>(count), 0), std::vector<char>(static_cast<size_t>(count), 0), {}};
  std::vector<double> scratch(static_cast<size_t>(count));
  for (size_t k = 0; k < axes.size(); ++k) {
    const int64_t size = data.shape[static_cast<size_t>(axes[k])];
    const int64_t stride = data.strides[static_cast<size_t>(axes[k])];
    const Reader reader(indices[k]);
    const double* v = reader.values(0, count, scratch.data());
    for (int64_t i = 0; i < count; ++i) {
      if (!(v[i] >= 0 && v[i] < static_cast<double>(size))) return index_failure(v[i], size);
      places.offsets[static_cast<size_t>(i)] += static_cast<int64_t>(v[i]) * stride;
    }
    if (!indices[k].has_bound()) continue;
    const std::vector<double> picked(v, v + count);
    const double* b = reader.bounds(0, count, scratch.data());
    std::vector<int> all(indices[k].shape.size());
    std::iota(all.begin(), all.end(), 0);
    const std::vector<int64_t> at = offsets_of(indices[k], all);
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      if (!(b[i] > 0)) continue;
      add_others(places, i, indices[k], at[i], picked[i], stride);
      places.uncertain[i] = 1;
    }
  }
  return places;
}

/// Offsets of the axes before axes[0] and of the remaining ones: what surrounds the index in the result.
struct Surroundings {
  std::vector<int64_t> before, after;
};

Surroundings surroundings(const Value& data, const std::vector<int>& axes) {
  std::vector<int> before, after;
  for (int i = 0; i < static_cast<int>(data.shape.size()); ++i) {
    if (std::binary_search(axes.begin(), axes.end(), i)) continue;
    (i < axes[0] ? before : after).push_back(i);
  }
  return {offsets_of(data, before), offsets_of(data, after)};
}

struct Cell {
  double value, bound;
};

Cell combine_set(Cell, Cell y, double) { return y; }
Cell combine_add(Cell x, Cell y, double u) {
  const double value = x.value + y.value;
  return {value, x.bound + y.bound + 2 * u * (std::fabs(x.value) + std::fabs(y.value))};
}
Cell combine_mul(Cell x, Cell y, double u) {
  const double value = x.value * y.value;
  return {value,
          std::fabs(x.value) * y.bound + std::fabs(y.value) * x.bound + x.bound * y.bound + 2 * u * std::fabs(value)};
}
template <ScalarOp Op>
Cell combine_extreme(Cell x, Cell y, double) {
  const double v[] = {x.value, y.value, 0};
  const double b[] = {x.bound, y.bound, 0};
  const double value = scalar_row(Op).value(v[0], v[1], 0);
  return {value, scalar_row(Op).bound(v, b, value)};
}
using Combine = Cell (*)(Cell, Cell, double);
constexpr Combine combines[] = {combine_set, combine_add, combine_mul, combine_extreme<ScalarOp::max>,
                                combine_extreme<ScalarOp::min>};

/// Sorts one row's indices: NaN is the largest, equal values keep their order.
void sort_row(const double* v, std::vector<int64_t>& order, bool largest) {
  std::iota(order.begin(), order.end(), 0);
  const auto less = [](double x, double y) { return std::isnan(y) ? !std::isnan(x) : x < y; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t i, int64_t j) { return largest ? less(v[j], v[i]) : less(v[i], v[j]); });
}

/// How far what may be picked instead reaches from the element at `from`.
double spread(const Value& data, const Places& places, size_t place, size_t from) {
  const std::vector<int64_t>& others = places.others.at(place);
  if (others.empty()) return inf;
  const double value = data.buffer->value[from];
  double reach = 0;
  for (const int64_t away : others) {
    const size_t at = static_cast<size_t>(static_cast<int64_t>(from) + away);
    const double other = data.buffer->value[at], bound = data.has_bound() ? data.buffer->bound[at] : 0;
    const double distance = value == other ? bound : std::fabs(other - value) + bound;
    reach = std::isnan(distance) ? inf : std::max(reach, distance);
    if (std::isinf(reach)) return inf;
  }
  return reach;
}

constexpr size_t max_candidates = 64;  // of one place; more are not listed

/// Which indices may stand at each of the first k places: the p-th value lies between the p-th of all lower ends and
/// the p-th of all upper ends, so its index is one whose interval meets that.
class Candidates {
 public:
  Candidates(const double* v, const double* b, size_t n, bool largest) : lower_(n), upper_(n) {
    const double sign = largest ? 1 : -1;
    for (size_t i = 0; i < n; ++i) {
      const double middle = std::isnan(v[i]) ? sign * inf : sign * v[i];
      lower_[i] = b[i] == 0 ? middle : std::isinf(b[i]) ? -inf : middle - b[i];
      upper_[i] = b[i] == 0 ? middle : std::isinf(b[i]) ? inf : middle + b[i];
    }
    lower_sorted_ = lower_, upper_sorted_ = upper_;
    std::sort(lower_sorted_.begin(), lower_sorted_.end(), std::greater<>());
    std::sort(upper_sorted_.begin(), upper_sorted_.end(), std::greater<>());
  }

  /// Empty when there are too many to list.
  std::vector<int64_t> at(size_t place) const {
    std::vector<int64_t> found;
    for (size_t i = 0; i < lower_.size(); ++i)
      if (upper_[i] >= lower_sorted_[place] && lower_[i] <= upper_sorted_[place]) {
        if (found.size() == max_candidates) return {};
        found.push_back(static_cast<int64_t>(i));
      }
    return found;
  }

 private:
  std::vector<double> lower_, upper_, lower_sorted_, upper_sorted_;
};

/// Marks places whose occupant may be another when values move inside their bounds.
void mark_uncertain(const double* v, const double* b, const std::vector<int64_t>& order, bool largest,
                    std::vector<char>& uncertain) {
  const size_t n = order.size();
  const double sign = largest ? 1 : -1;
  std::vector<double> later(n + 1, -inf);  // the highest that elements from here on may reach
  const auto at = [&](size_t p) { return static_cast<size_t>(order[p]); };
  for (size_t p = n; p-- > 0;) later[p] = std::fmax(later[p + 1], sign * v[at(p)] + b[at(p)]);
  double lowest = inf;
  for (size_t p = 0; p + 1 < n; ++p) {
    lowest = std::fmin(lowest, sign * v[at(p)] - b[at(p)]);
    if (lowest < later[p + 1]) uncertain[p] = uncertain[p + 1] = 1;
  }
}

}  // namespace

Result<Value> eval_gather(Context& context, const Node& node, std::span<const Value> in) {
  const Value& data = in[0];
  const std::vector<int>& axes = node.as<GatherAttr>().axes;
  const auto places = find_places(data, axes, in.subspan(1));
  if (!places) return places.failure();
  const bool doubtful = std::any_of(places->uncertain.begin(), places->uncertain.end(), [](char c) { return c != 0; });
  const bool with_bound = data.has_bound() || doubtful;
  auto made = make_value(context, node.dtype, node.shape, with_bound);
  if (!made || made->count() == 0) return made;
  const Surroundings around = surroundings(data, axes);
  const size_t inner = around.after.size();
  const size_t middle = places->offsets.size();
  const auto rows = static_cast<int64_t>(around.before.size() * middle);
  const auto grain = std::max<int64_t>(1, (1 << 14) / static_cast<int64_t>(inner));
  context.parallel(rows, grain, [&](int64_t begin, int64_t end) {
    for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r) {
      const size_t place = r % middle;
      const int64_t base = data.offset + around.before[r / middle] + places->offsets[place];
      for (size_t j = 0; j < inner; ++j) {
        const auto from = static_cast<size_t>(base + around.after[j]);
        made->buffer->value[r * inner + j] = data.buffer->value[from];
        if (!with_bound) continue;
        const double bound = data.has_bound() ? data.buffer->bound[from] : 0;
        made->buffer->bound[r * inner + j] = places->uncertain[place] ? spread(data, *places, place, from) : bound;
      }
    }
  });
  return made;
}

Result<Value> eval_scatter(Context& context, const Node& node, std::span<const Value> in) {
  const ScatterAttr& attr = node.as<ScatterAttr>();
  const bool with_bound = context.options.bounds;
  auto made = make_value(context, node.dtype, node.shape, with_bound);
  if (!made || made->count() == 0) return made;
  const int64_t count = made->count();
  std::vector<double> scratch(static_cast<size_t>(count));
  const Reader base(in[0]);
  std::copy_n(base.values(0, count, scratch.data()), count, made->buffer->value.get());
  if (with_bound) std::copy_n(base.bounds(0, count, scratch.data()), count, made->buffer->bound.get());
  const auto places = find_places(*made, attr.axes, in.subspan(2));
  if (!places) return places.failure();
  const bool doubtful = std::any_of(places->uncertain.begin(), places->uncertain.end(), [](char c) { return c != 0; });
  const Surroundings around = surroundings(*made, attr.axes);
  const Reader updates(in[1]);
  const int64_t update_count = in[1].count();
  std::vector<double> v_scratch(static_cast<size_t>(update_count)), b_scratch(static_cast<size_t>(update_count));
  const double* v = updates.values(0, update_count, v_scratch.data());
  const double* b = updates.bounds(0, update_count, b_scratch.data());
  const Limits limits = limits_of(node.dtype);
  const double u = context.roundoff(node.dtype);
  size_t next = 0;  // in order: of equal places the last `set` wins
  for (int64_t before : around.before) {
    for (int64_t place : places->offsets) {
      for (int64_t after : around.after) {
        const auto at = static_cast<size_t>(before + place + after);
        const Cell old{made->buffer->value[at], with_bound ? made->buffer->bound[at] : 0};
        Cell cell = combines[static_cast<int>(attr.op)](old, {v[next], b[next]}, u);
        ++next;
        if (with_bound) settle(cell.value, cell.bound, limits);
        made->buffer->value[at] = cell.value;
        if (with_bound) made->buffer->bound[at] = cell.bound;
      }
    }
  }
  if (doubtful && with_bound) std::fill_n(made->buffer->bound.get(), count, inf);
  return made;
}

Result<Value> eval_sort(Context& context, const Node& node, std::span<const Value> in) {
  const SortAttr& attr = node.as<SortAttr>();
  const auto axis = static_cast<size_t>(attr.axis);
  const Value& x = in[0];
  auto made = make_value(context, node.dtype, node.shape, x.has_bound());
  if (!made || made->count() == 0) return made;
  std::vector<int> others;
  for (int i = 0; i < static_cast<int>(x.shape.size()); ++i) {
    if (i != attr.axis) others.push_back(i);
  }
  const std::vector<int64_t> from = offsets_of(x, others);
  const std::vector<int64_t> to = offsets_of(*made, others);
  const auto n = static_cast<size_t>(x.shape[axis]);
  const auto grain = std::max<int64_t>(1, (1 << 12) / static_cast<int64_t>(n));
  std::mutex mutex;
  context.parallel(static_cast<int64_t>(from.size()), grain, [&](int64_t begin, int64_t end) {
    std::vector<double> v(n), b(n, 0.0);
    std::vector<int64_t> order(n);
    std::vector<std::pair<int64_t, std::vector<int64_t>>> listed;
    for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r) {
      std::vector<char> uncertain(n, 0);
      for (size_t i = 0; i < n; ++i) {
        const auto at = static_cast<size_t>(x.offset + from[r] + static_cast<int64_t>(i) * x.strides[axis]);
        v[i] = x.buffer->value[at];
        if (x.has_bound()) b[i] = x.buffer->bound[at];
      }
      sort_row(v.data(), order, attr.largest);
      std::optional<Candidates> candidates;
      if (x.has_bound()) mark_uncertain(v.data(), b.data(), order, attr.largest, uncertain);
      if (std::find(uncertain.begin(), uncertain.end(), 1) != uncertain.end())
        candidates.emplace(v.data(), b.data(), n, attr.largest);
      for (size_t p = 0; p < static_cast<size_t>(attr.k); ++p) {
        const auto at = static_cast<size_t>(to[r] + static_cast<int64_t>(p) * made->strides[axis]);
        made->buffer->value[at] = static_cast<double>(order[p]);
        if (!x.has_bound()) continue;
        made->buffer->bound[at] = uncertain[p] ? inf : 0;
        context.straddled += uncertain[p];
        if (uncertain[p]) listed.emplace_back(static_cast<int64_t>(at), candidates->at(p));
      }
    }
    const std::lock_guard lock(mutex);
    for (auto& [at, list] : listed)
      if (!list.empty()) made->buffer->candidates.emplace(at, std::move(list));
  });
  return made;
}

}  // namespace kw::graph::interpreter
