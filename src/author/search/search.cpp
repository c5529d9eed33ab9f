#include "author/search/search.h"

#include <fmt/format.h>

#include <algorithm>

#include "author/search/tuner.h"
#include "graph/analysis.h"
#include "graph/rewrite/layout.h"
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

/// One way to write the module down for the schedules: images plain, or in blocks of channels.
struct Form {
  graph::Graph graph;
  std::vector<std::string> notes;
  bool finite = false;
};

std::vector<Form> forms_of(const graph::Problem& problem, const kernel::Facts& facts, bool assume_finite) {
  auto rewritten = graph::rewrite(problem.graph, {.needs_finite = assume_finite});
  std::vector<Form> forms{{rewritten.graph, notes_of(problem.graph, rewritten), needs_finite(rewritten)}};
  if (facts.dialect != "cpp") return forms;
  if (auto blocked = graph::with_blocked_images(rewritten.graph, facts.f32_lanes(), assume_finite)) {
    Form other{std::move(blocked->graph), forms[0].notes, forms[0].finite || blocked->needs_finite};
    other.notes.push_back(
        fmt::format("images in blocks of {} channels: {} convolutions and pools", facts.f32_lanes(), blocked->anchors));
    forms.push_back(std::move(other));
  }
  return forms;
}

/// By the draft of time alone.
const Form& predicted_best(const std::vector<Form>& forms, const kernel::Facts& facts) {
  const auto seconds = [&](const Form& form) {
    const auto parts = schedule::partition(form.graph, facts);
    return schedule::predicted_s(form.graph, parts, schedule::default_choice(form.graph, parts, facts), facts);
  };
  if (forms.size() == 1 || seconds(forms[0]) <= seconds(forms[1])) return forms[0];
  return forms[1];
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
  const std::vector<Form> forms = forms_of(problem, facts, options_.assume_finite);
  std::vector<schedule::Partition> parts;
  for (const Form& form : forms) parts.push_back(schedule::partition(form.graph, facts));
  const auto deadline =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(brief.time_left_s));
  const auto tuner = [&](size_t i) {
    return Tuner(target_, store_, options_,
                 {.graph = forms[i].graph,
                  .parts = parts[i],
                  .facts = facts,
                  .inputs = judge::draw_inputs(problem, "own", 1, 0, 8),
                  .params = problem.params(),
                  .device = device_key(brief.facts),
                  .deadline = deadline});
  };
  // Each form is measured as predicted; the faster one is tuned.
  size_t best = 0;
  if (forms.size() > 1 && target_.measures()) {
    const double plain_s = tuner(0).call_seconds(), blocked_s = tuner(1).call_seconds();
    best = blocked_s > 0 && (plain_s == 0 || blocked_s < plain_s) ? 1 : 0;
  }
  std::vector<kernel::Candidate> candidates;
  const auto keep = [&](Result<kernel::Candidate> candidate) {
    if (candidate.ok()) candidates.push_back(std::move(*candidate));
  };
  const Form& form = forms[best];
  // Where nothing can be timed the model's choice stands.
  const Tuner::Outcome tuned = target_.measures()
                                   ? tuner(best).tune()
                                   : Tuner::Outcome{schedule::default_choice(form.graph, parts[best], facts), 0, 0};
  keep(finish(schedule::assemble(form.graph, parts[best], tuned.choice, facts), form.notes, form.finite));
  keep(finish(schedule::default_candidate(form.graph, facts), form.notes, form.finite));
  auto plain = finish(schedule::default_candidate(problem.graph, facts), {}, false);
  if (candidates.empty() && !plain.ok()) return plain.failure();
  keep(std::move(plain));
  return candidates;
}

Result<kernel::Candidate> variant_for_isa(const graph::Problem& problem, const target::Facts& facts,
                                          const std::string& isa, bool assume_finite) {
  const kernel::Facts narrowed = facts_for_isa(facts, isa);
  const std::vector<Form> forms = forms_of(problem, narrowed, assume_finite);
  const Form& form = predicted_best(forms, narrowed);
  return finish(schedule::default_candidate(form.graph, narrowed), form.notes, form.finite);
}

graph::Graph rewritten_graph(const graph::Problem& problem, bool assume_finite) {
  return graph::rewrite(problem.graph, {.needs_finite = assume_finite}).graph;
}

}  // namespace kw::author
