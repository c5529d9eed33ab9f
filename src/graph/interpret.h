#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/graph.h"

namespace kw::graph {

/// A float64 value with an error bound beside each element. Integers are held exactly up to 2^53.
struct Reference {
  DType dtype = DType::f32;  // of the module's tensor
  Shape shape;
  std::vector<double> value;
  std::vector<double> bound;  // empty when bounds were not asked for
};

struct InterpretOptions {
  bool bounds = true;
  /// Compute precision whose roundoff the bounds assume for float32 modules.
  double roundoff = 0x1p-24;
  size_t memory_limit_bytes = size_t{8} << 30;
  std::optional<std::chrono::steady_clock::time_point> deadline;  // work that is not begun by then is not done
};

struct Evaluation {
  std::vector<Reference> outputs;  // one for each Graph::outputs entry, states too
  int64_t straddled = 0;           // elements where bounds met a branch and either side is accepted
  int64_t overflowing = 0;         // sums whose terms leave the type's range in some order of summation
};

/// Evaluates the graph in float64 from exact input bits. inputs: as Graph::inputs; params: by name.
/// fails: interpret.memory, interpret.time (the deadline passed), interpret.index (gather index out of range)
Result<Evaluation> interpret(const Graph& graph, const std::vector<Tensor>& inputs,
                             const std::map<std::string, Tensor>& params, const InterpretOptions& options = {});

}  // namespace kw::graph
