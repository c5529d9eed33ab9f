#include "kernel/schedule/boxes.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kernel/affine.h"

namespace kw::kernel::schedule {
namespace {

using tile::Expr;
using tile::Op;

constexpr size_t most_boxes = 64;

/// Adds the first value of the coordinate at which the comparison's truth may change.
void add_split(const Expr& e, std::vector<std::set<int64_t>>& splits, const Shape& shape) {
  if (e->op == Op::land || e->op == Op::lor) {
    for (const Expr& a : e->args) add_split(a, splits, shape);
    return;
  }
  if (e->op != Op::lt && e->op != Op::le) return;
  tile::Affine d = tile::affine_of(e->args[0]);
  tile::add_scaled(d, tile::affine_of(e->args[1]), -1);
  if (d.terms.size() != 1 || d.terms[0].atom->op != Op::var || std::abs(d.terms[0].factor) != 1) return;
  const std::string& name = d.terms[0].atom->name;  // "a<axis>"
  const auto axis = static_cast<size_t>(std::stoi(name.substr(1)));
  // d = +-v + c compared with 0: the border lies at v = -+c, one further where it belongs to the lower side.
  const bool rising = d.terms[0].factor > 0;
  const int64_t zero = rising ? -d.constant : d.constant;
  const bool inclusive = e->op == Op::le;
  const int64_t border = zero + (inclusive == rising ? 1 : 0);
  if (border > 0 && border < shape[axis]) splits[axis].insert(border);
}

std::vector<Box> product_of(const std::vector<std::set<int64_t>>& splits, const Shape& shape) {
  std::vector<Box> boxes(1);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    std::vector<int64_t> edges{0};
    edges.insert(edges.end(), splits[axis].begin(), splits[axis].end());
    edges.push_back(shape[axis]);
    std::vector<Box> next;
    for (const Box& box : boxes)
      for (size_t i = 0; i + 1 < edges.size(); ++i) {
        next.push_back(box);
        next.back().lo.push_back(edges[i]);
        next.back().hi.push_back(edges[i + 1]);
      }
    boxes = std::move(next);
    if (boxes.size() > most_boxes) return {};
  }
  return boxes;
}

}  // namespace

int64_t Box::count() const {
  int64_t n = 1;
  for (size_t i = 0; i < lo.size(); ++i) n *= extent(i);
  return n;
}

std::vector<Box> decided_boxes(const graph::Graph& graph, const Piece& piece, graph::NodeId output) {
  const Shape& shape = graph[output].shape;
  Coords at;
  for (size_t i = 0; i < shape.size(); ++i) at.push_back(tile::index_var(fmt::format("a{}", i), shape[i]));
  ValueReader probe(graph, piece);
  tile::Block ignored;
  probe.read(output, at, ignored);
  std::vector<std::set<int64_t>> splits(shape.size());
  for (const Expr& e : probe.undecided()) add_split(e, splits, shape);
  std::vector<Box> boxes = product_of(splits, shape);
  if (!boxes.empty()) return boxes;
  Box whole{std::vector<int64_t>(shape.size(), 0), shape};
  return {whole};
}

}  // namespace kw::kernel::schedule
