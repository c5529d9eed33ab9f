#include "author/search/search.h"

#include <fmt/format.h>

#include <algorithm>

#include "author/search/tuner.h"
#include "graph/analysis.h"
#include "graph/rewrite/rewrite.h"
#include "judge/draw.h"

namespace kw::author {
namespace schedule = kernel::schedule;

namespace {

/// What the report says of a rewrite; a drop in work is told apart from a faster kernel.
std::vector<std::string> notes_of(const graph::Graph& before, const graph::Rewritten& after) {
  std::vector<std::string> notes;
  for (const graph::AppliedRule& rule : after.applied)
    notes.push_back(fmt::format("rewrite {} x{} ({})", rule.name, rule.count, graph::name_of(rule.exactness)));
  const double was = graph::count_work(before).flops, is = graph::count_work(after.graph).flops;
  if (is < 0.5 * was) notes.push_back(fmt::format("algebra: {:.3g} flops became {:.3g}", was, is));
  return notes;
}

bool needs_finite(const graph::Rewritten& rewritten) {
  return std::any_of(rewritten.applied.begin(), rewritten.applied.end(),
                     [](const graph::AppliedRule& rule) { return rule.exactness == graph::Exactness::needs_finite; });
}

/// Adds what the report and the judge must know: the notes, and what the rewrites take for granted.
Result<kernel::Candidate> finish(Result<kernel::Candidate> candidate, std::vector<std::string> notes, bool finite) {
  if (!candidate.ok()) return candidate;
  candidate->author = "search";
  if (finite) {
    auto plan = kernel::parse_plan(candidate->plan_json);
    if (!plan.ok()) return plan.failure();
    plan->assumes.push_back("finite");
    candidate->plan_json = kernel::to_json(*plan);
    notes.push_back("assumes that inputs are finite");
  }
  notes.insert(notes.end(), candidate->notes.begin(), candidate->notes.end());
  candidate->notes = std::move(notes);
  return candidate;
}

std::string device_key(const target::Facts& facts) {
  return fmt::format("{} {} {} threads", facts.name, facts.isa, facts.threads);
}

}  // namespace

kernel::Facts facts_for_isa(const kernel::Facts& facts, const std::string& isa) {
  kernel::Facts narrowed = facts;
  narrowed.set_isa(isa);
  narrowed.flops_per_s *= static_cast<double>(narrowed.vector_bytes) / facts.vector_bytes;
  return narrowed;
}

SearchAuthor::SearchAuthor(target::Target& target, store::Store* store, SearchOptions options)
    : target_(target), store_(store), options_(std::move(options)) {}

Result<std::vector<kernel::Candidate>> SearchAuthor::answer(const Brief& brief) {
  const graph::Problem& problem = *brief.problem;
  const kernel::Facts& facts = brief.facts;
  const auto rewritten = graph::rewrite(problem.graph, {.needs_finite = options_.assume_finite});
  const auto notes = notes_of(problem.graph, rewritten);
  const bool finite = needs_finite(rewritten);
  const schedule::Partition parts = schedule::partition(rewritten.graph, facts);
  Tuner tuner(
      target_, store_, options_,
      {.graph = rewritten.graph,
       .parts = parts,
       .facts = facts,
       .inputs = judge::draw_inputs(problem, "own", 1, 0, 8),
       .params = problem.params(),
       .device = device_key(brief.facts),
       .deadline = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                                          std::chrono::duration<double>(brief.time_left_s))});
  std::vector<kernel::Candidate> candidates;
  const auto keep = [&](Result<kernel::Candidate> candidate) {
    if (candidate.ok()) candidates.push_back(std::move(*candidate));
  };
  // Where nothing can be timed the model's choice stands.
  const Tuner::Outcome tuned =
      target_.measures() ? tuner.tune() : Tuner::Outcome{schedule::default_choice(rewritten.graph, parts, facts), 0, 0};
  keep(finish(schedule::assemble(rewritten.graph, parts, tuned.choice, facts), notes, finite));
  keep(finish(schedule::default_candidate(rewritten.graph, facts), notes, finite));
  auto plain = finish(schedule::default_candidate(problem.graph, facts), {}, false);
  if (candidates.empty() && !plain.ok()) return plain.failure();
  keep(std::move(plain));
  return candidates;
}

Result<kernel::Candidate> variant_for_isa(const graph::Problem& problem, const target::Facts& facts,
                                          const std::string& isa, bool assume_finite) {
  const auto rewritten = graph::rewrite(problem.graph, {.needs_finite = assume_finite});
  const kernel::Facts narrowed = facts_for_isa(facts, isa);
  return finish(schedule::default_candidate(rewritten.graph, narrowed), notes_of(problem.graph, rewritten),
                needs_finite(rewritten));
}

graph::Graph rewritten_graph(const graph::Problem& problem, bool assume_finite) {
  return graph::rewrite(problem.graph, {.needs_finite = assume_finite}).graph;
}

}  // namespace kw::author
