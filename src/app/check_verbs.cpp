#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/output.h"
#include "app/result.h"
#include "app/workspace.h"
#include "bench/bench.h"
#include "bench/oracle.h"
#include "package/read.h"
#include "target/cpu/cpu_target.h"

// verify, bench and package: the verbs that look at what is there.
namespace kw::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// What is judged, wherever it came from.
struct Subject {
  Imported imported;
  kernel::Candidate candidate;
};

kernel::Candidate read_candidate(const fs::path& folder) {
  kernel::Candidate candidate;
  candidate.source = read_file(folder / "kernel.cpp").value_or_throw();
  candidate.plan_json = read_file(folder / "plan.json").value_or_throw();
  candidate.author = "file";
  return candidate;
}

Subject subject_of(const CommonOptions& common, const VerifyOptions& options) {
  if (!options.candidate.empty())
    return {import_source(options.package, options.mode, common), read_candidate(options.candidate)};
  auto opened = std::move(package::open_package(options.package).value_or_throw());
  Subject subject;
  subject.imported.folder = std::make_unique<TempDir>("kernelwright-verify");
  subject.imported.problem =
      std::move(package::restore_problem(opened, subject.imported.folder->path()).value_or_throw());
  const std::string isa = target::best_isa();
  for (const auto& variant : opened.variants)
    if (subject.candidate.source.empty() || variant.isa == isa)
      subject.candidate = {.source = variant.source, .plan_json = variant.plan_json, .author = "package"};
  return subject;
}

std::string verdict_text(const judge::Verdict& verdict) {
  std::vector<std::vector<std::string>> rows{{"gate", "outcome", "seconds", "what"}};
  for (const judge::GateRecord& gate : verdict.gates)
    rows.push_back({gate.gate, std::string(name_of(gate.outcome)), fmt::format("{:.2f}", gate.seconds), gate.text});
  return table_text(rows) + fmt::format("\n{}{}", name_of(verdict.outcome),
                                        verdict.reason.empty() ? "" : ": " + verdict.gate + ": " + verdict.reason);
}

}  // namespace

int run_verify(const CommonOptions& common, const VerifyOptions& options) {
  target::check_compiler().value_or_throw();
  Subject subject = subject_of(common, options);
  const auto target = open_target("cpu", 0);
  bench::PythonOracle oracle(
      {.source = subject.imported.problem.source, .folder = subject.imported.folder->path().string()});
  const judge::Verdict verdict = judge::judge(subject.imported.problem, subject.candidate, *target,
                                              {.accuracy = judge::accuracy_from_name(options.accuracy).value(),
                                               .quick = options.quick,
                                               .time_limit_s = options.time_s,
                                               .seed = common.seed,
                                               .oracle = &oracle});
  Output out(common);
  json last = json::parse(judge::certificate_json(subject.imported.problem, subject.candidate, verdict));
  last["type"] = "result";
  last["schema_version"] = 1;
  last["verdict"] = std::string(name_of(verdict.outcome));
  out.object(last);
  out.text(verdict_text(verdict));
  return verdict.outcome == judge::Outcome::verified ? 0 : 1;
}

int run_bench_verb(const CommonOptions& common, const BenchOptions& options) {
  Output out(common);
  const auto opened = std::move(package::open_package(options.package).value_or_throw());
  const auto target = open_target("cpu", options.threads);
  TempDir folder;
  const graph::Problem problem = std::move(package::restore_problem(opened, folder.path()).value_or_throw());
  bench::BenchRequest request{.source = problem.source,
                              .folder = folder.path().string(),
                              .threads = target->facts().threads,
                              .seed = common.seed};
  request.package = options.package;
  request.time_s = options.time_s;
  request.progress = [&](const std::string& s) { out.progress(s, true); };
  RunResult result{.problem = problem.name, .verdict = opened.verdict};
  result.timing = std::move(bench::run_bench(request).value_or_throw());
  result.package = options.package;
  out.clear_progress();
  out.object(to_json(result));
  out.text(to_text(result));
  return 0;
}

int run_package(const CommonOptions& common, const PackageOptions& options) {
  const auto opened = package::open_package(options.package).value_or_throw();
  Output out(common);
  json last = json::parse(opened.manifest_json);
  last["type"] = "result";
  out.object(last);
  out.text(package::describe(opened));
  return 0;
}

}  // namespace kw::app
