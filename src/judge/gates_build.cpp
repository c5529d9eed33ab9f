#include <array>

#include "judge/gates.h"

/// Gates before anything runs: the Plan, the source, the compiler, the loader.
namespace kw::judge {

namespace {

constexpr size_t source_limit_bytes = size_t{8} << 20;

bool starts_with(const std::string& text, std::string_view prefix) { return text.rfind(prefix, 0) == 0; }

std::string words(const Failure& failure) { return failure.message + " [" + failure.id + "]"; }

/// What a toolchain refuses, by whose fault, and the gate that it belongs to. Any other failure decides nothing.
struct RefusalRow {
  std::string_view id;  // or its beginning
  std::string_view gate;
};
constexpr std::array<RefusalRow, 5> refusals = {{
    {"source.", "source"},
    {"binary.forbidden", "binary"},
    {"plan.", "plan"},
    {"compile.error", "compile"},
    {"compile.timeout", "compile"},
}};

Finding refusal_of(const Failure& failure) {
  for (const RefusalRow& row : refusals) {
    if (!starts_with(failure.id, row.id)) continue;
    Finding finding = rejected(words(failure));
    finding.gate = row.gate;
    return finding;
  }
  return inconclusive(words(failure));
}

}  // namespace

Finding finding_of(const Failure& failure, const std::string& what) {
  const bool its_fault = failure.id == "run.crash" || failure.id == "run.timeout" || failure.id == "run.overrun";
  const std::string text = "the call failed " + what + ": " + words(failure);
  return its_fault ? rejected(text) : inconclusive(text);
}

Finding gate_plan(Trial& trial) {
  Result<kernel::Plan> plan = kernel::parse_plan(trial.candidate.plan_json);
  if (!plan) return rejected(words(plan.failure()));
  trial.plan = std::move(*plan);
  Result<kernel::BoundPlan> bound = kernel::bind_plan(trial.plan, trial.signature, trial.target.limits());
  if (!bound) return rejected(words(bound.failure()));
  trial.bound = std::move(*bound);
  kernel::resolve_dtypes(trial.plan, trial.bound);
  return passed("the Plan is well formed and covers every output and state");
}

Finding gate_source(Trial& trial) {
  if (trial.candidate.source.find_first_not_of(" \t\r\n") == std::string::npos) return rejected("the source is empty");
  if (trial.candidate.source.size() > source_limit_bytes) return rejected("the source is longer than 8 MiB");
  return passed("a source of " + std::to_string(trial.candidate.source.size()) + " bytes");
}

Finding gate_compile(Trial& trial) {
  Result<target::Compiled> compiled = trial.target.compile(trial.candidate.source, trial.plan);
  if (!compiled) return refusal_of(compiled.failure());
  trial.compiled = std::move(*compiled);
  return passed("compiled for " + (trial.compiled.isa.empty() ? "any machine" : trial.compiled.isa) +
                (trial.compiled.from_cache ? " (from the cache)" : ""));
}

Finding gate_load(Trial& trial) {
  Result<std::unique_ptr<target::Session>> session = trial.target.open(trial.compiled, trial.bound);
  if (!session) return finding_of(session.failure(), "while loading");
  trial.session = std::move(*session);
  return passed("loaded in a sandboxed process");
}

}  // namespace kw::judge
