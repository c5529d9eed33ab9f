#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "graph/graph.h"
#include "module/program.h"

namespace kw::graph {

enum class Mode : uint8_t { eval, train };

/// What is known of one user input's values, read off the example inputs: how the judge may draw it.
struct InputDomain {
  double lo = 0, hi = 0;     // observed range (integers: inclusive)
  double mean = 0, std = 1;  // observed, floats only
  bool observed = false;
  bool integral = false;  // integer or bool dtype
};

/// A Module as Kernelwright sees it.
struct Problem {
  std::string name;      // "mlp_gelu"
  std::string source;    // FILE.py[:factory] or model.pt2, as the user wrote it
  std::string pt2_path;  // the exported archive
  Mode mode = Mode::eval;
  std::shared_ptr<module::LoadedModule> loaded;  // program and the module's own weights
  Graph graph;                                   // as imported, before any rewrite
  std::vector<InputDomain> domains;              // one for each graph input
  /// Draws of the module's own get_inputs(), first the example inputs; may be empty (bare .pt2).
  std::vector<std::vector<Tensor>> example_draws;

  /// The module's own weights by name (what Graph::params lists).
  std::map<std::string, Tensor> params() const;
};

}  // namespace kw::graph
