#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "kernel/schedule/row_kernel.h"

/// The outside of a row kernel: tasks, rows of a task, and the combination of split rows.
namespace kw::kernel::schedule {

using graph::NodeId;
using tile::Bind;
using tile::Block;
using tile::Expr;

namespace {

int gathers_in(const Expr& e) {
  int n = e->op == tile::Op::gather ? 1 : 0;
  for (const Expr& a : e->args) n += gathers_in(a);
  return n;
}

int gathers_in(const Block& block) {
  int n = 0;
  for (const tile::Stmt& s : block) {
    if (auto* let = std::get_if<tile::Let>(&s.base())) n += gathers_in(let->value);
    if (auto* set = std::get_if<tile::Assign>(&s.base())) n += gathers_in(set->value);
    if (auto* store = std::get_if<tile::Store>(&s.base())) n += gathers_in(store->value);
    if (auto* loop = std::get_if<tile::For>(&s.base())) n += gathers_in(*loop->body);
    if (auto* branch = std::get_if<tile::If>(&s.base()))
      n += gathers_in(*branch->then) + (branch->otherwise ? gathers_in(*branch->otherwise) : 0);
  }
  return n;
}

}  // namespace

int RowKernel::gathers() const {
  int n = 0;
  for (const tile::Function& f : lowered_.functions) n += gathers_in(f.body);
  return n;
}

/// Rows, or blocks of rows side by side.
int64_t RowKernel::items() const {
  if (!setting_.across) return domain_.rows;
  const int64_t width = int64_t{setting_.lanes} * setting_.unroll;
  return domain_.rows / setting_.inner * ((setting_.inner + width - 1) / width);
}

Block RowKernel::item_body(const Expr& item) {
  Block body;
  if (!setting_.across) {
    row_ = item;
  } else {
    const int64_t width = int64_t{setting_.lanes} * setting_.unroll, extent = setting_.inner;
    const int64_t blocks = (extent + width - 1) / width;
    // The last block overlaps its neighbour: both write the same values there.
    body.push_back(tile::Let{"r", tile::min_of(item % blocks * width, Expr(extent - width))});
    row_ = item / blocks * extent + tile::index_var_in("r", 0, std::max<int64_t>(extent - width, 1));
  }
  all_passes(body);
  return body;
}

void RowKernel::build() {
  const int64_t parts = setting_.parts, each = std::min(setting_.each, items());
  const int64_t groups = (items() + each - 1) / each;
  const Expr task = tile::index_var("task", groups * parts);
  Block body;
  part_ = parts > 1 ? task % parts : Expr(0);
  const Expr group = parts > 1 ? task / parts : task;
  if (each == 1) {
    body = item_body(group);
  } else {
    const Expr item = tile::index_var("item", items());
    body.push_back(
        tile::loop(Bind::serial, "item", group * each, tile::min_of(group * each + each, items()), item_body(item)));
  }
  const bool split = parts > 1;
  if (split) {
    const int64_t count = static_cast<int64_t>(domain_.reduces.size()) * parts * domain_.rows;
    lowered_.buffers.push_back({parts_name(), Role::scratch, 0, "", parts_param(true).dtype, {SizeExpr(count)}});
  }
  finish(task_.name, std::move(body), groups * parts, split ? std::vector<NodeId>{} : task_.piece.outputs,
         split ? std::vector<tile::Param>{parts_param(true)} : std::vector<tile::Param>{});
}

tile::Param RowKernel::parts_param(bool written) const {
  return {parts_name(), compute_dtype(graph_[domain_.reduces[0]].dtype), true, written};
}

Expr RowKernel::parts_index(size_t reduce, const Expr& part, const Expr& row) const {
  return (part + static_cast<int64_t>(reduce) * setting_.parts) * domain_.rows + row;
}

void RowKernel::store_parts(Block& out) {
  combine(out);
  for (size_t k = 0; k < domain_.reduces.size(); ++k)
    for (int side = 0; side < sides(); ++side) {
      const Expr value = values_.at(domain_.reduces[k]).at(static_cast<size_t>(side));
      const Expr index = parts_index(k, part_, side_point(side).row);
      out.push_back(tile::Store{parts_name(), parts_param(true).dtype, {index}, value});
    }
}

void RowKernel::build_combine() {
  const int64_t groups = (domain_.rows + setting_.each - 1) / setting_.each;
  const Expr task = tile::index_var("task", groups);
  row_ = tile::index_var("row", domain_.rows);
  now_ = domain_.reduces;
  Block row;
  allocate("sum", row);
  reset("sum", row);
  Block turn;
  for (size_t k = 0; k < domain_.reduces.size(); ++k) {
    const NodeId id = domain_.reduces[k];
    const DType dtype = parts_param(false).dtype;
    const Expr part = tile::load(parts_name(), dtype, {parts_index(k, tile::index_var("part", setting_.parts), row_)});
    const Expr so_far = tile::load(name("sum", id), dtype, {Expr(0)});
    turn.push_back(tile::Assign{name("sum", id), {Expr(0)}, joined(id, so_far, part)});
  }
  row.push_back(tile::loop(Bind::serial, "part", 0, setting_.parts, std::move(turn)));
  combine(row);
  reduced_values(0, row);
  reduced_values(1, row);
  store_reduced(row);
  Block body;
  const Expr from = task * setting_.each, to = tile::min_of(from + setting_.each, domain_.rows);
  body.push_back(tile::loop(Bind::serial, "row", from, to, std::move(row)));
  finish(task_.name + "_combine", std::move(body), groups, task_.piece.outputs, {parts_param(false)});
}

void RowKernel::finish(const std::string& kernel, Block body, int64_t groups, const std::vector<NodeId>& written,
                       const std::vector<tile::Param>& extra) {
  tile::Function f;
  f.name = kernel;
  f.params = kernel_params(graph_, reader_, written);
  f.params.insert(f.params.end(), extra.begin(), extra.end());
  f.body.push_back(tile::loop(Bind::grid, "task", 0, groups, std::move(body)));
  Launch launch;
  launch.kernel = kernel;
  launch.args = launch_args(f.params);
  launch.groups = {groups, 1, 1};
  lowered_.functions.push_back(std::move(f));
  lowered_.steps.emplace_back(std::move(launch));
}

}  // namespace kw::kernel::schedule
