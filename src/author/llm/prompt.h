#pragma once
#include <string>
#include <vector>

#include "author/llm/wire.h"
#include "graph/problem.h"
#include "kernel/candidate.h"
#include "target/target.h"

namespace kw::author {

/// How a target's source is named and read; the rules and the example are prompts/target_NAME.md, example_NAME.md.
struct Language {
  std::string_view target, tag;
  std::vector<std::string_view> accepted;  // what models write after the fence
};
/// Null for a target that no text author can write for.
const Language* find_language(std::string_view target);

/// A kernel that helps: another target's, the user's own, or one that worked on a like problem.
struct Reference {
  std::string title;  // "a CUDA kernel of the same module"
  std::string tag, source;
  std::string plan_json;  // may be empty
};

/// What one attempt came to, as its author is told.
struct HistoryItem {
  int number = 0;
  std::string source, plan_json;  // empty when the reply held none
  std::string words;
};

/// The best verified kernel so far, whoever wrote it.
struct Incumbent {
  std::string author, source, plan_json;
  double seconds = 0;
  bool own = false;
};

/// What changes from attempt to attempt.
struct History {
  std::string hint;
  std::optional<Incumbent> incumbent;
  std::vector<HistoryItem> items;  // oldest first
};

/// The parts that stay: computed once for a run, the same bytes for every author of a target.
struct Brochure {
  std::string system, problem;
  std::string source_tag;
};

/// `roofline_s`: the time that no kernel can beat here. fails: author.target (nothing is known about writing for it)
Result<Brochure> make_brochure(const graph::Problem& problem, const target::Facts& facts, double roofline_s,
                               const std::vector<Reference>& references, const std::vector<Reference>& exemplars);

Prompt make_prompt(const Brochure& brochure, const History& history);

/// Programs get the same as JSON: see docs/authors.md.
std::string brief_json(const graph::Problem& problem, const target::Facts& facts, const Brochure& brochure,
                       const History& history);

std::string time_text(double seconds);

}  // namespace kw::author
