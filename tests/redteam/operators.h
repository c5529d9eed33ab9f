#pragma once
#include <vector>

#include "work.h"

namespace kw::redteam {

/// Every text, Plan and (elsewhere) graph operator's name.
std::vector<std::string> operator_names();

/// Mutants of one correct candidate: each operator at up to `sites` of the places where it applies, chosen by `seed`.
std::vector<Work> mutants_of(const Work& correct, int sites, uint64_t seed);

/// Mutants of meaning: the graph with one node changed, written by the schedule families, judged against the right one.
std::vector<Work> graph_mutants(const graph::Problem& problem, const kernel::Facts& facts);
std::vector<std::string> graph_operator_names();

}  // namespace kw::redteam
