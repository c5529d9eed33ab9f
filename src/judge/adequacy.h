#pragma once
#include <string>
#include <vector>

#include "judge/gates.h"

namespace kw::judge {

using Outputs = std::vector<Tensor>;

/// What wrong outputs are made from.
struct Ingredients {
  const Case& given;                    // what the mutants are compared with
  const Outputs& right;                 // outputs that passed on it
  const Outputs& other;                 // outputs on other inputs, same parameters
  const graph::Graph* graph = nullptr;  // to evaluate on operands of a lower precision; null: those do not apply
};

/// Would the check have noticed? Wrong outputs that are made from the right ones must fail.
Adequacy try_mutants(const graph::Problem& problem, const Ingredients& from, const JudgeOptions& options);
/// Those that would pass, "zero, bf16"; "" when none would.
std::string survivors_of(const Adequacy& adequacy);

/// The record of a Problem by itself, without any candidate: the reference, rounded to the outputs' types, is what is
/// spoilt. fails: interpret.memory, interpret.index
Result<Adequacy> measure_adequacy(const graph::Problem& problem, const JudgeOptions& options);

}  // namespace kw::judge
