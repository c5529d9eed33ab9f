#pragma once
#include <filesystem>

#include "base/result.h"
#include "graph/problem.h"

namespace kw::graph {

/// Reads what an export left in `folder` (model.pt2, problem.json, draws/) and imports the graph.
/// fails: as module::load_pt2 and import_program; problem.missing, problem.format, problem.draw
Result<Problem> load_problem(const std::filesystem::path& folder);

/// A bare archive without the files beside it: no source, no observed inputs; mode as given.
/// fails: as module::load_pt2 and import_program
Result<Problem> load_bare_problem(const std::filesystem::path& pt2, Mode mode);

}  // namespace kw::graph
