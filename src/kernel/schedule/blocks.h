#pragma once
#include <cstdint>
#include <string>
#include <utility>

#include "kernel/tile.h"

/// Putting statements together, for every lowering.
namespace kw::kernel::schedule {

inline void append(tile::Block& to, tile::Block from) {
  for (auto& stmt : from) to.push_back(std::move(stmt));
}

inline tile::Block one(tile::Stmt stmt) {
  tile::Block block;
  block.push_back(std::move(stmt));
  return block;
}

/// `name` = value, with the range that the code guarantees.
inline tile::Expr let(tile::Block& block, const std::string& name, const tile::Expr& value, int64_t lo, int64_t hi) {
  block.push_back(tile::Let{name, value});
  return tile::index_var_in(name, lo, hi);
}

}  // namespace kw::kernel::schedule
