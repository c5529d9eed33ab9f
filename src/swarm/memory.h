#pragma once
#include <map>
#include <string>
#include <vector>

#include "author/llm/prompt.h"
#include "graph/problem.h"
#include "kernel/candidate.h"
#include "store/store.h"

namespace kw::swarm {

/// What a problem is made of: its kinds of operation, how much of each, and the sizes.
std::map<std::string, double> features_of(const graph::Graph& graph);

/// Shared weight over all weight, 0 to 1.
double likeness(const std::map<std::string, double>& a, const std::map<std::string, double>& b);

/// Keeps a winner for later problems like this one.
Status keep_winner(store::Store& store, const graph::Problem& problem, const std::string& target,
                   const kernel::Candidate& winner, double seconds);

/// The kernels of the most like problems, at most `most`, none that are unlike. The store failing means none.
std::vector<author::Reference> recall(store::Store& store, const graph::Problem& problem, const std::string& target,
                                      size_t most = 2);

}  // namespace kw::swarm
