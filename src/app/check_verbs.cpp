#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/output.h"
#include "app/result.h"
#include "app/workspace.h"
#include "author/llm/reply.h"
#include "base/hash.h"
#include "base/process.h"
#include "bench/bench.h"
#include "bench/oracle.h"
#include "judge/adequacy.h"
#include "judge/explain.h"
#include "package/read.h"
#include "target/cpu/cpu_target.h"

// verify, adequacy, bench and package: the verbs that look at what is there.
namespace kw::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// What is judged, wherever it came from.
struct Subject {
  Imported imported;
  kernel::Candidate candidate;
  std::string target = "cpu";
};

struct SourceName {
  std::string_view target, file;
};
constexpr SourceName source_names[] = {{"cpu", "kernel.cpp"}, {"metal", "kernel.metal"}, {"cuda", "kernel.cu"}};

kernel::Candidate read_folder(const fs::path& folder, const std::string& target) {
  kernel::Candidate candidate;
  for (const SourceName& row : source_names)
    if (row.target == target) candidate.source = read_file(folder / row.file).value_or_throw();
  candidate.plan_json = read_file(folder / "plan.json").value_or_throw();
  candidate.author = "file";
  return candidate;
}

/// A folder, or an author's reply: a fenced block of source and a fenced Plan.
kernel::Candidate read_candidate(const fs::path& path, const std::string& target) {
  if (fs::is_directory(path)) return read_folder(path, target);
  auto reply =
      std::move(author::parse_reply(read_file(path).value_or_throw(), *author::find_language(target)).value_or_throw());
  return {.source = std::move(reply.source), .plan_json = std::move(reply.plan_json), .author = "file"};
}

Subject subject_of(const CommonOptions& common, const VerifyOptions& options) {
  if (!options.candidate.empty())
    return {import_source(options.package, options.mode, common), read_candidate(options.candidate, options.target),
            options.target};
  auto opened = std::move(package::open_package(options.package).value_or_throw());
  Subject subject;
  subject.target = opened.target;
  subject.imported.folder = std::make_unique<TempDir>("kernelwright-verify");
  subject.imported.problem =
      std::move(package::restore_problem(opened, subject.imported.folder->path()).value_or_throw());
  const std::string isa = target::best_isa();
  for (const auto& variant : opened.variants)
    if (subject.candidate.source.empty() || variant.isa == isa)
      subject.candidate = {.source = variant.source, .plan_json = variant.plan_json, .author = "package"};
  return subject;
}

/// A Plan that does not fit its kernels is the user's slip: it is told before anything is judged. throws UserError
void check_candidate(const Subject& subject, target::Target& target) {
  auto plan = kernel::parse_plan(subject.candidate.plan_json).value_or_throw();
  const auto bound =
      kernel::bind_plan(plan, kernel::signature_of(subject.imported.problem.graph), target.limits()).value_or_throw();
  kernel::resolve_dtypes(plan, bound);
  const auto compiled = target.compile(subject.candidate.source, plan).value_or_throw();
  (void)target.open(compiled, bound).value_or_throw();
}

std::string verdict_text(const judge::Verdict& verdict) {
  std::vector<std::vector<std::string>> rows{{"gate", "outcome", "seconds", "what"}};
  for (const judge::GateRecord& gate : verdict.gates)
    rows.push_back({gate.gate, std::string(name_of(gate.outcome)), fmt::format("{:.2f}", gate.seconds), gate.text});
  return table_text(rows) + fmt::format("\n{}{}", name_of(verdict.outcome),
                                        verdict.reason.empty() ? "" : ": " + verdict.gate + ": " + verdict.reason);
}

int explain(const CommonOptions& common, const std::string& certificate) {
  const std::string words = judge::explain_certificate(read_file(certificate).value_or_throw()).value_or_throw();
  Output out(common);
  out.object({{"type", "result"}, {"schema_version", 1}, {"explanation", words}});
  out.text(words);
  return 0;
}

std::string adequacy_text(const graph::Problem& problem, const judge::Adequacy& adequacy) {
  std::vector<std::vector<std::string>> rows{{"wrong output", "this judge", "1e-4, one draw", "1e-2, one draw"}};
  const auto word = [](bool passes) { return passes ? "passes" : "fails"; };
  for (const judge::MutantRecord& m : adequacy.mutants)
    if (m.applies) rows.push_back({m.mutant, word(m.killed_by.empty()), word(m.passes_1e4), word(m.passes_1e2)});
  const std::string survivors = judge::survivors_of(adequacy);
  std::string text = table_text(rows) + "\n" + problem.name + ": ";
  if (adequacy.degenerate)
    text += "degenerate: on its own inputs these would pass: " + survivors;
  else
    text += survivors.empty() ? "adequate" : "adequate but for " + survivors;
  if (adequacy.flops_left < 0.5)
    text += fmt::format("; algebra leaves {:.0f}% of its operations", 100 * adequacy.flops_left);
  return text;
}

json adequacy_json(const graph::Problem& problem, const judge::Adequacy& adequacy) {
  json mutants = json::array();
  for (const judge::MutantRecord& m : adequacy.mutants)
    mutants.push_back({{"mutant", m.mutant},
                       {"applies", m.applies},
                       {"killed_by", m.killed_by},
                       {"passes_1e-4", m.passes_1e4},
                       {"passes_1e-2", m.passes_1e2}});
  return {{"type", "result"},
          {"schema_version", 1},
          {"problem", problem.name},
          {"degenerate", adequacy.degenerate},
          {"precision_seen", adequacy.precision_seen},
          {"flops_left", adequacy.flops_left},
          {"mutants", mutants}};
}

/// Apple's compiler turns the package's source into a library beside the package; its name holds the source's hash, so
/// that a loader never takes it for another's. throws UserError
fs::path compile_metallib(const package::OpenedPackage& opened) {
  if (opened.target != "metal" || opened.variants.empty())
    throw UserError({"package.target", fmt::format("`{}` holds no Metal kernels", opened.path),
                     "make it with `kernelwright optimize --target metal`"});
  const std::string& source = opened.variants.front().source;
  constexpr size_t hash_digits = 16;
  fs::path made = fs::path(opened.path).replace_extension("." + sha256(source).substr(0, hash_digits) + ".metallib");
  TempDir folder("kernelwright-metallib");
  const fs::path text = folder.path() / "kernels.metal";
  write_file_atomic(text, source).value_or_throw();
  const Failure missing{"package.xcrun", "Apple's Metal compiler is not here (`xcrun metal` does not run)",
                        "run this on a Mac with Xcode; without it the package compiles its source when it is loaded"};
  const auto found = run_process({"xcrun", "-sdk", "macosx", "-f", "metal"});
  if (!found || found->exit_code != 0) throw UserError(missing);
  const auto reply = run_process(
      {"xcrun", "-sdk", "macosx", "metal", "-fno-fast-math", "-o", made.string(), text.string()}, {.timeout_s = 600});
  if (!reply) throw UserError(missing);
  if (reply->exit_code != 0)
    throw UserError({"package.metallib", "Apple's compiler refuses the source: " + reply->err.substr(0, 2000), ""});
  return made;
}

}  // namespace

int run_adequacy(const CommonOptions& common, const AdequacyOptions& options) {
  const Imported imported = import_source(options.source, options.mode, common);
  const judge::Adequacy adequacy = judge::measure_adequacy(imported.problem, {.seed = common.seed}).value_or_throw();
  Output out(common);
  out.object(adequacy_json(imported.problem, adequacy));
  out.text(adequacy_text(imported.problem, adequacy));
  return adequacy.degenerate ? 1 : 0;
}

int run_verify(const CommonOptions& common, const VerifyOptions& options) {
  if (!options.explain.empty()) return explain(common, options.explain);
  if (options.package.empty())
    throw UserError({"cli.arguments", "there is nothing to verify",
                     "kernelwright verify PACKAGE, or PROBLEM CANDIDATE, or --explain CERTIFICATE"});
  Subject subject = subject_of(common, options);
  if (subject.target == "cpu") target::check_compiler().value_or_throw();
  const auto target = open_target(subject.target, 0);
  if (subject.target == "metal") check_candidate(subject, *target);
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
  if (opened.target != "cpu")
    throw UserError({"bench.target", fmt::format("the package is for {}, and that is not here", opened.target),
                     "load it on a Mac: kernelwright.load times it there at its first use"});
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
  if (options.metallib) {
    const std::string made = compile_metallib(opened).string();
    out.object({{"type", "result"}, {"schema_version", 1}, {"metallib", made}});
    out.text("compiled " + made);
    return 0;
  }
  json last = json::parse(opened.manifest_json);
  last["type"] = "result";
  out.object(last);
  out.text(package::describe(opened));
  return 0;
}

}  // namespace kw::app
