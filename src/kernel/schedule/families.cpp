#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "kernel/schedule/family.h"

namespace kw::kernel::schedule {

std::unique_ptr<Family> make_pointwise();
std::unique_ptr<Family> make_direct();
std::unique_ptr<Family> make_gemm();
std::unique_ptr<Family> make_gpu_gemm();
std::unique_ptr<Family> make_gpu_rows();
std::unique_ptr<Family> make_loopnest();
std::unique_ptr<Family> make_recur();
std::unique_ptr<Family> make_rows();
std::unique_ptr<Family> make_window();

namespace {

using Maker = std::unique_ptr<Family> (*)();
constexpr Maker makers[] = {
    make_pointwise, make_direct,   make_gemm,     make_window,   make_recur,
    make_rows,      make_gpu_gemm, make_gpu_rows, make_loopnest,
};

std::vector<std::unique_ptr<Family>> made_families() {
  std::vector<std::unique_ptr<Family>> list;
  for (Maker maker : makers) list.push_back(maker());
  return list;
}

}  // namespace

const std::vector<std::unique_ptr<Family>>& families() {
  static const std::vector<std::unique_ptr<Family>> list = made_families();
  return list;
}

const Family& family_of(const std::string& name) {
  for (const auto& family : families())
    if (family->name() == name) return *family;
  throw BugError("no schedule family " + name);
}

std::string Schedule::text() const {
  std::string inside;
  for (const auto& [key, value] : params) inside += fmt::format("{}{}={}", inside.empty() ? "" : ",", key, value);
  return family + "{" + inside + "}";
}

int64_t Schedule::get(const std::string& name, int64_t otherwise) const {
  const auto found = params.find(name);
  return found == params.end() ? otherwise : found->second;
}

std::string buffer_name(graph::NodeId id) { return fmt::format("v{}", id); }

double roofline_s(double flops, double bytes, int launches, const Facts& facts) {
  return std::max(flops / facts.flops_per_s, bytes / facts.bytes_per_s) + launches * facts.launch_s;
}

double piece_bytes(const graph::Graph& graph, const Piece& piece) {
  double bytes = 0;
  for (const auto* list : {&piece.inputs, &piece.outputs})
    for (graph::NodeId id : *list)
      bytes += static_cast<double>(element_count(graph[id].shape)) * static_cast<double>(size_bytes(graph[id].dtype));
  return bytes;
}

}  // namespace kw::kernel::schedule
