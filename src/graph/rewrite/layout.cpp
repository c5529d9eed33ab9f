#include "graph/rewrite/layout.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/result.h"

namespace kw::graph {
namespace {

constexpr double most_filling = 1.5;  // channels with what fills them up, over channels

template <class T>
bool holds(const std::vector<T>& list, T x) {
  return std::find(list.begin(), list.end(), x) != list.end();
}

size_t at(NodeId id) { return static_cast<size_t>(id); }

/// [N, C, H, W], or [N, C, 1, H, W] as it stands between a depthwise convolution and its reshape.
std::optional<Shape> image_shape(const Shape& shape) {
  if (shape.size() == 4) return shape;
  if (shape.size() == 5 && shape[2] == 1) return Shape{shape[0], shape[1], shape[3], shape[4]};
  return std::nullopt;
}

/// A convolution's parts, as the importer and the rules write them.
struct Convolution {
  NodeId image = -1;             // before padding and window
  const PadAttr* pad = nullptr;  // of [N, C, H, W]
  const WindowAttr* window = nullptr;
  NodeId weight = -1;
  std::vector<int> weight_order;  // axes of the weight as filter, channel, taps
  bool depthwise = false;
};

/// Where `labels` holds each of `wanted`; nothing when the two do not hold the same ones.
std::optional<std::vector<int>> order_of(const std::vector<int>& labels, const std::vector<int>& wanted) {
  if (labels.size() != wanted.size()) return std::nullopt;
  std::vector<int> order;
  for (int label : wanted) {
    const auto found = std::find(labels.begin(), labels.end(), label);
    if (found == labels.end()) return std::nullopt;
    order.push_back(static_cast<int>(found - labels.begin()));
  }
  return order;
}

class Layout {
 public:
  Layout(const Graph& graph, int64_t block, bool may_fill)
      : graph_(graph),
        block_(block),
        may_fill_(may_fill),
        plain_(graph.nodes.size(), -1),
        blocked_(graph.nodes.size(), -1),
        from_inputs_(graph.nodes.size(), 0) {}

  std::optional<Blocked> run() {
    for (const InputInfo& info : graph_.inputs) g_.input(info.dtype, info.shape, info.name);
    for (const ParamInfo& info : graph_.params) g_.param(info.name, info.kind, info.dtype, info.shape);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) visit(static_cast<NodeId>(i));
    if (convolutions_ == 0) return std::nullopt;
    for (const OutputInfo& out : graph_.outputs)
      out.is_state ? g_.state(out.state_name, plain(out.node)) : g_.output(plain(out.node));
    return Blocked{g_.take(), anchors_, filled_};
  }

 private:
  const Node& node(NodeId id) const { return graph_[id]; }

  void visit(NodeId id) {
    const Node& n = node(id);
    from_inputs_[at(id)] = n.is<InputAttr>();
    for (NodeId in : n.inputs) from_inputs_[at(id)] |= from_inputs_[at(in)];
    g_.set_origin(n.origin);
    const NodeId made = carried(id);
    if (made < 0 && !reduced(id)) copy(id);
    if (made >= 0) blocked_[at(id)] = made;
  }

  void copy(NodeId id) {
    Node n = node(id);
    for (NodeId& input : n.inputs) input = plain(input);
    plain_[at(id)] = g_.add(std::move(n));
  }

  int64_t blocks(int64_t channels) const { return (channels + block_ - 1) / block_; }
  int64_t filling(int64_t channels) const { return blocks(channels) * block_ - channels; }
  bool fits(int64_t channels) const {
    if (filling(channels) == 0) return true;
    return may_fill_ && static_cast<double>(blocks(channels) * block_) <= most_filling * static_cast<double>(channels);
  }

  /// [N, C, H, W] to [N, C/block, H, W, block]; what fills up is zero.
  NodeId to_blocks(NodeId x) {
    Shape s = g_.shape(x);
    if (filling(s[1]) > 0) {
      x = g_.pad(x, {0, 0, 0, 0}, {0, filling(s[1]), 0, 0}, 0);
      s = g_.shape(x);
    }
    if (s[2] == 1 && s[3] == 1) return g_.reshape(x, {s[0], s[1] / block_, 1, 1, block_});
    return g_.permute(g_.reshape(x, {s[0], s[1] / block_, block_, s[2], s[3]}), {0, 1, 3, 4, 2});
  }

  NodeId from_blocks(NodeId x, const Shape& shape) {
    const Shape image = *image_shape(shape);
    const int64_t full = blocks(image[1]) * block_;
    NodeId y = g_.reshape(g_.permute(x, {0, 1, 4, 2, 3}), {image[0], full, image[2], image[3]});
    if (full != image[1]) y = g_.slice(y, 1, 0, image[1]);
    return g_.reshape(y, shape);
  }

  NodeId plain(NodeId id) {
    if (plain_[at(id)] < 0) plain_[at(id)] = from_blocks(blocked_[at(id)], node(id).shape);
    return plain_[at(id)];
  }

  bool is_blocked(NodeId id) const { return blocked_[at(id)] >= 0; }

  /// Any value of an image's shape in blocks.
  NodeId in_blocks(NodeId id) {
    if (is_blocked(id)) return blocked_[at(id)];
    const Node& n = node(id);
    const Shape image = *image_shape(n.shape);
    if (n.is<ExpandAttr>()) {
      const NodeId narrow = g_.reshape(plain(n.inputs[0]), *image_shape(node(n.inputs[0]).shape));
      const Shape s = g_.shape(narrow);
      const NodeId inner = s[1] == 1 ? g_.reshape(narrow, {s[0], 1, s[2], s[3], 1}) : to_blocks(narrow);
      return g_.expand(inner, {image[0], blocks(image[1]), image[2], image[3], block_});
    }
    return to_blocks(g_.reshape(plain(id), image));
  }

  /// The node in blocks, where it is carried over; -1 else.
  NodeId carried(NodeId id) {
    const Node& n = node(id);
    if (n.is<ContractAttr>()) return convolution(id);
    const auto image = image_shape(n.shape);
    if (!image || n.inputs.empty() || !from_inputs_[at(id)]) return -1;
    if (n.is<MapAttr>() || n.is<CastAttr>()) return elementwise(n, *image);
    if (n.is<ReshapeAttr>()) {
      const bool same = is_blocked(n.inputs[0]) && image_shape(node(n.inputs[0]).shape) == image;
      return same ? blocked_[at(n.inputs[0])] : -1;
    }
    if (n.is<SliceAttr>()) return slice(n);
    if (n.is<CatAttr>()) return cat(n);
    if (n.is<ReduceAttr>()) return pool(n);
    return -1;
  }

  NodeId elementwise(const Node& n, const Shape& image) {
    const bool any = std::any_of(n.inputs.begin(), n.inputs.end(), [&](NodeId in) { return is_blocked(in); });
    if (!any || !fits(image[1])) return -1;
    if (const auto* map = std::get_if<MapAttr>(&n.attr); map && filling(image[1]) > 0 && !keeps_zero(map->expr, n))
      return -1;
    std::vector<NodeId> inputs;
    for (NodeId in : n.inputs) inputs.push_back(in_blocks(in));
    if (n.is<CastAttr>()) return g_.cast(inputs[0], n.dtype);
    return g_.map(n.as<MapAttr>().expr, inputs);
  }

  /// Zeros that fill up channels stay zeros. An input that is not expanded from a constant fills up with zeros too.
  bool keeps_zero(const ScalarExpr& expr, const Node& n) {
    std::vector<double> values;
    for (NodeId in : n.inputs) {
      const Node& from = node(in);
      const bool spread = from.is<ExpandAttr>() && (*image_shape(node(from.inputs[0]).shape))[1] == 1;
      const auto value = spread ? g_.uniform_value(plain(from.inputs[0])) : 0;
      if (!value) return false;
      values.push_back(*value);
    }
    return evaluate(expr, values) == 0;
  }

  NodeId slice(const Node& n) {
    const auto& attr = n.as<SliceAttr>();
    if (n.shape.size() != 4 || !is_blocked(n.inputs[0]) || n.shape[1] != node(n.inputs[0]).shape[1]) return -1;
    NodeId x = blocked_[at(n.inputs[0])];
    for (size_t axis : {size_t{0}, size_t{2}, size_t{3}}) {
      if (n.shape[axis] == 0) return -1;
      const int64_t stop = attr.start[axis] + (n.shape[axis] - 1) * attr.step[axis] + 1;
      x = g_.slice(x, static_cast<int>(axis), attr.start[axis], stop, attr.step[axis]);
    }
    return x;
  }

  NodeId cat(const Node& n) {
    if (n.as<CatAttr>().axis != 1 || n.shape.size() != 4) return -1;
    std::vector<NodeId> inputs;
    for (NodeId in : n.inputs) {
      if (!is_blocked(in) || filling(node(in).shape[1]) > 0) return -1;
      inputs.push_back(blocked_[at(in)]);
    }
    return g_.cat(inputs, 1);
  }

  /// What lies under a window, and the padding between.
  void under_window(NodeId id, Convolution& c) const {
    c.image = id;
    const auto* pad = std::get_if<PadAttr>(&node(id).attr);
    if (pad == nullptr || pad->lo.size() != 4 || pad->lo[0] + pad->hi[0] + pad->lo[1] + pad->hi[1] != 0) return;
    c.pad = pad;
    c.image = node(id).inputs[0];
  }

  static bool over_image(const WindowAttr& window, const Shape& shape) {
    return window.axes == std::vector<int>{2, 3} && shape.size() == 6;
  }

  NodeId windows(const Convolution& c, NodeId image) {
    const size_t rank = g_.shape(image).size();
    if (c.pad != nullptr) {
      std::vector<int64_t> lo = c.pad->lo, hi = c.pad->hi;
      lo.resize(rank, 0), hi.resize(rank, 0);
      image = g_.pad(image, lo, hi, c.pad->value);
    }
    return c.window != nullptr ? g_.window(image, *c.window) : image;
  }

  NodeId pool(const Node& n) {
    const auto& attr = n.as<ReduceAttr>();
    const Node& from = node(n.inputs[0]);
    const auto* window = std::get_if<WindowAttr>(&from.attr);
    if (window == nullptr || !over_image(*window, from.shape) || attr.axes != std::vector<int>{4, 5}) return -1;
    if (attr.op == ReduceOp::argmax || attr.op == ReduceOp::argmin || attr.op == ReduceOp::prod) return -1;
    Convolution c;
    under_window(from.inputs[0], c);
    c.window = window;
    if (!is_blocked(c.image)) return -1;
    ++anchors_;
    return g_.reduce(attr.op, windows(c, blocked_[at(c.image)]), {5, 6});
  }

  /// A mean or sum over whole images leaves [N, C], which lies the same in blocks.
  bool reduced(NodeId id) {
    const Node& n = node(id);
    if (!n.is<ReduceAttr>() || !is_blocked(n.inputs[0]) || node(n.inputs[0]).shape.size() != 4) return false;
    const auto& attr = n.as<ReduceAttr>();
    if (attr.axes != std::vector<int>{2, 3}) return false;
    const NodeId y = g_.reduce(attr.op, blocked_[at(n.inputs[0])], {2, 3});
    const int64_t channels = n.shape[1], full = blocks(channels) * block_;
    const NodeId flat = g_.reshape(y, {n.shape[0], full});
    plain_[at(id)] = full == channels ? flat : g_.slice(flat, 1, 0, channels);
    return true;
  }

  std::optional<Convolution> find_convolution(const Node& n, size_t side) const {
    const auto& attr = n.as<ContractAttr>();
    const auto& data = side == 0 ? attr.a : attr.b;
    const auto& weight = side == 0 ? attr.b : attr.a;
    Convolution c;
    c.weight = n.inputs[1 - side];
    if (from_inputs_[at(c.weight)] || n.dtype != DType::f32 || element_count(n.shape) == 0) return std::nullopt;
    NodeId id = n.inputs[side];
    if (node(id).is<ReshapeAttr>() && data.size() == 7) id = node(id).inputs[0];
    const Node& windows = node(id);
    c.window = std::get_if<WindowAttr>(&windows.attr);
    if (c.window != nullptr && over_image(*c.window, windows.shape))
      under_window(windows.inputs[0], c);
    else
      c.window = nullptr, c.image = id;
    if (node(c.image).shape.size() != 4 || node(c.image).dtype != DType::f32) return std::nullopt;
    if (data.size() == 7) return as_depthwise(c, n, data, weight);
    if (data.size() != (c.window ? 6U : 4U) || attr.out.size() != 4) return std::nullopt;
    const int filter = attr.out[1];
    if (attr.out != std::vector<int>{data[0], filter, data[2], data[3]} || holds(data, filter)) return std::nullopt;
    std::vector<int> wanted{filter, data[1]};
    wanted.insert(wanted.end(), data.begin() + 4, data.end());
    const auto order = order_of(weight, wanted);
    if (!order) return std::nullopt;
    c.weight_order = *order;
    return c;
  }

  /// data [N, C, 1, Y, X, taps], weight [C, 1, 1, taps], out [N, C, 1, Y, X].
  std::optional<Convolution> as_depthwise(Convolution c, const Node& n, const std::vector<int>& data,
                                          const std::vector<int>& weight) const {
    const auto& out = n.as<ContractAttr>().out;
    const NodeId operand = n.inputs[weight == n.as<ContractAttr>().b ? 0 : 1];
    const Shape& s = node(operand).shape;
    if (c.window == nullptr || out.size() != 5 || s[2] != 1 || s[1] != node(c.image).shape[1]) return std::nullopt;
    if (n.shape[2] != 1 || out != std::vector<int>{data[0], data[1], out[2], data[3], data[4]}) return std::nullopt;
    const auto order = order_of(weight, {data[1], out[2], data[2], data[5], data[6]});
    if (!order) return std::nullopt;
    c.weight_order = *order;
    c.depthwise = true;
    return c;
  }

  NodeId convolution(NodeId id) {
    const Node& n = node(id);
    for (size_t side = 0; side < 2; ++side)
      if (const auto c = find_convolution(n, side)) {
        const NodeId made = c->depthwise ? depthwise(*c) : full(*c);
        if (made >= 0) return made;
      }
    return -1;
  }

  /// A weight's axis filled up to whole blocks.
  NodeId filled(NodeId w, size_t axis) {
    const Shape s = g_.shape(w);
    std::vector<int64_t> lo(s.size(), 0), hi(s.size(), 0);
    hi[axis] = filling(s[axis]);
    filled_ = filled_ || hi[axis] > 0;
    return g_.pad(w, lo, hi, 0);
  }

  NodeId full(const Convolution& c) {
    const Shape image = node(c.image).shape;
    NodeId w = g_.permute(plain(c.weight), c.weight_order);
    const int64_t filters = g_.shape(w)[0], channels = image[1];
    if (!fits(filters) || image[2] * image[3] < 2) return -1;
    const bool blocks_in = is_blocked(c.image) || (filling(channels) == 0 && channels >= block_);
    w = filled(w, 0);
    if (blocks_in) w = filled(w, 1);
    Shape split{blocks(filters), block_};
    if (blocks_in) split.push_back(blocks(channels));
    split.push_back(blocks_in ? block_ : channels);
    std::vector<int> a = blocks_in ? std::vector<int>{0, 1, 2, 3, 4} : std::vector<int>{0, 4, 2, 3};
    std::vector<int> b = blocks_in ? std::vector<int>{7, 8, 1, 4} : std::vector<int>{7, 8, 4};
    for (size_t i = 2; i < g_.shape(w).size(); ++i) {
      split.push_back(g_.shape(w)[i]);
      a.push_back(static_cast<int>(3 + i)), b.push_back(static_cast<int>(3 + i));
    }
    const NodeId x = windows(c, blocks_in ? in_blocks(c.image) : plain(c.image));
    ++anchors_, ++convolutions_;
    return g_.contract(x, a, g_.reshape(w, split), b, {0, 7, 2, 3, 8});
  }

  NodeId depthwise(const Convolution& c) {
    if (!is_blocked(c.image)) return -1;
    NodeId w = g_.permute(plain(c.weight), c.weight_order);
    const Shape s = g_.shape(w);
    w = filled(w, 0);
    w = g_.reshape(w, {blocks(s[0]), block_, s[3], s[4]});
    ++anchors_;
    return g_.contract(windows(c, blocked_[at(c.image)]), {0, 1, 2, 3, 4, 5, 6}, w, {1, 4, 5, 6}, {0, 1, 2, 3, 4});
  }

  const Graph& graph_;
  const int64_t block_;
  const bool may_fill_;
  GraphBuilder g_;
  std::vector<NodeId> plain_, blocked_;
  std::vector<char> from_inputs_;
  int anchors_ = 0, convolutions_ = 0;
  bool filled_ = false;
};

}  // namespace

std::optional<Blocked> with_blocked_images(const Graph& graph, int64_t block, bool needs_finite) {
  return Layout(graph, block, needs_finite).run();
}

}  // namespace kw::graph
