#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernel/schedule/compose.h"

namespace kw::kernel::schedule {

/// The kernels of a whole graph: text, own buffers and steps. Leaves are called by the names given for them.
struct Composition {
  std::string text;
  std::vector<Buffer> buffers;  // prepared and scratch
  std::vector<Step> prepare, steps;
  std::map<graph::NodeId, std::string> value_names;  // of every stored value, and of the leaves
  std::vector<std::string> notes;
  std::vector<int> piece_of_step;  // for each launch of `steps`, repeats unrolled: the piece it belongs to
};

struct ComposeRequest {
  const graph::Graph& graph;
  const Partition& parts;
  const Choice& choice;
  const Facts& facts;
  std::string prefix;                                // of every name made here
  std::map<graph::NodeId, std::string> given_names;  // leaves, and values that go to a buffer of the caller's
};
/// Values that are not given a name get scratch (shared by lifetime) or prepared buffers; values in `kept` live to the
/// end.
Result<Composition> compose(const ComposeRequest& request, const std::vector<graph::NodeId>& kept);

/// Calls `f` with every launch, those inside repeats too.
void for_each_launch(std::vector<Step>& steps, const std::function<void(Launch&)>& f);
/// Launches of `steps` with repeats unrolled.
int64_t count_launches(const std::vector<Step>& steps);
/// "kw_copy_f32": KW_KERNEL text that copies n elements, and its launch.
std::string copy_kernel_text(DType dtype, const Facts& facts);
Launch copy_launch(DType dtype, const std::string& from, const std::string& to, int64_t count, const Facts& facts);

}  // namespace kw::kernel::schedule
