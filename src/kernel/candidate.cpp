#include "kernel/candidate.h"

#include "base/hash.h"

namespace kw::kernel {

std::string Candidate::key() const {
  // The length keeps source and plan apart: moving text from one to the other changes the key.
  return sha256(std::to_string(source.size()) + "\n" + source + plan_json);
}

Signature signature_of(const graph::Graph& graph) {
  Signature signature;
  for (const auto& input : graph.inputs) signature.inputs.push_back({input.dtype, input.shape});
  for (const auto& param : graph.params) signature.parameters[param.name] = {param.dtype, param.shape};
  for (const auto& output : graph.outputs) {
    const auto& node = graph[output.node];
    if (output.is_state) {
      signature.states.push_back(output.state_name);
    } else {
      signature.outputs.push_back({node.dtype, node.shape});
    }
  }
  return signature;
}

}  // namespace kw::kernel
