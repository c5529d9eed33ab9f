#include "kernel/schedule/gemm_pack.h"

#include <algorithm>
#include <utility>

namespace kw::kernel::schedule {

using tile::Bind;
using tile::Block;
using tile::Expr;

namespace {

Expr minimum(const Expr& a, const Expr& b) { return tile::min_of(a, b); }

Block one(tile::Stmt stmt) {
  Block block;
  block.push_back(std::move(stmt));
  return block;
}

}  // namespace

Packer::Packer(const graph::Graph& graph, const Piece& piece, const GemmProblem& problem, bool rows, int width,
               int lanes, std::string prefix, std::string transpose)
    : graph_(graph),
      piece_(piece),
      problem_(problem),
      side_(rows ? problem.rows : problem.columns),
      own_(rows ? problem.m : problem.n),
      width_(width),
      lanes_(lanes),
      prefix_(std::move(prefix)),
      transpose_(std::move(transpose)) {
  way_ = choose_way();
}

Coords Packer::coords(const Expr& outer, const Expr& x, const Expr& k) const {
  LabelValues values;
  bind_labels(problem_.outer, outer, values);
  bind_labels(problem_.k, k, values);
  bind_labels(own_, x, values);
  return operand_coords(side_, values);
}

bool Packer::vector_reads(const std::string& lane_var, const Coords& at) const {
  const tile::Stride stride = value_stride(graph_, piece_, side_.operand, at, lane_var);
  if (!stride.known || stride.step != 1) return false;
  ValueReader probe(graph_, piece_);
  probe.vectorise(lane_var, lanes_);
  Block unused;
  probe.read(side_.operand, at, unused);
  return !probe.spoiled();
}

PackWay Packer::choose_way() const {
  const Expr outer = tile::index_var("po", problem_.outer.size());
  const Expr x = tile::index_var("px", own_.size()), k = tile::index_var("pk", problem_.k.size());
  const Coords at = coords(outer, x, k);
  if (own_.size() >= lanes_ && vector_reads("px", at)) return PackWay::along;
  if (problem_.k.size() >= lanes_ && vector_reads("pk", at)) return PackWay::across;
  return PackWay::scalar;
}

Block Packer::fill(ValueReader& reader, const Expr& outer, const Expr& x0, const Expr& k0, const Expr& kc,
                   const PanelTarget& to) const {
  Block block;
  reader.forget();
  if (way_ == PackWay::along) block = along(reader, outer, x0, k0, kc, to);
  if (way_ == PackWay::across) block = across(reader, outer, x0, k0, kc, to);
  if (way_ == PackWay::scalar) block = scalars(reader, outer, x0, k0, 0, kc, to, "s");
  reader.forget();
  reader.scalar();
  return block;
}

Block Packer::scalars(ValueReader& reader, const Expr& outer, const Expr& x0, const Expr& k0, const Expr& from,
                      const Expr& kc, const PanelTarget& to, const std::string& tag) const {
  const std::string kn = prefix_ + tag + "k", in = prefix_ + tag + "i", zn = prefix_ + tag + "z";
  const Expr k = tile::index_var(kn, problem_.k.size()), i = tile::index_var(in, width_);
  const Expr z = tile::index_var(zn, width_);
  const Expr count = minimum(width_, own_.size() - x0);
  const DType stored = problem_.dtype;
  reader.forget();
  reader.scalar();
  Block copy;
  const Expr value = reader.read(side_.operand, coords(outer, x0 + i, k0 + k), copy);
  copy.push_back(tile::Store{to.array, stored, {to.base + k * width_ + i}, value});
  reader.forget();
  Block line;
  line.push_back(tile::loop(Bind::serial, in, 0, count, std::move(copy)));
  line.push_back(tile::loop(Bind::serial, zn, count, width_,
                            one(tile::Store{to.array, stored, {to.base + k * width_ + z}, tile::imm(0, {stored, 1})})));
  return one(tile::loop(Bind::serial, kn, from, kc, std::move(line)));
}

Block Packer::along(ValueReader& reader, const Expr& outer, const Expr& x0, const Expr& k0, const Expr& kc,
                    const PanelTarget& to) const {
  // A vector that is wider than the panel spills into the next k, which is written after it; the last k goes scalar.
  const int chunks = (width_ + lanes_ - 1) / lanes_;
  const bool spills = chunks * lanes_ != width_;
  const std::string kn = prefix_ + "vk", in = prefix_ + "vi";
  const Expr k = tile::index_var(kn, problem_.k.size());
  const Expr i = tile::index_var(in, std::int64_t{chunks} * lanes_);
  const Expr last = spills ? kc - 1 : kc;
  reader.forget();
  reader.vectorise(in, lanes_);
  Block copy;
  Expr value = reader.read(side_.operand, coords(outer, x0 + i, k0 + k), copy);
  if (value.type().lanes == 1) value = tile::splat(value, lanes_);
  copy.push_back(tile::Store{to.array, problem_.dtype, {to.base + k * width_ + i}, value});
  reader.forget();
  Block line = one(tile::loop(Bind::serial, in, 0, chunks * lanes_, std::move(copy), lanes_));
  Block fast = one(tile::loop(Bind::serial, kn, 0, last, std::move(line)));
  if (spills)
    for (auto& stmt : scalars(reader, outer, x0, k0, last, kc, to, "l")) fast.push_back(std::move(stmt));
  Block slow = scalars(reader, outer, x0, k0, 0, kc, to, "e");
  return one(tile::branch(own_.size() - x0 >= Expr(chunks * lanes_), std::move(fast), std::move(slow)));
}

Block Packer::across(ValueReader& reader, const Expr& outer, const Expr& x0, const Expr& k0, const Expr& kc,
                     const PanelTarget& to) const {
  const std::string kn = prefix_ + "tk", in = prefix_ + "ti", zn = prefix_ + "tz", lane = prefix_ + "tl";
  const std::string block_name = prefix_ + "tb";
  const tile::Type vector{problem_.dtype, lanes_};
  const Expr k = tile::index_var(kn, problem_.k.size()), i = tile::index_var(in, width_);
  const Expr z = tile::index_var(zn, width_);
  const Expr count = minimum(width_, own_.size() - x0), whole = kc / lanes_ * lanes_;
  reader.forget();
  reader.vectorise(kn, lanes_);
  Block read;
  Expr value = reader.read(side_.operand, coords(outer, x0 + i, k0 + k), read);
  if (value.type().lanes == 1) value = tile::splat(value, lanes_);
  read.push_back(tile::Store{block_name, problem_.dtype, {i * lanes_}, value});
  reader.forget();
  Block turn;
  turn.push_back(tile::loop(Bind::serial, in, 0, count, std::move(read)));
  turn.push_back(tile::CallStmt{transpose_, {tile::var(block_name, {problem_.dtype, 1}),
                                             tile::var(to.array, {problem_.dtype, 1}), to.base + k * width_}});
  Block block;
  block.push_back(tile::Alloc{tile::Space::local, {problem_.dtype, 1}, block_name, {std::int64_t{width_} * lanes_}});
  block.push_back(tile::loop(Bind::serial, zn, count, width_,
                             one(tile::Store{block_name, problem_.dtype, {z * lanes_},
                                             tile::splat(tile::imm(0, {problem_.dtype, 1}), lanes_)})));
  block.push_back(tile::loop(Bind::serial, kn, 0, whole, std::move(turn), lanes_));
  for (auto& stmt : scalars(reader, outer, x0, k0, whole, kc, to, "r")) block.push_back(std::move(stmt));
  return block;
}

}  // namespace kw::kernel::schedule
