#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "graph/aten/algebra.h"
#include "module/program.h"

namespace kw::graph::aten {

/// A tensor, or a Python number where ATen takes either.
struct Operand {
  NodeId node = -1;
  double number = 0;
  DType dtype = DType::f32;
  bool is_number = false;
};

/// One program node being expanded: typed access to its arguments by ATen's names, with ATen's defaults given
/// where a caller may omit them, and the algebra to build with. Bad arguments throw UserError (import.argument).
class Call : public Algebra {
 public:
  Call(GraphBuilder& builder, const module::Program& program, const module::ProgramNode& node,
       const std::map<std::string, NodeId>& values);

  bool has(std::string_view name) const;  // present and not None
  NodeId tensor(std::string_view name) const;
  std::optional<NodeId> maybe_tensor(std::string_view name) const;
  Nodes tensors(std::string_view name) const;
  std::vector<std::optional<NodeId>> maybe_tensors(std::string_view name) const;
  /// Sizes, axes, factors: beyond max_argument they are refused, so that arithmetic on a few cannot overflow.
  int64_t integer(std::string_view name) const;
  int64_t integer(std::string_view name, int64_t otherwise) const;
  /// What is divided by: at least one.
  int64_t factor(std::string_view name) const;
  /// An end of a range, brought within max_argument: PyTorch writes the largest int for "to the end".
  int64_t bound(std::string_view name, int64_t otherwise) const;
  double number(std::string_view name) const;
  double number(std::string_view name, double otherwise) const;
  std::optional<double> maybe_number(std::string_view name) const;
  bool flag(std::string_view name, bool otherwise) const;
  Shape ints(std::string_view name, const Shape& otherwise = {}) const;
  std::vector<double> numbers(std::string_view name) const;
  std::string text(std::string_view name, std::string_view otherwise) const;
  Operand operand(std::string_view name) const;

  /// The first output's (or output i's) shape and dtype as PyTorch recorded them.
  const module::TensorMeta& out(size_t i = 0) const;
  DType compute() const { return compute_type(out().dtype); }
  /// A tensor in the type that the op computes in.
  NodeId x(std::string_view name) { return cast(tensor(name), compute()); }
  std::optional<NodeId> maybe_x(std::string_view name);
  /// PyTorch's result type of several operands (category first, then dimension, then width).
  DType promote(const std::vector<Operand>& operands) const;
  /// f over operands cast to `type`, broadcast; numbers become literals.
  NodeId elementwise(DType type, const std::vector<Operand>& operands,
                     const std::function<E(const std::vector<E>&)>& f);
  NodeId node_of(const Operand& operand, DType type);

  /// An axis argument, negative ones wrapped. A 0-d tensor takes 0 and -1 and has no axes: see axes().
  int axis(int64_t dim, int of_rank) const;
  Axes axes(const Shape& dims, int of_rank) const;  // sorted
  /// The axes to reduce: argument `name`, or all when it is absent or empty.
  Axes reduce_axes(std::string_view name, int of_rank) const;
  /// A per-axis argument of n values; one value stands for all.
  Shape per_axis(std::string_view name, int n, const Shape& otherwise) const;

  /// Records that the op writes `fresh` to the buffer it reads as argument `name`, where the schema hides it.
  void write_buffer(std::string_view name, NodeId fresh);
  const std::vector<std::pair<std::string, NodeId>>& writes() const { return writes_; }
  /// Argument `name` lies densely in row-major order from the start of its storage.
  bool is_dense(std::string_view name) const;

  const module::ProgramNode& node() const { return node_; }
  std::string place() const;  // " (model.py:12: y = foo(x))", or ""
  [[noreturn]] void refuse(std::string id, const std::string& what, std::string hint = "") const;
  [[noreturn]] void refuse_argument(const std::string& what) const;
  [[noreturn]] void refuse_random(const std::string& why) const;

 private:
  static constexpr int64_t max_argument = int64_t{1} << 31;

  const module::Argument* find(std::string_view name) const;
  int64_t any_integer(std::string_view name) const;
  int64_t sized(std::string_view name, int64_t value) const;
  NodeId value(const std::string& name) const;
  const module::Program& program_;
  const module::ProgramNode& node_;
  const std::map<std::string, NodeId>& values_;
  std::vector<std::pair<std::string, NodeId>> writes_;
};

/// What an expansion returns: one node for each output; -1 where the expansion has none.
struct Values : Nodes {
  Values(NodeId one) : Nodes{one} {}  // NOLINT(google-explicit-constructor): most ops have one output
  Values(Nodes all) : Nodes(std::move(all)) {}
  Values(std::initializer_list<NodeId> all) : Nodes(all) {}
};

using Expand = std::function<Values(Call&)>;

/// `targets`: names without the "aten." prefix, divided by spaces; without an overload, ".default" is meant.
struct Row {
  std::string_view targets;
  Expand expand;
};
using Rows = std::vector<Row>;

// One table a family.
Rows arithmetic_rows();
Rows activation_rows();
Rows view_rows();
Rows shape_rows();
Rows reduction_rows();
Rows scan_rows();
Rows product_rows();
Rows einsum_rows();
Rows convolution_rows();
Rows pooling_rows();
Rows resample_rows();
Rows normalisation_rows();
Rows loss_rows();
Rows recurrent_rows();
Rows attention_rows();
Rows index_rows();
Rows scatter_rows();
Rows creation_rows();
Rows random_rows();

/// The expansion of a target such as "aten.add.Tensor"; null when the table has none.
const Expand* find_expansion(std::string_view target);
std::vector<std::string> table_targets();
/// Adds rows to the table for this process (tests, and ops of a user's own). Not thread-safe.
void add_rows(const Rows& rows);

}  // namespace kw::graph::aten
