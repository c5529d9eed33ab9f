#pragma once
#include <string>
#include <vector>

#include "graph/problem.h"

/// Small modules, one for each kind of kernel, as a fresh module and torch.rand would give them: scales of 1, shifts of
/// 0, inputs in [0, 1). What a check can see of a fault depends on exactly that.
namespace kw::redteam {

const std::vector<graph::Problem>& problems();
/// A bug if there is none.
const graph::Problem& problem_named(const std::string& name);

}  // namespace kw::redteam
