#include <algorithm>
#include <set>

#include "kernel/schedule/row_kernel.h"

namespace kw::kernel::schedule {
namespace {

using graph::NodeId;
using graph::ReduceOp;

/// Elements that a task should have: below this, waking a thread costs more than the work.
constexpr int64_t task_elements = 16384;

bool has_form(const graph::Graph& graph, NodeId reduce) {
  const auto op = graph[reduce].as<graph::ReduceAttr>().op;
  const DType dtype = graph[reduce].dtype;
  if (is_float(dtype)) return op != ReduceOp::argmax && op != ReduceOp::argmin;
  return dtype != DType::boolean && (op == ReduceOp::sum || op == ReduceOp::prod);
}

/// Windows are read with gathers, every element once a tap.
bool has_window(const graph::Graph& graph, const Piece& piece) {
  return std::any_of(piece.nodes.begin(), piece.nodes.end(),
                     [&](NodeId id) { return graph[id].is<graph::WindowAttr>(); });
}

bool vector_storable(const graph::Graph& graph, const Piece& piece) {
  const bool wide = lane_class(graph, piece) == LaneClass::f64;
  return std::all_of(piece.outputs.begin(), piece.outputs.end(),
                     [&](NodeId id) { return wide || graph[id].dtype != DType::i64; });
}

/// Lengths of contiguous runs worth trying, longest first: suffix products of the shapes of full nodes.
std::vector<int64_t> run_lengths(const graph::Graph& graph, const RowDomain& domain) {
  std::set<int64_t, std::greater<>> lengths{domain.columns};
  for (const auto& [id, at] : domain.full) {
    int64_t product = 1;
    for (auto size = graph[id].shape.rbegin(); size != graph[id].shape.rend(); ++size) {
      product *= *size;
      if (product > 1 && domain.columns % product == 0) lengths.insert(product);
    }
  }
  int64_t product = 1;
  for (auto size = domain.inner_shape.rbegin(); size != domain.inner_shape.rend(); ++size)
    if (product *= *size; product > 1) lengths.insert(product);
  return {lengths.begin(), lengths.end()};
}

/// Rows next to each other in the domain's last axes: the product of the kept axes at its end.
std::vector<int64_t> side_lengths(const RowDomain& domain) {
  std::vector<int64_t> lengths;
  int64_t product = 1;
  for (size_t i = domain.shape.size(); i-- > 0;) {
    if (std::find(domain.axes.begin(), domain.axes.end(), static_cast<int>(i)) != domain.axes.end()) break;
    product *= domain.shape[i];
    if (product > 1) lengths.push_back(product);
  }
  std::reverse(lengths.begin(), lengths.end());
  return lengths;
}

/// Reductions and what surrounds them over one row domain: softmax, norms, statistics, losses, plain reductions.
class Rows : public Family {
 public:
  std::string name() const override { return "rows"; }

  bool covers(const graph::Graph& graph, const Piece& piece) const override {
    const auto domain = row_domain(graph, piece);
    if (!domain || domain->rows < 1 || domain->columns < 1) return false;
    return std::all_of(domain->reduces.begin(), domain->reduces.end(), [&](NodeId id) { return has_form(graph, id); });
  }

  std::vector<Schedule> space(const graph::Graph& graph, const Piece& piece, const Facts& facts) const override {
    const auto domain = row_domain(graph, piece);
    std::vector<Schedule> list{{name(), {}}};
    if (!domain || domain->rows * domain->columns < 4 * task_elements) return list;
    list.push_back({name(), {{"unroll", 8}}});
    list.push_back({name(), {{"unroll", 2}}});
    const bool keeps = !nodes_to_keep(graph, piece, *domain).empty();
    if (keeps) list.push_back({name(), {{"keep", 0}}});
    if (domain->rows > 4 * facts.threads) list.push_back({name(), {{"tasks", facts.threads}}});
    return list;
  }

  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule& schedule,
                     const Facts& facts) const override {
    const auto domain = row_domain(graph, piece);
    double flops_each = 2;
    for (NodeId id : piece.nodes)
      if (const auto* map = std::get_if<graph::MapAttr>(&graph[id].attr))
        if (domain->full.contains(id)) flops_each += expr_cost(map->expr);
    const double elements = static_cast<double>(domain->rows) * static_cast<double>(domain->columns);
    const bool vector = vector_lanes(graph, piece, facts) > 1;
    const double again = schedule.get("keep", 1) ? 1.0 : 1.4;
    const double base =
        roofline_s(elements * flops_each * (vector ? 2 : 16) * again, piece_bytes(graph, piece), 1, facts);
    return base * (schedule.params.empty() ? 1.0 : 1.02) * (has_window(graph, piece) ? 8 : 1);
  }

  Result<Lowered> lower(const Task& task, const Schedule& schedule) const override {
    const auto domain = row_domain(task.graph, task.piece);
    if (!domain) return Failure{"schedule.lower", "rows: the piece has no row domain", ""};
    const RowSetting setting = best_setting(task, *domain, schedule);
    RowKernel kernel(task, *domain, setting);
    kernel.build();
    if (!kernel.usable()) return Failure{"schedule.lower", "rows: " + kernel.fault(), ""};
    Lowered lowered = kernel.take();
    if (setting.parts > 1) add_combination(task, *domain, setting, lowered);
    return lowered;
  }

 private:
  static void add_combination(const Task& task, const RowDomain& domain, const RowSetting& setting, Lowered& lowered) {
    RowSetting last;
    last.unroll = 1;
    last.parts = setting.parts;
    last.each = std::max<int64_t>(1, 1024 / setting.parts);
    RowKernel kernel(task, domain, last);
    kernel.build_combine();
    Lowered second = kernel.take();
    lowered.functions.push_back(std::move(second.functions[0]));
    lowered.steps.push_back(std::move(second.steps[0]));
  }

  /// The settings in the order of preference; the first that has vector forms without gathers, else the first that
  /// has them, else scalar code.
  static RowSetting best_setting(const Task& task, const RowDomain& domain, const Schedule& schedule) {
    RowSetting gathering;
    for (RowSetting& setting : vector_settings(task, domain, schedule)) {
      RowKernel probe(task, domain, setting);
      probe.build();
      if (!probe.usable()) continue;
      if (probe.gathers() == 0) return setting;
      if (gathering.lanes == 1) gathering = setting;
    }
    if (gathering.lanes > 1) return gathering;
    RowSetting scalar;
    scalar.inner = domain.columns;
    complete(task, domain, schedule, scalar);
    return scalar;
  }

  static std::vector<RowSetting> vector_settings(const Task& task, const RowDomain& domain, const Schedule& schedule) {
    std::vector<RowSetting> list;
    const int lanes = vector_lanes(task.graph, task.piece, task.facts);
    const bool real = std::all_of(domain.reduces.begin(), domain.reduces.end(),
                                  [&](NodeId id) { return is_float(task.graph[id].dtype); });
    if (lanes == 1 || !real || !vector_storable(task.graph, task.piece)) return list;
    for (bool across : {false, true})
      for (int64_t inner : across ? side_lengths(domain) : run_lengths(task.graph, domain)) {
        if (inner < lanes) continue;
        RowSetting setting;
        setting.across = across;
        setting.lanes = lanes;
        setting.inner = inner;
        complete(task, domain, schedule, setting);
        list.push_back(setting);
      }
    // Rows too short for a vector: vectors of rows with strided loads.
    return list;
  }

  /// Unrolling, rows a task and parts.
  static void complete(const Task& task, const RowDomain& domain, const Schedule& schedule, RowSetting& setting) {
    const int64_t wanted = std::clamp<int64_t>(schedule.get("unroll", 4), 1, 16);
    setting.unroll = static_cast<int>(std::clamp<int64_t>(setting.inner / setting.lanes, 1, wanted));
    setting.keep = schedule.get("keep", 1) != 0;
    const int64_t side = setting.across ? int64_t{setting.lanes} * setting.unroll : 1;
    const int64_t items =
        setting.across ? domain.rows / setting.inner * ((setting.inner + side - 1) / side) : domain.rows;
    const int64_t elements = domain.columns * side, threads = task.facts.threads;
    setting.each = std::max<int64_t>(1, task_elements / std::max<int64_t>(elements, 1));
    const int64_t even = (items + threads * 4 - 1) / (threads * 4);
    if (schedule.get("tasks", 0) > 0)
      setting.each = (items + schedule.get("tasks", 1) - 1) / schedule.get("tasks", 1);
    else
      setting.each = std::min(std::max(setting.each, even), std::max<int64_t>(items, 1));
    if (items < 2 * threads && threads > 1 && can_split(task, domain) && items * elements > 4 * task_elements) {
      setting.each = 1;
      setting.parts =
          std::min<int64_t>(threads * 4, std::max<int64_t>(1, setting.across ? domain.columns : elements / 4096));
    }
  }

  /// Only one level of Reduces and no value a full element: what a second kernel can finish.
  static bool can_split(const Task& task, const RowDomain& domain) {
    const auto& outputs = task.piece.outputs;
    return domain.passes == 1 &&
           std::none_of(outputs.begin(), outputs.end(), [&](NodeId id) { return domain.full.contains(id); }) &&
           std::all_of(domain.reduces.begin(), domain.reduces.end(),
                       [&](NodeId id) { return task.graph[id].dtype == task.graph[domain.reduces[0]].dtype; });
  }
};

}  // namespace

std::unique_ptr<Family> make_rows() { return std::make_unique<Rows>(); }

}  // namespace kw::kernel::schedule
