#include "kernel/schedule/elementwise.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "kernel/schedule/boxes.h"
#include "kernel/schedule/gpu.h"

namespace kw::kernel::schedule {
namespace {

using graph::NodeId;
using tile::Bind;
using tile::Block;
using tile::Expr;

/// How one box is run: axes [0, split) are rows, axes [split, rank) one contiguous run of `inner` elements.
struct Run {
  size_t split = 0;
  int64_t rows = 1, inner = 1;
  int lanes = 1;
  int gathers = 0;
};

int count_gathers(const Block& block);
int count_gathers(const Expr& e) {
  int n = e->op == tile::Op::gather ? 1 : 0;
  for (const Expr& a : e->args) n += count_gathers(a);
  return n;
}
int count_gathers(const Block& block) {
  int n = 0;
  for (const tile::Stmt& s : block) {
    if (auto* let = std::get_if<tile::Let>(&s.base())) n += count_gathers(let->value);
    if (auto* set = std::get_if<tile::Assign>(&s.base())) n += count_gathers(set->value);
    if (auto* branch = std::get_if<tile::If>(&s.base())) {
      n += count_gathers(*branch->then);
      if (branch->otherwise) n += count_gathers(*branch->otherwise);
    }
  }
  return n;
}

class Lowering {
 public:
  Lowering(const graph::Graph& graph, const Piece& piece, NodeId output, const Facts& facts,
           const ElementwiseOptions& options)
      : graph_(graph),
        piece_(piece),
        output_(output),
        facts_(facts),
        options_(options),
        shape_(graph[output].shape),
        reader_(graph, piece),
        widest_(options.vector && has_vector_store() ? vector_lanes(graph, piece, facts) : 1) {}

  ElementwiseKernel kernel(const std::string& name) {
    const std::vector<Box> boxes = decided_boxes(graph_, piece_, output_);
    Block body;
    int64_t tasks = 0;
    std::vector<std::pair<int64_t, Block>> parts;  // first task, statements
    for (const Box& box : boxes) {
      if (box.count() == 0) continue;
      const int64_t begin = tasks;
      parts.emplace_back(begin, box_block(box, begin, &tasks));
    }
    for (size_t i = parts.size(); i-- > 0;)
      body = i + 1 == parts.size()
                 ? std::move(parts[i].second)
                 : Block{tile::branch(task(tasks) < parts[i + 1].first, std::move(parts[i].second), std::move(body))};
    ElementwiseKernel k;
    k.function.name = name;
    k.function.params = kernel_params(graph_, reader_, {output_});
    const int64_t groups = std::max<int64_t>(tasks, 1);
    if (tasks > 0) k.function.body.push_back(tile::loop(Bind::grid, "task", 0, groups, std::move(body)));
    k.launch.kernel = name;
    k.launch.args = launch_args(k.function.params);
    k.launch.groups = {groups, 1, 1};
    k.vectorised = vectorised_;
    return k;
  }

 private:
  /// i64 values computed in i32 lanes have no vector store.
  bool has_vector_store() const {
    return graph_[output_].dtype != DType::i64 || lane_class(graph_, piece_) == LaneClass::f64;
  }

  static Expr task(int64_t tasks) { return tile::index_var_in("task", 0, std::max<int64_t>(tasks, 2) - 1); }

  Coords coords(const Box& box, const Run& run, const Expr& row, const Expr& i) const {
    const Shape outer_extents = extents(box, 0, run.split), inner_extents = extents(box, run.split, shape_.size());
    Coords at = coords_of(outer_extents, row);
    const Coords inner = coords_of(inner_extents, i);
    at.insert(at.end(), inner.begin(), inner.end());
    for (size_t axis = 0; axis < at.size(); ++axis) at[axis] = at[axis] + box.lo[axis];
    return at;
  }

  static Shape extents(const Box& box, size_t from, size_t to) {
    Shape s;
    for (size_t i = from; i < to; ++i) s.push_back(box.extent(i));
    return s;
  }

  /// Tries a split: whether every access along the run has a vector form, and how many are gathers.
  bool fits(const Box& box, Run& run) const {
    run.rows = element_count(extents(box, 0, run.split));
    run.inner = element_count(extents(box, run.split, shape_.size()));
    if (run.inner < run.lanes) return false;
    ValueReader probe(graph_, piece_);
    probe.vectorise("i", run.lanes);
    Block block;
    const Expr row = tile::index_var("row", run.rows), i = tile::index_var("i", run.inner);
    const Coords at = coords(box, run, row, i);
    probe.read(output_, at, block);
    const tile::Stride out = tile::stride_of(linear_index(shape_, at), "i");
    run.gathers = count_gathers(block);
    return !probe.spoiled() && out.known && out.step == 1;
  }

  /// The longest run without gathers, else the longest with, else scalar along the last axis.
  Run best_run(const Box& box) const {
    Run with_gathers;
    for (size_t split = 0; widest_ > 1 && split < shape_.size(); ++split) {
      Run run;
      run.split = split;
      run.lanes = widest_;
      if (!fits(box, run)) continue;
      if (run.gathers == 0) return run;
      if (with_gathers.lanes == 1) with_gathers = run;
    }
    if (with_gathers.lanes > 1) return with_gathers;
    Run scalar;
    scalar.split = shape_.empty() ? 0 : shape_.size() - 1;
    scalar.rows = element_count(extents(box, 0, scalar.split));
    scalar.inner = element_count(extents(box, scalar.split, shape_.size()));
    return scalar;
  }

  int64_t chunk_of(int64_t count) const {
    if (options_.chunk > 0) return options_.chunk;
    // Below this the work is smaller than waking a thread; above, a few tasks a thread even out the noise.
    const int64_t least = std::max<int64_t>(1024, static_cast<int64_t>(16384 / std::max(1.0, cost_ / 4)));
    const int64_t even = (count + facts_.threads * 4 - 1) / (facts_.threads * 4);
    return std::max(least, even);
  }

  Block box_block(const Box& box, int64_t first_task, int64_t* tasks) {
    const Run run = best_run(box);
    vectorised_ = vectorised_ || run.lanes > 1;
    const int64_t chunk = chunk_of(box.count());
    const int64_t pieces = std::max<int64_t>(1, run.inner / std::max<int64_t>(chunk, run.lanes));
    const int64_t width =
        pieces == 1 ? run.inner : (run.inner + pieces - 1) / pieces / run.lanes * run.lanes + run.lanes;
    const int64_t parts = (run.inner + width - 1) / width;
    const bool blocked = is_blocked(run);
    int64_t rows_each = std::clamp<int64_t>(chunk / std::max<int64_t>(width, 1), 1, run.rows);
    if (blocked) rows_each = (rows_each + row_block - 1) / row_block * row_block;
    const int64_t row_tasks = (run.rows + rows_each - 1) / rows_each;
    *tasks += row_tasks * parts;
    Block body;
    body.push_back(tile::Let{"mine", task(*tasks + 1) - first_task});
    const Expr mine = tile::index_var("mine", row_tasks * parts);
    const Expr row_begin = mine / parts * rows_each;
    const Expr from = mine % parts * width, to = tile::min_of(from + width, run.inner);
    const Expr row_end = tile::min_of(row_begin + rows_each, run.rows);
    Block row_body = run_block(box, run, from, to, row_end);
    if (blocked) {
      body.push_back(tile::loop(Bind::serial, "block", row_begin, row_end, std::move(row_body), row_block));
      return body;
    }
    if (run.rows == 1) {
      const Block one = std::move(row_body);
      body.insert(body.end(), one.begin(), one.end());
      return body;
    }
    body.push_back(tile::loop(Bind::serial, "row", row_begin, row_end, std::move(row_body)));
    return body;
  }

  /// Gathered lanes of neighbouring rows share cache lines (a transposition): such rows are run a block at a time.
  static constexpr int64_t row_block = 16;
  static bool is_blocked(const Run& run) { return run.gathers > 0 && run.rows >= row_block; }

  /// Elements [from, to) of one row, or of the rows from `block` on.
  Block run_block(const Box& box, const Run& run, const Expr& from, const Expr& to, const Expr& row_end) {
    const Expr row = tile::index_var("row", run.rows);
    Block inner;
    reader_.forget();
    if (run.lanes > 1)
      reader_.vectorise("i", run.lanes);
    else
      reader_.scalar();
    Block out;
    if (run.lanes > 1) {
      // The last vector overlaps the one before it, so that there is no tail.
      inner.push_back(tile::Let{"i", tile::min_of(tile::var("at", tile::index_type), to - run.lanes)});
    }
    Block element;
    store(box, run, row, tile::index_var("i", run.inner), element);
    if (is_blocked(run)) {
      const Expr block = tile::index_var("block", run.rows);
      element = {tile::loop(Bind::serial, "row", block, tile::min_of(block + row_block, row_end), std::move(element))};
    }
    for (tile::Stmt& s : element) inner.push_back(std::move(s));
    const char* counter = run.lanes > 1 ? "at" : "i";
    out.push_back(
        tile::loop(run.lanes > 1 ? Bind::serial : Bind::vector, counter, from, to, std::move(inner), run.lanes));
    return out;
  }

  void store(const Box& box, const Run& run, const Expr& row, const Expr& i, Block& block) {
    const Coords at = coords(box, run, row, i);
    const DType stored = graph_[output_].dtype;
    Expr value = tile::cast(reader_.read(output_, at, block), compute_dtype(stored));
    block.push_back(tile::Store{
        buffer_name(output_), stored, {linear_index(shape_, at)}, tile::splat(std::move(value), run.lanes)});
  }

  const graph::Graph& graph_;
  const Piece& piece_;
  const NodeId output_;
  const Facts& facts_;
  const ElementwiseOptions& options_;
  const Shape& shape_;
  ValueReader reader_;
  const int widest_;
  const double cost_ = inlined_cost(graph_, piece_);
  bool vectorised_ = false;
};

}  // namespace

double inlined_cost(const graph::Graph& graph, const Piece& piece) {
  double cost = 1;
  for (NodeId id : piece.nodes)
    if (const auto* map = std::get_if<graph::MapAttr>(&graph[id].attr)) cost += expr_cost(map->expr);
  return cost;
}

ElementwiseKernel lower_elementwise(const graph::Graph& graph, const Piece& piece, NodeId output, const Facts& facts,
                                    const std::string& name, const ElementwiseOptions& options) {
  if (facts.dialect == "msl") return thread_elementwise(graph, piece, output, name);
  return Lowering(graph, piece, output, facts, options).kernel(name);
}

}  // namespace kw::kernel::schedule
