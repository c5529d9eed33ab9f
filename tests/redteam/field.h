#pragma once
#include <array>
#include <string_view>

#include "graph/problem.h"
#include "target/target.h"

/// What others check: outputs on a few draws of the module's own inputs, its own weights, and one tolerance.
namespace kw::redteam {

struct FieldRow {
  std::string_view name;
  int draws;
  double tolerance;  // atol = rtol
  bool scaled;       // the draws times 1, 3, 0.01 and -1
};
constexpr std::array<FieldRow, 4> field_rows = {{
    {"5 inputs at 1e-4", 5, 1e-4, false},
    {"5 inputs at 1e-2", 5, 1e-2, false},
    {"100 inputs at 1e-2", 100, 1e-2, false},
    {"4 scaled distributions at 1e-3", 4, 1e-3, true},
}};

/// Evaluates every reference before threads start.
void prepare_field(const graph::Problem& problem);
/// Which of the checks the loaded candidate passes. A crash fails all. Outputs hold NaN before each call, which is more
/// than the field's own harnesses do.
std::array<bool, field_rows.size()> pass_field(const graph::Problem& problem, target::Session& session);

}  // namespace kw::redteam
