#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "graph/interpret.h"
#include "graph/problem.h"
#include "judge/draw.h"
#include "judge/verdict.h"

namespace kw::judge {

/// What to draw: one row of the judge's case table with its seed.
struct CaseKey {
  std::string suite;
  ParamDraw params = ParamDraw::own;
  uint64_t seed = 0;
  int draw = -1;  // number of the module's own example; -1: a fresh draw
  auto operator<=>(const CaseKey&) const = default;
};

/// Inputs, parameters and what must come out.
struct Case {
  CaseKey key;
  ParamDraw params_drawn = ParamDraw::own;  // integers fall back to redrawn where the graph rounds
  std::vector<Tensor> inputs;
  std::map<std::string, Tensor> params;
  graph::Evaluation expected;  // user outputs and states, as Graph::outputs
  /// What PyTorch makes of them, as Graph::outputs; all empty when it was not asked or could not. A state that it did
  /// not tell has no data.
  std::vector<Tensor> framework;
  std::string framework_failure;  // why it could not
  bool exact = false;             // small integers through exact operations: no rounding is allowed
  double seconds = 0;             // what making it took
  size_t bytes() const;
};

/// Draws and evaluates. fails: interpret.memory, interpret.time, interpret.index
Result<std::shared_ptr<const Case>> make_case(const graph::Problem& problem, const CaseKey& key,
                                              const JudgeOptions& options,
                                              std::chrono::steady_clock::time_point deadline);

/// References that many candidates of one Problem share, so that a search pays for each once.
class ReferenceCache {
 public:
  explicit ReferenceCache(size_t limit_bytes = size_t{1} << 30);
  /// From the operating system's entropy; the cases of quick judgements derive from it.
  uint64_t seed() const { return seed_; }
  std::shared_ptr<const Case> find(const CaseKey& key);
  /// Keeps it unless that exceeds the limit.
  void keep(const std::shared_ptr<const Case>& made);

 private:
  std::mutex mutex_;
  uint64_t seed_;
  size_t limit_bytes_, held_bytes_ = 0;
  std::map<CaseKey, std::shared_ptr<const Case>> cases_;
};

}  // namespace kw::judge
