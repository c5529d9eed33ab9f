#include <algorithm>
#include <set>

#include "judge/gates.h"

/// Shapes other than the given ones must be refused by the Plan: its author saw one set of shapes only, and a Plan
/// that takes others has to be verified against the module exported again at those.
namespace kw::judge {

namespace {

/// Every input axis of size `from` becomes `to`, as a larger batch would make it; outputs follow.
kernel::Signature resized(kernel::Signature signature, int64_t from, int64_t to) {
  const auto change = [&](std::vector<kernel::Signature::Slot>& slots) {
    for (kernel::Signature::Slot& slot : slots) std::replace(slot.shape.begin(), slot.shape.end(), from, to);
  };
  change(signature.inputs);
  change(signature.outputs);
  return signature;
}

/// Of the inputs that the graph reads: the others may have any shape.
std::vector<int64_t> sizes_of(const graph::Graph& graph) {
  std::set<int64_t> sizes;
  for (const graph::Node& node : graph.nodes)
    if (node.is<graph::InputAttr>()) sizes.insert(node.shape.begin(), node.shape.end());
  return {sizes.begin(), sizes.end()};
}

}  // namespace

Finding gate_shapes(Trial& trial) {
  int refused = 0;
  for (const int64_t size : sizes_of(trial.problem.graph)) {
    for (const int64_t other : {int64_t{1}, int64_t{2}, int64_t{31}, int64_t{33}, size - 1, size + 1, size * 2}) {
      if (other == size || other < 1) continue;
      if (kernel::bind_plan(trial.plan, resized(trial.signature, size, other), trial.target.limits()))
        return inconclusive("the Plan also takes inputs with " + std::to_string(other) + " in place of " +
                            std::to_string(size) + ", a shape that it was not verified on; guard it");
      ++refused;
    }
  }
  return passed("refuses all of " + std::to_string(refused) + " other shapes");
}

}  // namespace kw::judge
