#pragma once
#include <string>
#include <vector>

#include "graph/problem.h"
#include "kernel/plan.h"

namespace kw::kernel {

/// Device source text plus a Plan, with its author and lineage.
struct Candidate {
  std::string source;              // C++ for the CPU
  std::string plan_json;           // as the author wrote it
  std::string author;              // "search", "openai/...", "command:..."
  std::string parent;              // key of the candidate it was made from, or ""
  std::vector<std::string> notes;  // rewrites applied, schedules chosen
  /// SHA-256 of source and plan.
  std::string key() const;
};

Signature signature_of(const graph::Graph& graph);

}  // namespace kw::kernel
