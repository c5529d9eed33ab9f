#include <algorithm>
#include <unordered_map>

#include "graph/aten/call.h"

namespace kw::graph::aten {

namespace {

using Table = std::unordered_map<std::string, Expand>;

void add_row(Table& table, const Row& row) {
  std::string_view rest = row.targets;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    std::string name = "aten." + std::string(rest.substr(0, end));
    if (name.find('.', 5) == std::string::npos) name += ".default";
    check(table.emplace(name, row.expand).second, "an ATen target has two rows");
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

Table& table() {
  static Table all = [] {
    Table t;
    for (const auto& family :
         {arithmetic_rows, activation_rows, view_rows, shape_rows, reduction_rows, scan_rows, product_rows, einsum_rows,
          convolution_rows, pooling_rows, resample_rows, normalisation_rows, loss_rows, recurrent_rows, attention_rows,
          index_rows, scatter_rows, creation_rows, random_rows}) {
      for (const Row& row : family()) add_row(t, row);
    }
    return t;
  }();
  return all;
}

}  // namespace

const Expand* find_expansion(std::string_view target) {
  const auto found = table().find(std::string(target));
  return found == table().end() ? nullptr : &found->second;
}

std::vector<std::string> table_targets() {
  std::vector<std::string> names;
  for (const auto& [name, expand] : table()) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

void add_rows(const Rows& rows) {
  for (const Row& row : rows) add_row(table(), row);
}

}  // namespace kw::graph::aten
