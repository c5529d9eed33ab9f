#include "kernel/schedule/gemm_pack.h"

#include <algorithm>
#include <utility>

#include "kernel/schedule/blocks.h"

namespace kw::kernel::schedule {

using tile::Bind;
using tile::Block;

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

Block Packer::fill(ValueReader& reader, const PanelFill& what) const {
  Block block;
  if (way_ == PackWay::along) block = along(reader, what);
  if (way_ == PackWay::across) block = across(reader, what);
  if (way_ == PackWay::scalar) block = scalars(reader, what, 0, "s");
  reader.forget();
  reader.scalar();
  return block;
}

Block Packer::copy(ValueReader& reader, const PanelFill& what, const std::string& tag, const Expr& i, const Expr& k,
                   const std::string& array, const Expr& index, int lanes) const {
  const std::string xn = prefix_ + tag + "x", yn = prefix_ + tag + "y";
  Block block;
  block.push_back(tile::Let{xn, what.x0 + i});
  block.push_back(tile::Let{yn, what.k0 + k});
  reader.forget();
  const Coords at = coords(what.outer, tile::index_var(xn, own_.size()), tile::index_var(yn, problem_.k.size()));
  const Expr value = reader.read(side_.operand, at, block);
  block.push_back(tile::Store{array, problem_.dtype, {index}, tile::splat(value, lanes)});
  reader.forget();
  return block;
}

Block Packer::scalars(ValueReader& reader, const PanelFill& what, const Expr& from, const std::string& tag) const {
  const std::string kn = prefix_ + tag + "k", in = prefix_ + tag + "i", zn = prefix_ + tag + "z";
  const Expr k = tile::index_var(kn, what.kc_limit), i = tile::index_var(in, width_), z = tile::index_var(zn, width_);
  const Expr count = tile::min_of(width_, own_.size() - what.x0);
  reader.scalar();
  Block line;
  line.push_back(
      tile::loop(Bind::serial, in, 0, count, copy(reader, what, tag, i, k, what.array, what.base + k * width_ + i, 1)));
  const Expr zero = tile::imm(0, {problem_.dtype, 1});
  line.push_back(tile::loop(Bind::serial, zn, count, width_,
                            one(tile::Store{what.array, problem_.dtype, {what.base + k * width_ + z}, zero})));
  return one(tile::loop(Bind::serial, kn, from, what.kc, std::move(line)));
}

Block Packer::along(ValueReader& reader, const PanelFill& what) const {
  // A vector that is wider than the panel spills into the next k's, which are written after it; the last ones that
  // would spill past the end go scalar.
  const int64_t span = (width_ + lanes_ - 1) / lanes_ * lanes_;
  const int64_t spills = (span + width_ - 1) / width_ - 1;
  const std::string kn = prefix_ + "vk", in = prefix_ + "vi", tag = "v";
  const Expr k = tile::index_var_in(kn, 0, std::max<int64_t>(what.kc_limit - 1 - spills, 0));
  const Expr i = tile::index_var_in(in, 0, span - lanes_);
  reader.vectorise(prefix_ + tag + "x", lanes_);
  Block move = copy(reader, what, tag, i, k, what.array, what.base + k * width_ + i, lanes_);
  Block fast = one(tile::loop(Bind::serial, kn, 0, what.kc - spills,
                              one(tile::loop(Bind::serial, in, 0, span, std::move(move), lanes_))));
  if (spills > 0)
    for (auto& stmt : scalars(reader, what, tile::max_of(what.kc - spills, 0), "l")) fast.push_back(std::move(stmt));
  return one(tile::branch(own_.size() - what.x0 >= Expr(span), std::move(fast), scalars(reader, what, 0, "e")));
}

Block Packer::across(ValueReader& reader, const PanelFill& what) const {
  const std::string kn = prefix_ + "tk", in = prefix_ + "ti", zn = prefix_ + "tz", tag = "t";
  const std::string square = prefix_ + "tb";
  const Expr k = tile::index_var_in(kn, 0, std::max<int64_t>(what.kc_limit - lanes_, 0));
  const Expr i = tile::index_var(in, width_), z = tile::index_var(zn, width_);
  const Expr count = tile::min_of(width_, own_.size() - what.x0), whole = what.kc / lanes_ * lanes_;
  reader.vectorise(prefix_ + tag + "y", lanes_);
  Block turn;
  turn.push_back(tile::loop(Bind::serial, in, 0, count, copy(reader, what, tag, i, k, square, i * lanes_, lanes_)));
  turn.push_back(tile::CallStmt{
      transpose_,
      {tile::var(square, {problem_.dtype, 1}), tile::var(what.array, {problem_.dtype, 1}), what.base + k * width_}});
  Block block;
  block.push_back(tile::Alloc{tile::Space::local, {problem_.dtype, 1}, square, {int64_t{width_} * lanes_}});
  const Expr zero = tile::imm(0, {problem_.dtype, lanes_});
  block.push_back(
      tile::loop(Bind::serial, zn, count, width_, one(tile::Store{square, problem_.dtype, {z * lanes_}, zero})));
  block.push_back(tile::loop(Bind::serial, kn, 0, whole, std::move(turn), lanes_));
  for (auto& stmt : scalars(reader, what, whole, "r")) block.push_back(std::move(stmt));
  return block;
}

}  // namespace kw::kernel::schedule
