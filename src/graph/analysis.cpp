#include "graph/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

namespace kw::graph {
namespace {

double count_of(const Node& node) { return static_cast<double>(element_count(node.shape)); }
double bytes_of(const Node& node) { return count_of(node) * static_cast<double>(size_bytes(node.dtype)); }

/// Arithmetic steps of an expression: args, immediates, casts and selects cost nothing.
double steps_of(const ScalarExpr& expr) {
  return static_cast<double>(std::count_if(expr.begin(), expr.end(), [](const ScalarStep& step) {
    return step.op != ScalarOp::arg && step.op != ScalarOp::imm && step.op != ScalarOp::cast &&
           step.op != ScalarOp::select;
  }));
}

bool is_view(const Node& node) {
  return node.is<PermuteAttr>() || node.is<ReshapeAttr>() || node.is<ExpandAttr>() || node.is<SliceAttr>() ||
         node.is<FlipAttr>() || node.is<WindowAttr>() || node.is<ItemAttr>();
}

bool is_leaf(const Node& node) {
  return node.is<InputAttr>() || node.is<ParamAttr>() || node.is<ConstantAttr>() || node.is<IotaAttr>();
}

/// Every value of the result is a value of the first input.
bool keeps_values(const Node& node) {
  return is_view(node) || node.is<CastAttr>() || (node.is<GatherAttr>() && node.inputs.size() > 1);
}

/// select(i < 0, i + size, i)
bool counts_from_end(const Node& node, int64_t size) {
  const auto* map = std::get_if<MapAttr>(&node.attr);
  return map != nullptr && to_text(map->expr) == fmt::format("select(lt(%0, 0), add(%0, {}), %0)", size);
}

/// Indices into an axis of `size` that come from an input, directly or through views.
std::optional<IndexLimit> limit_of(const Graph& graph, NodeId index, int64_t size) {
  IndexLimit limit{-1, 0, size};
  for (const Node* node = &graph[index];; node = &graph[node->inputs[0]]) {
    if (const auto* input = std::get_if<InputAttr>(&node->attr)) return IndexLimit{input->index, limit.lowest, size};
    if (counts_from_end(*node, size))
      limit.lowest = -size;
    else if (!keeps_values(*node) || node->is<ItemAttr>())
      return std::nullopt;
  }
}

using Mask = std::vector<char>;

Mask spread(const Mask& mask, int64_t factor, int64_t size) {
  Mask out(static_cast<size_t>(size), 0);
  for (size_t i = 0; i < mask.size(); ++i) out[i * static_cast<size_t>(factor)] = mask[i];
  return out;
}

/// Which places along an axis may hold anything but the zeros of padding and dilation.
Mask axis_mask(const Graph& graph, NodeId id, int axis) {
  const Node& node = graph[id];
  const auto at = static_cast<size_t>(axis);
  const int64_t size = node.shape[at];
  if (const auto* pad = std::get_if<PadAttr>(&node.attr); pad && pad->value == 0) {
    const Mask inner = axis_mask(graph, node.inputs[0], axis);
    Mask out(static_cast<size_t>(size), 0);
    std::copy(inner.begin(), inner.end(), out.begin() + pad->lo[at]);
    return out;
  }
  if (const auto* dilate = std::get_if<DilateAttr>(&node.attr)) {
    const auto found = std::find(dilate->axes.begin(), dilate->axes.end(), axis);
    if (found == dilate->axes.end()) return axis_mask(graph, node.inputs[0], axis);
    const auto factor = dilate->factor[static_cast<size_t>(found - dilate->axes.begin())];
    return spread(axis_mask(graph, node.inputs[0], axis), factor, size);
  }
  if (const auto* slice = std::get_if<SliceAttr>(&node.attr)) {
    const Mask inner = axis_mask(graph, node.inputs[0], axis);
    Mask out(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i)
      out[static_cast<size_t>(i)] = inner[static_cast<size_t>(slice->start[at] + i * slice->step[at])];
    return out;
  }
  return Mask(static_cast<size_t>(size), 1);
}

double filled_share(const Mask& mask) {
  const auto filled = static_cast<double>(std::count(mask.begin(), mask.end(), 1));
  return mask.empty() ? 1 : filled / static_cast<double>(mask.size());
}

/// Of the pairs of a place and a tap along the window's k-th axis.
double filled_share(const Mask& mask, const WindowAttr& window, size_t k) {
  double filled = 0, all = 0;
  const auto places = static_cast<int64_t>(mask.size()) - window.dilation[k] * (window.size[k] - 1);
  for (int64_t at = 0; at < places; at += window.stride[k])
    for (int64_t tap = 0; tap < window.size[k]; ++tap, ++all)
      filled += mask[static_cast<size_t>(at + tap * window.dilation[k])];
  return all > 0 ? filled / all : 1;
}

double window_share(const Graph& graph, const Node& node, const WindowAttr& window) {
  double share = 1;
  for (int axis = 0; axis < static_cast<int>(graph[node.inputs[0]].shape.size()); ++axis) {
    const Mask mask = axis_mask(graph, node.inputs[0], axis);
    const auto found = std::find(window.axes.begin(), window.axes.end(), axis);
    share *= found == window.axes.end() ? filled_share(mask)
                                        : filled_share(mask, window, static_cast<size_t>(found - window.axes.begin()));
  }
  return share;
}

/// Share of a node's elements that are not structurally zero: a transposed convolution's operand is mostly zeros,
/// which no kernel needs to multiply.
double filled_share(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  if (node.is<PermuteAttr>() || node.is<ReshapeAttr>() || node.is<ExpandAttr>() || node.is<FlipAttr>())
    return filled_share(graph, node.inputs[0]);
  if (node.is<WindowAttr>()) return window_share(graph, node, node.as<WindowAttr>());
  double share = 1;
  if (node.is<PadAttr>() || node.is<DilateAttr>() || node.is<SliceAttr>())
    for (int axis = 0; axis < static_cast<int>(node.shape.size()); ++axis)
      share *= filled_share(axis_mask(graph, id, axis));
  return share;
}

/// Multiply-adds of an einsum: the product of all label sizes.
double contract_size(const Graph& graph, const Node& node) {
  const ContractAttr& attr = node.as<ContractAttr>();
  double size = count_of(graph[node.inputs[0]]);
  const Shape& b = graph[node.inputs[1]].shape;
  for (size_t i = 0; i < attr.b.size(); ++i) {
    if (std::find(attr.a.begin(), attr.a.end(), attr.b[i]) == attr.a.end()) size *= static_cast<double>(b[i]);
  }
  return size;
}

size_t interpreter_bytes(const Graph& graph, const Node& node, bool bounds) {
  if (node.is<RecurAttr>()) {
    const RecurAttr& recur = node.as<RecurAttr>();
    double stacked = 0;
    for (size_t i = static_cast<size_t>(recur.n_carry); i < recur.body->outputs.size(); ++i)
      stacked += 2 * count_of((*recur.body)[recur.body->outputs[i].node]) * static_cast<double>(recur.steps);
    return peak_bytes(*recur.body, bounds) + static_cast<size_t>(stacked * 16);
  }
  const bool exact = is_leaf(node) || !bounds;
  (void)graph;
  return static_cast<size_t>(count_of(node) * (exact ? 8 : 16));
}

}  // namespace

double node_flops(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  if (node.is<MapAttr>()) return count_of(node) * steps_of(node.as<MapAttr>().expr);
  if (node.is<ContractAttr>())
    return 2 * contract_size(graph, node) * filled_share(graph, node.inputs[0]) * filled_share(graph, node.inputs[1]);
  if (node.is<ReduceAttr>() || node.is<ScanAttr>()) return count_of(graph[node.inputs[0]]);
  if (node.is<ScatterAttr>()) return count_of(graph[node.inputs[1]]);
  if (node.is<RecurAttr>()) {
    const RecurAttr& recur = node.as<RecurAttr>();
    return count_work(*recur.body).flops * static_cast<double>(recur.steps);
  }
  if (node.is<SortAttr>()) {
    // A selection of k out of n looks at each element, and then orders k.
    const auto k = static_cast<double>(node.as<SortAttr>().k);
    return count_of(graph[node.inputs[0]]) + count_of(node) * std::log2(std::max(k, 1.0));
  }
  return 0;
}

Work count_work(const Graph& graph) {
  Work work;
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    work.flops += node_flops(graph, static_cast<NodeId>(id));
    if (node.is<InputAttr>() || node.is<ParamAttr>()) work.min_bytes += bytes_of(node);
    if (is_leaf(node) || is_view(node) || node.is<RecurAttr>()) continue;
    work.node_bytes += bytes_of(node);
    for (NodeId input : node.inputs) work.node_bytes += bytes_of(graph[input]);
  }
  for (const OutputInfo& out : graph.outputs) work.min_bytes += bytes_of(graph[out.node]);
  return work;
}

double roofline_s(const Work& work, double flops_per_s, double bytes_per_s) {
  return std::max(work.flops / flops_per_s, work.min_bytes / bytes_per_s);
}

std::vector<IndexLimit> index_limits(const Graph& graph) {
  std::map<int, IndexLimit> found;
  for (const Node& node : graph.nodes) {
    const auto* gather = std::get_if<GatherAttr>(&node.attr);
    const auto* scatter = std::get_if<ScatterAttr>(&node.attr);
    if (gather == nullptr && scatter == nullptr) continue;
    const std::vector<int>& axes = gather != nullptr ? gather->axes : scatter->axes;
    const size_t first = gather != nullptr ? 1 : 2;
    for (size_t i = 0; i < axes.size(); ++i) {
      const int64_t size = graph[node.inputs[0]].shape[static_cast<size_t>(axes[i])];
      const auto limit = limit_of(graph, node.inputs[first + i], size);
      if (!limit) continue;
      IndexLimit& kept = found.try_emplace(limit->input, *limit).first->second;
      kept.lowest = std::max(kept.lowest, limit->lowest);
      kept.below = std::min(kept.below, limit->below);
    }
  }
  std::vector<IndexLimit> limits;
  for (const auto& [input, limit] : found) limits.push_back(limit);
  return limits;
}

size_t peak_bytes(const Graph& graph, bool bounds) {
  std::vector<size_t> owner(graph.nodes.size());  // the node whose buffer a view shows
  std::vector<size_t> last(graph.nodes.size(), 0);
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    owner[id] = is_view(node) ? owner[static_cast<size_t>(node.inputs[0])] : id;
    for (NodeId input : node.inputs) last[owner[static_cast<size_t>(input)]] = id;
  }
  for (const OutputInfo& out : graph.outputs) last[owner[static_cast<size_t>(out.node)]] = graph.nodes.size();
  size_t live = 0;
  size_t peak = 0;
  std::vector<std::vector<size_t>> dying(graph.nodes.size() + 1);
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    if (owner[id] != id) continue;
    const size_t bytes = interpreter_bytes(graph, graph.nodes[id], bounds);
    live += bytes;
    peak = std::max(peak, live);
    dying[std::max(last[id], id)].push_back(bytes);
    for (size_t dead : dying[id]) live -= dead;
  }
  return peak;
}

}  // namespace kw::graph
