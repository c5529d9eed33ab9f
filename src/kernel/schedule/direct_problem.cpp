#include "kernel/schedule/direct_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "kernel/schedule/usage.h"

namespace kw::kernel::schedule {
namespace {

using graph::Graph;
using graph::Node;
using graph::NodeId;
using graph::ReduceOp;
using tile::Expr;

constexpr int64_t longest_inner_sum = 16;

template <class T>
bool holds(const std::vector<T>& list, T x) {
  return std::find(list.begin(), list.end(), x) != list.end();
}

bool from_parameters(const Graph& graph, NodeId id, std::map<NodeId, bool>& known) {
  if (auto it = known.find(id); it != known.end()) return it->second;
  bool result = !graph[id].is<graph::InputAttr>();
  for (NodeId input : graph[id].inputs) result = result && from_parameters(graph, input, known);
  return known[id] = result;
}

/// Axes of the operands by label: a Reduce's labels are its operand's axes.
struct Labels {
  std::vector<int> data, weight, out;
};

double neutral(ReduceOp op) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return op == ReduceOp::max ? -infinity : op == ReduceOp::min ? infinity : 0;
}

class Finder {
 public:
  Finder(const Graph& graph, const Piece& piece, NodeId operand, NodeId weight, Labels labels, ReduceOp op)
      : graph_(graph), piece_(piece), operand_(operand), labels_(std::move(labels)) {
    p_.anchor = piece.anchor;
    p_.weight = weight;
    p_.op = op;
  }

  std::optional<DirectProblem> find() {
    if (labels_.out.empty() || !find_axes() || !find_steps() || !sort_labels()) return std::nullopt;
    if (p_.lanes < 4 || p_.lanes > 16) return std::nullopt;
    split_sums();
    join_rows();
    return p_;
  }

 private:
  bool is_member(NodeId id) const { return holds(piece_.nodes, id); }
  const Shape& shape() const { return graph_[operand_].shape; }

  /// The window's axes, or the last two axes that only the data has; what lies under the window's padding.
  bool find_axes() {
    const auto* window = std::get_if<graph::WindowAttr>(&graph_[operand_].attr);
    if (window != nullptr && is_member(operand_)) return find_window(*window);
    std::vector<size_t> places;
    for (size_t i = 0; i < labels_.data.size(); ++i)
      if (holds(labels_.out, labels_.data[i]) && !holds(labels_.weight, labels_.data[i])) places.push_back(i);
    if (p_.weight < 0 || places.size() < 2) return false;
    image_ = operand_;
    set_axis(p_.y, places[places.size() - 2]);
    set_axis(p_.x, places.back());
    return true;
  }

  void set_axis(DirectAxis& axis, size_t place) {
    axis.label = labels_.data[place];
    axis.out = axis.extent = shape()[place];
    image_axis_[axis.label] = place;
  }

  bool find_window(const graph::WindowAttr& window) {
    const size_t n = window.axes.size(), rank = shape().size() - n;
    if (n != 2) return false;
    image_ = graph_[operand_].inputs[0];
    for (size_t i = 0; i < n; ++i) {
      const auto place = static_cast<size_t>(window.axes[i]);
      DirectAxis& axis = i == 0 ? p_.y : p_.x;
      set_axis(axis, place);
      axis.taps = window.size[i], axis.stride = window.stride[i], axis.dilation = window.dilation[i];
      axis.tap_label = labels_.data[rank + i];
      if (!holds(labels_.out, axis.label) || holds(labels_.out, axis.tap_label)) return false;
      if (holds(labels_.weight, axis.label) || (p_.weight >= 0 && !holds(labels_.weight, axis.tap_label))) return false;
    }
    under_padding();
    for (DirectAxis* axis : {&p_.y, &p_.x}) axis->extent = graph_[image_].shape[image_axis_[axis->label]];
    return true;
  }

  void under_padding() {
    const auto* pad = std::get_if<graph::PadAttr>(&graph_[image_].attr);
    if (pad == nullptr || !is_member(image_) || pad->value != neutral(p_.op)) return;
    for (size_t i = 0; i < pad->lo.size(); ++i) {
      const bool windowed = i == image_axis_[p_.y.label] || i == image_axis_[p_.x.label];
      if (!windowed && (pad->lo[i] != 0 || pad->hi[i] != 0)) return;
    }
    p_.y.lo = pad->lo[image_axis_[p_.y.label]];
    p_.x.lo = pad->lo[image_axis_[p_.x.label]];
    image_ = graph_[image_].inputs[0];
  }

  /// Walks the image's views down to a buffer; every axis must move through it by an even step.
  bool find_steps() {
    const size_t rank = graph_[image_].shape.size();
    Coords at;
    for (size_t i = 0; i < rank; ++i) at.push_back(tile::index_var(fmt::format("m{}", i), graph_[image_].shape[i]));
    NodeId id = image_;
    while (is_member(id)) {
      if (!is_view(graph_[id])) return false;
      const Origin origin = view_origin(graph_, id, at);
      if (!origin.valid.is_constant(1)) return false;
      at = origin.at;
      id = graph_[id].inputs[0];
    }
    if (graph_[id].dtype != DType::f32 || !holds(piece_.inputs, id)) return false;
    p_.source = id;
    Expr flat = linear_index(graph_[id].shape, at);
    for (size_t i = 0; i < rank; ++i) {
      const std::string name = fmt::format("m{}", i);
      const tile::Stride stride = tile::stride_of(flat, name);
      if (!stride.known) return false;
      steps_.push_back(graph_[image_].shape[i] == 1 ? 0 : stride.step);
      flat = tile::substitute(flat, name, 0);
    }
    if (flat->op != tile::Op::imm) return false;
    p_.base = flat->integer;
    p_.y.step = steps_[image_axis_[p_.y.label]];
    p_.x.step = steps_[image_axis_[p_.x.label]];
    return true;
  }

  bool sort_labels() {
    p_.lane_label = labels_.out.back();
    p_.lanes = graph_[p_.anchor].shape.back();
    const bool data_lane = holds(labels_.data, p_.lane_label);
    p_.kind = p_.weight < 0 ? DirectKind::pool : data_lane ? DirectKind::depthwise : DirectKind::convolution;
    for (size_t i = 0; i < labels_.data.size(); ++i)
      if (!sort_data_label(labels_.data[i], i)) return false;
    for (size_t i = 0; i < labels_.weight.size(); ++i)
      if (!sort_weight_label(labels_.weight[i], i)) return false;
    if (p_.kind != DirectKind::convolution && (!p_.sums.labels.empty() || !p_.filters.labels.empty())) return false;
    return p_.sums.labels.size() <= 2 && p_.filters.labels.size() <= 1;
  }

  bool sort_data_label(int label, size_t place) {
    const DirectAxis* axes[] = {&p_.y, &p_.x};
    for (const DirectAxis* axis : axes)
      if (label == axis->label || label == axis->tap_label) return true;
    if (label == p_.lane_label) return steps_[place] == 1;
    const bool out = holds(labels_.out, label), weight = holds(labels_.weight, label);
    if (!out && !weight) return false;
    (out ? p_.outer : p_.sums).labels.push_back(label);
    (out ? p_.outer : p_.sums).shape.push_back(shape()[place]);
    (out ? p_.outer_steps : sum_steps_).push_back(steps_[place]);
    return true;
  }

  bool sort_weight_label(int label, size_t place) {
    if (holds(p_.outer.labels, label)) {
      p_.weight_outer.labels.push_back(label);
      p_.weight_outer.shape.push_back(graph_[p_.weight].shape[place]);
    }
    if (holds(labels_.data, label) || label == p_.lane_label) return true;
    if (!holds(labels_.out, label)) return false;
    p_.filters.labels.push_back(label);
    p_.filters.shape.push_back(graph_[p_.weight].shape[place]);
    return true;
  }

  /// Blocks of channels are the outer loop; unblocked ones are cut into short runs.
  void split_sums() {
    if (p_.sums.labels.size() == 2) {
      p_.sum_outer = p_.sums.shape[0], p_.sum_outer_step = sum_steps_[0];
      p_.sum_inner = p_.sums.shape[1], p_.sum_inner_step = sum_steps_[1];
    } else if (p_.sums.labels.size() == 1) {
      const int64_t size = p_.sums.shape[0];
      int64_t inner = std::min(size, longest_inner_sum);
      while (size % inner != 0) --inner;
      p_.sum_inner = inner, p_.sum_inner_step = sum_steps_[0];
      p_.sum_outer = size / inner, p_.sum_outer_step = inner * sum_steps_[0];
    }
  }

  void join_rows() {
    p_.row = p_.x.out;
    for (const DirectAxis* axis : {&p_.y, &p_.x})
      if (axis->taps != 1 || axis->stride != 1 || axis->lo != 0 || axis->out != axis->extent) return;
    if (p_.y.out > 1 && p_.x.out > 1 && p_.y.step != p_.x.step * p_.x.out) return;
    if (p_.x.out == 1) p_.x.step = p_.y.step;
    p_.x.out = p_.x.extent = p_.y.out * p_.x.out;
    p_.y.out = p_.y.extent = 1;
    p_.flat = true;
  }

  const Graph& graph_;
  const Piece& piece_;
  const NodeId operand_;
  const Labels labels_;
  DirectProblem p_;
  NodeId image_ = -1;
  std::map<int, size_t> image_axis_;
  std::vector<int64_t> steps_, sum_steps_;
};

bool outputs_follow(const Graph& graph, const Piece& piece) {
  Coords at;
  for (size_t i = 0; i < graph[piece.anchor].shape.size(); ++i)
    at.push_back(tile::index_var(fmt::format("q{}", i), graph[piece.anchor].shape[i]));
  const auto reached = epilogue_coords(graph, piece, piece.anchor, at);
  return std::all_of(piece.outputs.begin(), piece.outputs.end(), [&](NodeId id) { return reached.contains(id); });
}

std::optional<DirectProblem> find_product(const Graph& graph, const Piece& piece) {
  const Node& node = graph[piece.anchor];
  const auto& attr = node.as<graph::ContractAttr>();
  std::map<NodeId, bool> known;
  for (size_t side = 0; side < 2; ++side) {
    const NodeId weight = node.inputs[1 - side];
    if (graph[weight].dtype != DType::f32 || !from_parameters(graph, weight, known)) continue;
    Labels labels{side == 0 ? attr.a : attr.b, side == 0 ? attr.b : attr.a, attr.out};
    if (auto found = Finder(graph, piece, node.inputs[side], weight, std::move(labels), ReduceOp::sum).find())
      return found;
  }
  return std::nullopt;
}

std::optional<DirectProblem> find_pool(const Graph& graph, const Piece& piece) {
  const Node& node = graph[piece.anchor];
  const auto& attr = node.as<graph::ReduceAttr>();
  if (attr.op != ReduceOp::sum && attr.op != ReduceOp::max && attr.op != ReduceOp::min) return std::nullopt;
  if (!graph[node.inputs[0]].is<graph::WindowAttr>()) return std::nullopt;
  Labels labels;
  for (int i = 0; i < static_cast<int>(graph[node.inputs[0]].shape.size()); ++i) {
    labels.data.push_back(i);
    if (!holds(attr.axes, i)) labels.out.push_back(i);
  }
  return Finder(graph, piece, node.inputs[0], -1, std::move(labels), attr.op).find();
}

}  // namespace

double DirectProblem::flops() const {
  return 2.0 * static_cast<double>(outer.size() * filters.size()) * static_cast<double>(lanes * places() * products());
}

std::optional<DirectProblem> direct_problem(const Graph& graph, const Piece& piece) {
  if (piece.anchor < 0 || piece.prepare) return std::nullopt;
  const Node& node = graph[piece.anchor];
  if (node.dtype != DType::f32 || element_count(node.shape) == 0) return std::nullopt;
  const bool lone = std::all_of(piece.nodes.begin(), piece.nodes.end(),
                                [&](NodeId id) { return id == piece.anchor || !is_anchor(graph[id]); });
  if (!lone || !outputs_follow(graph, piece)) return std::nullopt;
  if (node.is<graph::ReduceAttr>()) return find_pool(graph, piece);
  return node.is<graph::ContractAttr>() ? find_product(graph, piece) : std::nullopt;
}

LabelValues direct_labels(const DirectProblem& problem, const DirectPlace& place) {
  LabelValues values;
  bind_labels(problem.outer, place.outer, values);
  bind_labels(problem.filters, place.filter, values);
  values[problem.y.label] = problem.flat ? place.x / problem.row : place.y;
  values[problem.x.label] = problem.flat ? place.x % problem.row : place.x;
  values[problem.lane_label] = place.lane;
  return values;
}

Coords direct_coords(const Graph& graph, const DirectProblem& problem, const DirectPlace& place) {
  const LabelValues values = direct_labels(problem, place);
  Coords at;
  if (const auto* contract = std::get_if<graph::ContractAttr>(&graph[problem.anchor].attr)) {
    for (int label : contract->out) at.push_back(values.at(label));
    return at;
  }
  for (const auto& [label, value] : values) at.push_back(value);  // a Reduce's labels are axes in order
  return at;
}

}  // namespace kw::kernel::schedule
