#include <array>

#include "judge/gates.h"

namespace kw::judge {

namespace {

constexpr std::array<std::string_view, 3> outcome_names = {"verified", "rejected", "inconclusive"};
constexpr std::array<std::string_view, 5> accuracy_names = {"framework", "faithful", "tf32", "half", "kernelbench"};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Runs one gate, writes its record, takes over its finding when it stops the trial.
bool run_gate(Trial& trial, const GateRow& row) {
  const auto start = std::chrono::steady_clock::now();
  Finding finding = row.run(trial);
  const std::string name = finding.gate.empty() ? std::string(row.name) : finding.gate;
  trial.verdict.gates.push_back({name, finding.outcome, finding.text, seconds_since(start)});
  if (finding.outcome == Outcome::verified) return true;
  trial.verdict.outcome = finding.outcome;
  trial.verdict.gate = name;
  trial.verdict.reason = finding.text;
  trial.verdict.witness = finding.witness;
  return false;
}

Finding make(Outcome outcome, std::string text) {
  Finding finding;
  finding.outcome = outcome;
  finding.text = std::move(text);
  return finding;
}

}  // namespace

Finding passed(std::string text) { return make(Outcome::verified, std::move(text)); }
Finding rejected(std::string text) { return make(Outcome::rejected, std::move(text)); }
Finding inconclusive(std::string text) { return make(Outcome::inconclusive, std::move(text)); }

std::string_view name_of(Outcome outcome) { return outcome_names[static_cast<size_t>(outcome)]; }
std::string_view name_of(AccuracyClass accuracy) { return accuracy_names[static_cast<size_t>(accuracy)]; }

std::optional<AccuracyClass> accuracy_from_name(std::string_view name) {
  for (size_t i = 0; i < accuracy_names.size(); ++i)
    if (accuracy_names[i] == name) return static_cast<AccuracyClass>(i);
  return std::nullopt;
}

Trial::Trial(const graph::Problem& p, const kernel::Candidate& c, target::Target& t, const JudgeOptions& o)
    : problem(p),
      candidate(c),
      target(t),
      options(o),
      seeds(o.seed ? o.seed : secret_seed()),
      start(std::chrono::steady_clock::now()),
      signature(kernel::signature_of(p.graph)) {}

double Trial::elapsed_s() const { return seconds_since(start); }
std::chrono::steady_clock::time_point Trial::deadline() const {
  return start + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                     std::chrono::duration<double>(options.time_limit_s));
}
bool Trial::has_time(double seconds) const { return elapsed_s() + seconds <= options.time_limit_s; }

Result<std::shared_ptr<const Case>> Trial::get_case(const CaseKey& key) {
  if (!options.quick || !options.cache) return make_case(problem, key, options, deadline());
  if (auto found = options.cache->find(key)) return found;
  Result<std::shared_ptr<const Case>> made = make_case(problem, key, options, deadline());
  if (made) options.cache->keep(*made);
  return made;
}

/// Cheap gates first; each may rely on what those before it established.
const std::vector<GateRow>& gate_table() {
  static const std::vector<GateRow> rows = {
      {"plan", gate_plan, true},
      {"shapes", gate_shapes, true},
      {"source", gate_source, true},
      {"compile", gate_compile, true},
      {"sandbox", gate_sandbox, true},
      {"load", gate_load, true},
      {"numerics.own", gate_first_suite, true},
      {"checks", gate_checks, true},
      {"poison", gate_poison, true},
      {"rerun", gate_rerun, true},
      {"isolation", gate_isolation, true},
      {"widths", gate_widths, false},
      {"alignment", gate_alignment, false},
      {"numerics", gate_suites, true},
      {"rebind", gate_rebind, false},
      {"hidden", gate_hidden, true},
      {"accuracy", gate_accuracy, true},
      {"replay", gate_replay, false},
      {"adequacy", gate_adequacy, false},
  };
  return rows;
}

Verdict judge(const graph::Problem& problem, const kernel::Candidate& candidate, target::Target& target,
              const JudgeOptions& options) {
  Trial trial(problem, candidate, target, options);
  trial.verdict.outcome = Outcome::verified;
  trial.verdict.reason = "passed every gate";
  for (const GateRow& row : gate_table())
    if ((row.quick || !options.quick) && !run_gate(trial, row)) break;
  trial.verdict.seconds = trial.elapsed_s();
  return std::move(trial.verdict);
}

}  // namespace kw::judge
