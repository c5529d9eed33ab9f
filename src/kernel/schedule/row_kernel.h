#pragma once
#include <string>
#include <vector>

#include "kernel/schedule/row_domain.h"

namespace kw::kernel::schedule {

/// How a row piece is run.
struct RowSetting {
  bool across = false;  // lanes run across rows (the rows' last axes are contiguous), not along the row
  int lanes = 1;
  int64_t inner = 1;  // along: columns are visited as columns/inner runs of this many; across: rows side by side
  int unroll = 4;     // along: vectors in flight; across: vectors of rows side by side
  int64_t parts = 1;  // a row's columns are split over so many tasks, a second kernel combines
  int64_t each = 1;   // rows (across: blocks of rows) a task
  bool keep = true;   // expensive values stay in a buffer of the row between passes
};

/// One setting's kernels. `usable` says whether every access has a vector form, and no store is strided.
class RowKernel {
 public:
  RowKernel(const Task& task, const RowDomain& domain, const RowSetting& setting);
  /// The kernel, or with setting.parts > 1 the one that leaves a partial result a part.
  void build();
  /// The kernel that combines them.
  void build_combine();
  bool usable() const { return fault_.empty() && !reader_.spoiled(); }
  const std::string& fault() const { return fault_; }
  /// Strided vector loads in the code.
  int gathers() const;
  Lowered take() { return std::move(lowered_); }

 private:
  /// One place that a pass looks at: `lanes` elements from (row, column) on.
  struct Point {
    tile::Expr row, column;
    std::string lane_var;
    int lanes = 1;
    int slot = 0;           // accumulator
    int side = 0;           // across: which vector of rows
    tile::Expr keep_index;  // place in the row's buffer
    tile::Expr valid;       // mask of lanes that count, or empty
  };
  using Points = std::vector<Point>;

  int64_t items() const;
  tile::Block item_body(const tile::Expr& item);
  void all_passes(tile::Block& out);
  void pass(int number, tile::Block& out);
  void walk_along(tile::Block& out);
  void walk_across(tile::Block& out);
  void along_run(const tile::Expr& outer, tile::Block& out);
  void along_rest(const tile::Expr& outer, tile::Block& out);
  void visit(const Points& points, const std::string& accumulators, tile::Block& out);
  void visit_one(const Point& point, const std::string& accumulators, tile::Block& out);
  void store_full(graph::NodeId id, const Point& point, tile::Block& out);
  void enter(const Point& point);
  Coords coords(const Coords& symbolic, const Point& point) const;
  void allocate(const std::string& prefix, tile::Block& out);
  void reset(const std::string& prefix, tile::Block& out);
  void flush(tile::Block& out);
  void combine(tile::Block& out);
  void reduced_values(int stage, tile::Block& out);
  void store_reduced(tile::Block& out);
  void store_parts(tile::Block& out);
  void define_value(graph::NodeId id);
  tile::Param parts_param(bool written) const;
  tile::Expr parts_index(size_t reduce, const tile::Expr& part, const tile::Expr& row) const;
  void finish(const std::string& kernel, tile::Block body, int64_t groups, const std::vector<graph::NodeId>& written,
              const std::vector<tile::Param>& extra);
  tile::Expr identity(graph::NodeId reduce, int lanes) const;
  tile::Expr joined(graph::NodeId reduce, const tile::Expr& a, const tile::Expr& b) const;
  tile::Type type_of(graph::NodeId id, int lanes) const;
  std::string name(const std::string& prefix, graph::NodeId id) const;
  std::string parts_name() const { return task_.name + "_parts"; }
  int sides() const { return setting_.across ? setting_.unroll : 1; }
  Point side_point(int side) const;
  bool is_long() const;

  const Task& task_;
  const graph::Graph& graph_;
  const RowDomain& domain_;
  const RowSetting setting_;
  ValueReader reader_;
  Lowered lowered_;
  std::map<graph::NodeId, int> kept_;
  std::map<graph::NodeId, std::vector<tile::Expr>> values_;  // reduced values, one a side
  std::vector<graph::NodeId> now_;                           // Reduces of the pass
  int pass_ = 0;
  Point point_;
  tile::Expr row_;   // along: the row; across: the first row of the block
  tile::Expr part_;  // task's number among setting_.parts
  int names_ = 0;
  std::string fault_;
};

}  // namespace kw::kernel::schedule
