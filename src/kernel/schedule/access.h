#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "kernel/schedule/family.h"
#include "kernel/schedule/scalar_code.h"
#include "kernel/tile.h"

/// Index machinery shared by all families: the value of a node at symbolic coordinates, with views walked down to the
/// buffer and Maps inlined.
namespace kw::kernel::schedule {

using Coords = std::vector<tile::Expr>;  // one scalar i64 an axis

/// Row-major position of `at` in `shape`, and back.
tile::Expr linear_index(const Shape& shape, const Coords& at);
Coords coords_of(const Shape& shape, const tile::Expr& linear);

/// Where a view's element comes from: coordinates in the view's input, or a constant where it is padding.
struct Origin {
  Coords at;
  tile::Expr valid;      // boolean; constant true when no padding is involved
  double otherwise = 0;  // the value where not valid
};
bool is_view(const graph::Node& node);
/// node must be a view (permute, reshape, expand, slice, pad, flip, window, dilate).
Origin view_origin(const graph::Graph& graph, graph::NodeId view, const Coords& at);
/// The inverse for one-to-one views (permute, reshape, flip): where the input's element `at` lands. Nullopt otherwise.
std::optional<Coords> view_target(const graph::Graph& graph, graph::NodeId view, const Coords& at);

/// Reads values of a piece. Results are in compute type: f32 for f16/bf16.
///   ValueReader r(task.graph, task.piece);
///   r.define(anchor, [&](const Coords&) { return accumulator; });     // values that the family holds itself
///   Expr y = r.read(output, coords, body);                            // appends Lets to body
class ValueReader {
 public:
  using Source = std::function<tile::Expr(const Coords& at)>;
  ValueReader(const graph::Graph& graph, const Piece& piece);
  /// The value of `id` comes from `source` (registers, a row buffer) instead of its buffer or its expression.
  void define(graph::NodeId id, Source source);
  /// Reads become vectors of `lanes` elements: those at lane_var, lane_var + 1, ... (scalar where the value does not
  /// change along it; they are splat when combined).
  void vectorise(std::string lane_var, int lanes);
  void scalar();
  /// Prefix of the Lets' names, unique in a function.
  void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }
  /// Statements that compute the value are appended to `out`; equal reads in one block are shared until forget().
  tile::Expr read(graph::NodeId id, const Coords& at, tile::Block& out);
  /// To be called when a new block begins in which earlier Lets are not visible.
  void forget() { seen_.clear(); }
  /// Arrays that were read: the kernel's parameters, by node.
  const std::map<graph::NodeId, std::string>& arrays() const { return arrays_; }
  /// Index expressions that read() met as predicates and could not decide (padding borders, cat seams).
  const std::vector<tile::Expr>& undecided() const { return undecided_; }
  /// True when some access had no vector form (lane-dependent predicate or dtype mix): the caller goes scalar.
  bool spoiled() const { return spoiled_; }

 private:
  struct Seen {
    graph::NodeId id;
    Coords at;
    int lanes;
    tile::Expr value;
  };
  using Branch = std::function<tile::Expr(tile::Block& block)>;
  tile::Expr compute(graph::NodeId id, const Coords& at, tile::Block& out);
  tile::Expr from_buffer(graph::NodeId id, const Coords& at);
  tile::Expr iota_value(const tile::Expr& at);
  tile::Expr map_value(const graph::Node& node, const Coords& at, tile::Block& out);
  tile::Expr guarded(const tile::Expr& valid, graph::NodeId input, const Coords& at, double otherwise, DType dtype,
                     tile::Block& out);
  tile::Expr one_of(const tile::Expr& condition, const Branch& then, const Branch& otherwise, tile::Block& out);
  tile::Expr gathered(const graph::Node& node, const Coords& at, tile::Block& out);
  tile::Expr cat_value(const graph::Node& node, const Coords& at, tile::Block& out);
  tile::Expr name_it(tile::Expr value, tile::Block& out);
  bool has_vector_form(DType stored) const;

  const graph::Graph& graph_;
  const Piece& piece_;
  std::map<graph::NodeId, Source> sources_;
  std::map<graph::NodeId, std::string> arrays_;
  std::vector<tile::Expr> undecided_;
  std::vector<Seen> seen_;
  ScalarCoder coder_;
  tile::Block* out_ = nullptr;  // of the read in progress
  std::string prefix_ = "t";
  std::string lane_var_;
  int lanes_ = 1;
  int counter_ = 0;
  bool spoiled_ = false;
};

/// Parameters of a kernel that reads `reader`'s arrays and writes the buffers of `outputs`, and the matching Launch
/// args.
std::vector<tile::Param> kernel_params(const graph::Graph& graph, const ValueReader& reader,
                                       const std::vector<graph::NodeId>& outputs);
std::vector<Arg> launch_args(const std::vector<tile::Param>& params);
/// Which machine vectors can hold all of a piece's values: those of f32 (f32, f16, bf16, i32, boolean; i64 where
/// narrow_integers), those of f64 (f64, i64, boolean), or none.
enum class LaneClass : uint8_t { none, f32, f64 };
LaneClass lane_class(const graph::Graph& graph, const Piece& piece);
/// Lanes of that class on this machine, 1 for none.
int vector_lanes(const graph::Graph& graph, const Piece& piece, const Facts& facts);
/// All i64 values of the piece come from iotas and constants and are small: i32 lanes can hold them.
bool narrow_integers(const graph::Graph& graph, const Piece& piece);

}  // namespace kw::kernel::schedule
