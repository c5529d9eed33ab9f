#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/output.h"
#include "app/result.h"
#include "app/roster.h"
#include "app/workspace.h"
#include "author/llm/template.h"
#include "author/search/search.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/process.h"
#include "bench/bench.h"
#include "bench/oracle.h"
#include "graph/analysis.h"
#include "judge/draw.h"
#include "kernel/schedule/compose.h"
#include "module/export.h"
#include "package/pack.h"
#include "swarm/swarm.h"
#include "target/cpu/cpu_target.h"

namespace kw::app {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

/// Shares of the wall clock, after the export: what is left goes to the baselines.
constexpr double kLeastBench_s = 20;
constexpr double kSearchShare = 0.25, kJudgeShare = 0.45;
/// With several authors: what asking them and judging their candidates may take.
constexpr double kSwarmShare = 0.55, kSwarmShareAlone = 0.8, kQuickJudge_s = 60;
constexpr int kStoppedAtBudget = 3;

json options_json(const OptimizeOptions& o, uint64_t seed) {
  return {{"source", std::filesystem::absolute(o.source).string()},
          {"target", o.target},
          {"chip", o.chip},
          {"out", o.out},
          {"mode", o.mode},
          {"accuracy", o.accuracy},
          {"time_s", o.time_s},
          {"threads", o.threads},
          {"exact_specials", o.exact_specials},
          {"no_bench", o.no_bench},
          {"authors", o.authors},
          {"budget_usd", o.budget_usd},
          {"attempts", o.attempts},
          {"references", o.references},
          {"seed", seed}};
}

/// The options of a stopped run; `common` takes its seed where none is given. throws UserError
OptimizeOptions options_from(const store::RunRow& row, CommonOptions& common) {
  const json o = json::parse(row.options_json, nullptr, false);
  if (!o.is_object()) throw UserError({"store.corrupt", "the stored run cannot be read", "run `optimize` again"});
  if (common.seed == 0) common.seed = o.value("seed", uint64_t{0});
  return {.source = o.value("source", ""),
          .target = o.value("target", "cpu"),
          .chip = o.value("chip", "m3"),
          .out = o.value("out", ""),
          .mode = o.value("mode", "auto"),
          .accuracy = o.value("accuracy", "framework"),
          .time_s = o.value("time_s", 75.0),
          .threads = o.value("threads", 0),
          .exact_specials = o.value("exact_specials", false),
          .no_bench = o.value("no_bench", false),
          .resume = row.id,
          .authors = o.value("authors", std::vector<std::string>{"search"}),
          .budget_usd = o.value("budget_usd", 1.0),
          .attempts = o.value("attempts", 5),
          .references = o.value("references", std::vector<std::string>{})};
}

/// One optimize run, step by step; each step reads what the one before left.
class OptimizeRun {
 public:
  OptimizeRun(const CommonOptions& common, const OptimizeOptions& options)
      : common_(common), options_(options), out_(common), started_(Clock::now()) {}

  int run() {
    if (!options_.out.empty()) package::check_writable(options_.out).value_or_throw();
    module::check_source(options_.source).value_or_throw();
    if (options_.target == "cpu") target::check_compiler().value_or_throw();
    roster_ = open_roster(options_.authors, common_);
    target_ = open_target(options_.target, options_.threads, options_.chip);
    if (options_.dry_run) return dry_run();
    store_ = open_store();
    begin_record();
    try {
      return recorded();
    } catch (const UserError& error) {
      // An interrupted run stays as it is, so that `resume` finds it.
      if (!interrupted()) (void)store_->finish_run(run_, "failed", json{{"id", error.failure.id}}.dump());
      throw;
    }
  }

 private:
  int recorded() {
    import();
    find_kernels();
    stop_if_interrupted();
    if (swarm_.best) {
      add_variants();
      compare();
      stop_if_interrupted();
      decide();
      pack(options_.out);
    }
    return finish();
  }

  /// Work that was cut short looks like a failure: it must not be taken for a result.
  static void stop_if_interrupted() {
    if (interrupted()) throw UserError({"interrupted", "interrupted", "`kernelwright resume` goes on from here"});
  }

  double elapsed_s() const { return std::chrono::duration<double>(Clock::now() - started_).count(); }
  double left_s() const { return std::max(1.0, options_.time_s - elapsed_s()); }

  void say(const std::string& what) {
    out_.progress(fmt::format("[{:3.0f} s of {:.0f}] {}", elapsed_s(), options_.time_s, what), true);
    stop_if_interrupted();
  }

  void import() {
    say("exporting " + options_.source);
    imported_ = import_source(options_.source, options_.mode, common_, left_s());
    result_.problem = problem().name;
    result_.target = options_.target;
    if (options_.out.empty()) options_.out = problem().name + ".kw";
    package::check_writable(options_.out).value_or_throw();
  }

  /// Before the export, which may take long and may be interrupted.
  void begin_record() {
    if (!options_.resume.empty()) {
      run_ = options_.resume;
      return;
    }
    run_ = store_
               ->start_run({.problem = std::filesystem::path(options_.source).stem().string(),
                            .source = options_.source,
                            .target = options_.target,
                            .options_json = options_json(options_, common_.seed).dump()})
               .value_or_throw();
  }

  bool alone() const { return roster_.voices.empty(); }

  /// The user's own kernels for other targets.
  std::vector<author::Reference> references() const {
    std::vector<author::Reference> all;
    for (const std::string& path : options_.references) {
      const std::string tag = std::filesystem::path(path).extension().string();
      all.push_back({"the user's own kernel, `" + std::filesystem::path(path).filename().string() + "`",
                     tag.empty() ? "" : tag.substr(1), read_file(path, 1u << 20).value_or_throw(), ""});
    }
    return all;
  }

  swarm::SuperviseOptions supervise_options(double work_s) {
    swarm::SuperviseOptions o{.run = run_, .voices = roster_.pointers(), .attempts = options_.attempts};
    o.budget = author::from_usd(options_.budget_usd);
    o.time_s = (options_.no_bench ? kSwarmShareAlone : kSwarmShare) * work_s;
    o.search_s = kSearchShare * work_s;
    o.judge_s = kQuickJudge_s;
    o.final_judge_s = std::max(60.0, kJudgeShare * work_s);
    o.judge = judging_.judge;
    o.seed = common_.seed;
    o.workers = common_.jobs;
    o.roofline_s = lower_bound_s();
    o.references = references();
    o.journal = store_ ? (std::filesystem::path(".kernelwright") / (run_ + ".log")).string() : "";
    // Called from authors' threads: it must not throw as `say` does.
    o.progress = [this](const std::string& s) { out_.progress(s, true); };
    const auto plain = kernel::schedule::default_candidate(problem().graph, target_->facts());
    if (plain.ok()) o.starter = plain->source, o.starter_plan = plain->plan_json;
    return o;
  }

  /// What would be asked, and the most that it could cost. Nothing is sent, nothing stored.
  int dry_run() {
    import();
    const auto options = supervise_options(left_s());
    const auto brochure =
        author::make_brochure(problem(), target_->facts(), options.roofline_s, options.references, {}).value_or_throw();
    const author::Prompt prompt = author::make_prompt(brochure, {.hint = "", .incumbent = {}, .items = {}});
    std::vector<std::vector<std::string>> rows{{"author", "attempts", "first attempt at most", "price"}};
    json list = json::array();
    if (roster_.search) rows.push_back({"search", "-", author::usd_text(0), "free"});
    author::Picodollars first = 0;
    for (const auto& voice : roster_.voices) {
      const author::Picodollars bound = voice->bound(prompt);
      first += bound;
      rows.push_back({voice->name(), std::to_string(options.attempts), author::usd_text(bound), voice->describe()});
      list.push_back({{"author", voice->name()}, {"attempts", options.attempts}, {"bound_usd", author::to_usd(bound)}});
    }
    out_.clear_progress();
    out_.object({{"type", "result"},
                 {"schema_version", 1},
                 {"problem", problem().name},
                 {"dry_run", true},
                 {"prompt_bytes", prompt.bytes()},
                 {"authors", list},
                 {"budget_usd", options_.budget_usd},
                 {"first_round_bound_usd", author::to_usd(first)}});
    out_.text(
        table_text(rows) +
        fmt::format("\nThe prompt is {} bytes, and grows with what went wrong. All first attempts together cost at "
                    "most {}, the whole run at most {}. Nothing was sent.",
                    prompt.bytes(), author::usd_text(first), author::usd_text(options.budget)));
    return 0;
  }

  void find_kernels() {
    const double work_s = left_s();
    swarm::Device device;
    const auto shared = swarm::gated(*target_, device);
    author::SearchAuthor search(*shared, store_.get(),
                                {.assume_finite = !options_.exact_specials, .progress = [this](const std::string& s) {
                                   if (alone()) say("search: " + s);
                                 }});
    bench::BenchRequest about_pytorch = bench_source();
    about_pytorch.oracle_limit_s = std::max(20.0, kJudgeShare * work_s);
    oracle_ = std::make_unique<bench::PythonOracle>(about_pytorch);
    judging_ = {.run = run_,
                .author_s = kSearchShare * work_s,
                .judge_s = kJudgeShare * work_s,
                .judge = {.accuracy = judge::accuracy_from_name(options_.accuracy).value(),
                          .seed = common_.seed,
                          .oracle = oracle_.get()},
                .progress = [this](const std::string& s) { say(s); }};
    if (alone()) {
      swarm_ = std::move(swarm::run_swarm(problem(), {&search}, *target_, *store_, judging_).value_or_throw());
    } else {
      swarm::SuperviseOptions several = supervise_options(work_s);
      several.device = &device;
      if (roster_.search) several.search = &search;
      swarm_ = std::move(swarm::supervise(problem(), *target_, *store_, several).value_or_throw());
      result_.account = swarm_.account;
    }
    result_.attempts = swarm_.attempts;
    result_.accuracy = swarm_.verdict.accuracy;
  }

  /// Kernels for narrower machines, each judged on this one; what fails is left out.
  void add_variants() {
    variants_.push_back(*swarm_.best);
    for (const std::string& isa : target::narrower_isas(target_->facts().isa)) {
      judging_.judge_s = std::min(judging_.judge_s, left_s() - kLeastBench_s);
      if (judging_.judge_s < swarm_.verdict.seconds) return;  // it would end for want of time
      say("writing the " + isa + " variant");
      auto variant = author::variant_for_isa(problem(), target_->facts(), isa, !options_.exact_specials);
      if (!variant.ok()) continue;
      auto verdict = swarm::judge_attempt(problem(), *variant, *target_, *store_, judging_).value_or_throw();
      ++result_.attempts;
      if (verdict.outcome == judge::Outcome::verified) variants_.push_back(std::move(*variant));
    }
  }

  void pack(const std::string& path) {
    package::PackRequest request{.problem = &problem(),
                                 .variants = variants_,
                                 .target = target_.get(),
                                 .verdict = result_.verdict,
                                 .threads = target_->facts().threads,
                                 .certificate = judge::certificate_json(problem(), *swarm_.best, swarm_.verdict),
                                 .result_json = to_json(result_).dump()};
    package::pack(request, path).value_or_throw();
    result_.package = path;
  }

  /// What no kernel can beat here. Memory counts only where the data exceeds the last cache.
  double lower_bound_s() const {
    const graph::Work work = graph::count_work(author::rewritten_graph(problem(), !options_.exact_specials));
    const target::Facts& facts = target_->facts();
    const double memory_s =
        work.min_bytes > static_cast<double>(facts.l3_bytes) ? work.min_bytes / facts.bytes_per_s : 0;
    return std::max(work.flops / facts.flops_per_s, memory_s);
  }

  void compare() {
    result_.verdict = "verified";
    result_.predicted_s = lower_bound_s();
    if (!target_->measures()) return predict();
    if (options_.no_bench) return;
    TempDir folder;
    const std::string path = (folder.path() / "candidate.kw").string();
    pack(path);
    say("timing against the baselines");
    bench::BenchRequest request = bench_source();
    request.package = path;
    request.time_s = std::max(kLeastBench_s, left_s());
    request.roofline_s = result_.predicted_s;
    request.progress = [this](const std::string& s) { say(s); };
    auto timing = bench::run_bench(request);
    if (timing.ok())
      result_.timing = std::move(*timing);
    else
      result_.reason = "the baselines could not be timed: " + timing.failure().message;
  }

  /// Where the device is not here, a model stands in for the clock, and its word decides nothing.
  void predict() {
    say("predicting the time");
    const kernel::Candidate& best = *swarm_.best;
    auto plan = kernel::parse_plan(best.plan_json).value_or_throw();
    const auto bound =
        kernel::bind_plan(plan, kernel::signature_of(problem().graph), target_->limits()).value_or_throw();
    kernel::resolve_dtypes(plan, bound);
    const auto compiled = target_->compile(best.source, plan).value_or_throw();
    auto prediction =
        target_->predict(compiled, bound, problem().params(), judge::draw_inputs(problem(), "own", 1, 0, 8));
    if (prediction.ok()) result_.prediction = std::move(*prediction);
  }

  bench::BenchRequest bench_source() const {
    return {.source = options_.source,
            .mode = problem().mode == graph::Mode::train ? "train" : "eval",
            .folder = imported_.folder->path().string(),
            .threads = target_->facts().threads,
            .seed = common_.seed};
  }

  void decide() {
    result_.notes = swarm_.best->notes;
    if (result_.accuracy.framework_rms == 0)
      result_.notes.push_back("PyTorch's own error could not be measured; the error bound alone decided");
    if (!result_.timing) return;
    const bench::Timing& timing = *result_.timing;
    const bench::Comparison* best = headline(timing);
    if (best != nullptr && timing.plausible && best->verdict == bench::TimingVerdict::faster) {
      const bool algebra = std::any_of(result_.notes.begin(), result_.notes.end(),
                                       [](const std::string& n) { return n.starts_with("algebra"); });
      result_.gain = algebra ? "algebra" : "kernels";
      return;
    }
    result_.verdict = "fallback";
    if (best == nullptr)
      result_.reason = "no baseline could be timed, so the original stays";
    else if (!timing.plausible)
      result_.reason = "the time is below what the machine can do, so the original stays";
    else
      result_.reason =
          fmt::format("the kernels are verified but do not beat {}, so the original stays", best->baseline);
  }

  int finish() {
    if (!swarm_.best) {
      const bool rejected = swarm_.verdict.outcome == judge::Outcome::rejected;
      result_.verdict = rejected ? "rejected" : "inconclusive";
      result_.reason = swarm_.failures.empty() ? "no candidate was written" : swarm_.failures.back().text;
      if (result_.reason.find("no time left") != std::string::npos) result_.reason += "; give it more --time";
    }
    const swarm::Account& account = swarm_.account;
    const bool stopped = !swarm_.best && !alone() && (account.out_of_money || account.out_of_time);
    if (stopped) result_.reason = account.out_of_money ? "the budget is spent" : "the time is over";
    result_.seconds = elapsed_s();
    const json last = to_json(result_);
    // Stopped short of a result, it can be resumed with more money or time.
    if (!stopped) store_->finish_run(run_, "done", last.dump()).value_or_throw();
    out_.clear_progress();
    out_.object(last);
    out_.text(to_text(result_));
    if (stopped) return kStoppedAtBudget;
    return swarm_.best ? 0 : 1;
  }

  const graph::Problem& problem() const { return imported_.problem; }

  CommonOptions common_;
  OptimizeOptions options_;
  Output out_;
  Roster roster_;
  Clock::time_point started_;
  Imported imported_;
  std::unique_ptr<target::Target> target_;
  std::unique_ptr<store::Store> store_;
  std::string run_;
  std::unique_ptr<bench::PythonOracle> oracle_;
  swarm::SwarmOptions judging_;
  swarm::SwarmResult swarm_;
  std::vector<kernel::Candidate> variants_;
  RunResult result_;
};

}  // namespace

int run_optimize(const CommonOptions& common, const OptimizeOptions& options) {
  return OptimizeRun(common, options).run();
}

int run_resume(const CommonOptions& common, double budget_usd, double time_s) {
  const auto runs = open_store()->runs(100).value_or_throw();
  for (const store::RunRow& row : runs)
    if (row.state == "running") {
      CommonOptions resumed = common;
      OptimizeOptions options = options_from(row, resumed);
      if (budget_usd >= 0) options.budget_usd = budget_usd;
      if (time_s > 0) options.time_s = time_s;
      return run_optimize(resumed, options);
    }
  throw UserError(
      {"resume.nothing", "no stopped run is stored in this folder", "run `kernelwright optimize` here first"});
}

}  // namespace kw::app
