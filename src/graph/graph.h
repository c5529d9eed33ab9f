#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/tensor.h"
#include "graph/scalar.h"

/// A module's meaning as tensor algebra: about 22 node kinds, all dense, all shapes static.
namespace kw::graph {

using NodeId = int32_t;

enum class ReduceOp : uint8_t {
  sum,
  prod,
  max,
  min,
  argmax,
  argmin
};  // max, min propagate NaN; arg*: first index, i64
enum class ScanOp : uint8_t { sum, prod, max, min };
enum class ScatterOp : uint8_t { set, add, mul, max, min };

struct Graph;

struct InputAttr {
  int index = 0;
};  // user tensor input
struct ParamAttr {
  std::string name;
};  // parameter, buffer or constant, by fqn; for state: its value before the call
struct ConstantAttr {
  double value = 0;
};                   // shape []
struct IotaAttr {};  // shape [n], i64: 0, 1, ..., n-1
struct CastAttr {};
struct MapAttr {
  ScalarExpr expr;
};  // every input has exactly the node's shape
struct ReduceAttr {
  ReduceOp op = ReduceOp::sum;
  std::vector<int> axes;
};  // axes sorted, removed; argmax: one axis
/// out[out_labels] = sum over labels not in out of a[a_labels] * b[b_labels]; no label twice in one operand.
struct ContractAttr {
  std::vector<int> a, b, out;
};
struct PermuteAttr {
  std::vector<int> perm;
};                      // out axis i is in axis perm[i]
struct ReshapeAttr {};  // row-major order kept
struct ExpandAttr {};   // same rank; size-1 axes repeated
struct SliceAttr {
  std::vector<int64_t> start, step;
};  // one per axis, step >= 1; sizes from shape
struct PadAttr {
  std::vector<int64_t> lo, hi;
  double value = 0;
};  // all >= 0
struct FlipAttr {
  std::vector<int> axes;
};
/// Axis axes[i] of size D becomes O_i = (D - dilation*(size-1) - 1) / stride + 1, and a new axis of size[i] is appended
/// at the end (in the order of axes): out[.., o, .., k] = in[.., o*stride + k*dilation, ..]. Padding is a Pad before
/// it.
struct WindowAttr {
  std::vector<int> axes;
  std::vector<int64_t> size, stride, dilation;
};
struct DilateAttr {
  std::vector<int> axes;
  std::vector<int64_t> factor;
};  // factor-1 zeros between neighbours
struct CatAttr {
  int axis = 0;
};
/// inputs: data, then one i64 index tensor per axis in `axes` (all of one shape I). Result: data's shape with `axes`
/// removed and I inserted at axes[0]'s place. Indices must be in [0, size): importers normalise negative ones.
/// take = one axis; take_along = every axis, with iotas.
struct GatherAttr {
  std::vector<int> axes;
};
/// inputs: base, updates, then indices as in Gather; updates has Gather's result shape. `set` with equal indices: last
/// wins.
struct ScatterAttr {
  std::vector<int> axes;
  ScatterOp op = ScatterOp::set;
};
struct ScanAttr {
  ScanOp op = ScanOp::sum;
  int axis = 0;
};  // inclusive
struct SortAttr {
  int axis = 0;
  int64_t k = 0;
  bool largest = true;
};  // i64 indices of the k first in order; stable; NaN counts as largest
/// A loop of `steps` turns. inputs: n_carry initial values, n_seq tensors [steps, ...], then invariants.
/// body inputs: carries, one slice [...] of each sequence, invariants. body outputs: new carries, then per-turn values.
/// Items: final carries, then per-turn values stacked [steps, ...]. reverse: t runs from steps-1 down (stacked at t).
struct RecurAttr {
  std::shared_ptr<const Graph> body;
  int64_t steps = 0;
  int n_carry = 0;
  int n_seq = 0;
  bool reverse = false;
};
struct ItemAttr {
  int index = 0;
};  // of a recur node

using Attr = std::variant<InputAttr, ParamAttr, ConstantAttr, IotaAttr, CastAttr, MapAttr, ReduceAttr, ContractAttr,
                          PermuteAttr, ReshapeAttr, ExpandAttr, SliceAttr, PadAttr, FlipAttr, WindowAttr, DilateAttr,
                          CatAttr, GatherAttr, ScatterAttr, ScanAttr, SortAttr, RecurAttr, ItemAttr>;

struct Node {
  Attr attr;
  DType dtype = DType::f32;
  Shape shape;
  std::vector<NodeId> inputs;
  int32_t origin = -1;  // index of the program node it came from, for messages and reports
  template <class T>
  bool is() const {
    return std::holds_alternative<T>(attr);
  }
  template <class T>
  const T& as() const {
    return std::get<T>(attr);
  }
};

struct InputInfo {
  DType dtype = DType::f32;
  Shape shape;
  std::string name;
};
enum class ParamKind : uint8_t { parameter, buffer, constant };
struct ParamInfo {
  std::string name;
  ParamKind kind = ParamKind::parameter;
  DType dtype = DType::f32;
  Shape shape;
};
/// A value that leaves the graph: a user output, or the new value of a module buffer.
struct OutputInfo {
  NodeId node = -1;
  bool is_state = false;
  std::string state_name;
};

/// Nodes are in topological order; equal nodes are shared.
struct Graph {
  std::vector<Node> nodes;
  std::vector<InputInfo> inputs;
  std::vector<ParamInfo> params;
  std::vector<OutputInfo> outputs;
  const Node& operator[](NodeId id) const { return nodes[static_cast<size_t>(id)]; }
};

std::string_view kind_name(const Node& node);
/// "f32[8, 64] = reduce.sum{1}(%6)".
std::string to_text(const Node& node);
/// One line a node, readable: "%7 f32[8, 64] = reduce.sum{1}(%6)".
std::string to_text(const Graph& graph);
/// Every node's shape, dtype and attributes are consistent and its inputs precede it. The first fault, else "".
std::string find_fault(const Graph& graph);
/// Drops nodes that no output needs; keeps inputs and params lists.
Graph without_dead_nodes(const Graph& graph);

/// Builds a Graph: infers shapes, shares equal nodes, drops identity views, folds constants.
/// A misuse is a bug (check fails): importers validate user input first.
class GraphBuilder {
 public:
  NodeId input(DType dtype, Shape shape, std::string name);
  NodeId param(std::string name, ParamKind kind, DType dtype, Shape shape);
  NodeId constant(double value, DType dtype);
  NodeId full(double value, DType dtype, Shape shape);  // constant, expanded
  NodeId iota(int64_t size);
  NodeId cast(NodeId x, DType dtype);
  /// Inputs are broadcast to one shape by NumPy's rule (expand nodes inserted).
  NodeId map(const ScalarExpr& expr, const std::vector<NodeId>& inputs);
  NodeId map1(ScalarOp op, NodeId x);
  NodeId map2(ScalarOp op, NodeId x, NodeId y);
  /// Write 2.0, not 2: an int names a node.
  NodeId map2(ScalarOp op, NodeId x, double y);
  NodeId where(NodeId condition, NodeId x, NodeId y);
  NodeId reduce(ReduceOp op, NodeId x, std::vector<int> axes, bool keepdim = false);
  NodeId contract(NodeId a, std::vector<int> a_labels, NodeId b, std::vector<int> b_labels,
                  std::vector<int> out_labels);
  NodeId permute(NodeId x, std::vector<int> perm);
  NodeId reshape(NodeId x, Shape shape);
  NodeId expand(NodeId x, Shape shape);  // adds leading axes when the rank grows
  NodeId slice(NodeId x, int axis, int64_t start, int64_t stop, int64_t step = 1);
  NodeId pad(NodeId x, std::vector<int64_t> lo, std::vector<int64_t> hi, double value);
  NodeId flip(NodeId x, std::vector<int> axes);
  NodeId window(NodeId x, WindowAttr attr);
  NodeId dilate(NodeId x, DilateAttr attr);
  NodeId cat(std::vector<NodeId> xs, int axis);
  NodeId gather(NodeId data, std::vector<NodeId> indices, std::vector<int> axes);
  NodeId scatter(NodeId base, NodeId updates, std::vector<NodeId> indices, std::vector<int> axes, ScatterOp op);
  NodeId scan(ScanOp op, NodeId x, int axis);
  NodeId sort(NodeId x, int axis, int64_t k, bool largest);
  NodeId recur(RecurAttr attr, std::vector<NodeId> inputs);
  NodeId item(NodeId recur, int index);
  void output(NodeId x);
  void state(std::string name, NodeId new_value);
  /// A node copied from another graph, its inputs already named in this one.
  NodeId add(Node node);
  /// The one value that every element has, where that is known.
  std::optional<double> uniform_value(NodeId x) const;
  /// So far: dead nodes still there.
  const Graph& peek() const { return graph_; }
  const Node& operator[](NodeId id) const { return graph_[id]; }
  const Shape& shape(NodeId id) const { return graph_[id].shape; }
  DType dtype(NodeId id) const { return graph_[id].dtype; }
  void set_origin(int32_t origin) { origin_ = origin; }
  Graph take();  // dead nodes dropped, find_fault checked

 private:
  NodeId push(Attr attr, std::vector<NodeId> inputs, Shape shape = {}, DType dtype = DType::f32);
  Graph graph_;
  int32_t origin_ = -1;
  std::unordered_map<std::string, NodeId> index_;  // text of a node -> the node
};

}  // namespace kw::graph
