#pragma once
#include <optional>
#include <vector>

#include "judge/gates.h"

namespace kw::judge {

/// Outputs and states of one call, in the order of Graph::outputs.
struct Ran {
  std::vector<Tensor> outputs;
  std::optional<Finding> fault;  // crash, missing output, changed input: then `outputs` is empty
};

/// Binds the case's parameters (states start from them) and calls once.
Ran execute(const graph::Problem& problem, target::Session& session, const Case& given,
            const target::RunOptions& options);

/// Compares every output with the case's reference.
struct Judged {
  std::vector<Tally> tallies;  // one an output
  std::optional<Finding> fault;
  bool shown() const;
};
Judged judge_outputs(const graph::Problem& problem, const Case& given, const std::vector<Tensor>& outputs,
                     const JudgeOptions& options);

/// Bit for bit, any NaN equal to any NaN. The first output that differs, or nothing.
std::optional<std::string> first_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b);

/// 2, or 4, times the chance that two honest errors of n elements differ by: two root mean squares of n independent
/// errors have a log ratio of standard deviation 1 / sqrt(n); three of those are allowed for.
double allowed_ratio(AccuracyClass accuracy, int64_t elements);

}  // namespace kw::judge
