#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <new>
#include <string_view>

#include "app/options.h"
#include "app/output.h"
#include "base/log.h"
#include "base/process.h"
#include "target/cpu/worker.h"
#include "target/metal/chips.h"

namespace kw::app {
namespace {

constexpr int kCouldNotRun = 2;
constexpr int kInterrupted = 130;

void add_common(CLI::App& app, CommonOptions& common) {
  app.add_flag("--json", common.json, "One JSON object a line on stdout");
  app.add_flag("-q,--quiet", common.quiet, "Errors only on stderr");
  app.add_flag("-v,--verbose", common.verbose, "More on stderr (repeat for more)");
  app.add_option("--color", common.color, "auto, always or never")->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_flag("--no-progress", common.no_progress, "No progress line");
  app.add_option("--seed", common.seed, "Seed of searches and draws (0: secret, from the system's entropy)");
  app.add_option("--jobs", common.jobs, "Compilers at once (0: all cores)")->check(CLI::Range(0, 1024));
  app.add_flag("--offline", common.offline, "Never use the network (the embedded author never does)");
}

const auto kModes = CLI::IsMember({"auto", "train", "eval"});
const auto kAccuracies = CLI::IsMember({"framework", "faithful", "tf32", "half", "kernelbench"});
const auto kPositive = CLI::Range(1.0, 86400.0);
/// "90", "90s", "20m", "1.5h": seconds.
const auto kDuration =
    CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}},
                          CLI::AsNumberWithUnit::DEFAULT, "TIME");

void add_optimize(CLI::App& verb, OptimizeOptions& o) {
  verb.add_option("module", o.source, "FILE.py, FILE.py:factory or model.pt2")->required();
  verb.add_option("--target", o.target, "Where the kernels run")->check(CLI::IsMember({"cpu", "metal"}));
  verb.add_option("--chip", o.chip, "metal: the Apple chip whose time is predicted")
      ->check(CLI::IsMember(target::chip_names()));
  verb.add_option("-o,--output", o.out, "Package to write (default: NAME.kw)");
  verb.add_option("--mode", o.mode, "train or eval (KernelBench-style files default to train)")->check(kModes);
  verb.add_option("--accuracy", o.accuracy, "Accuracy class to reach")->check(kAccuracies);
  verb.add_option("--time", o.time_s, "Wall clock for the whole run (90, 20m, 1h)")
      ->transform(kDuration)
      ->check(kPositive);
  verb.add_option("--threads", o.threads, "Threads of kernels and baselines (0: all cores)")
      ->check(CLI::Range(0, 1024));
  verb.add_flag("--exact-specials", o.exact_specials, "No rewrites that change what NaN and infinities become");
  verb.add_option("--author", o.authors,
                  "Who writes: search, PROVIDER/MODEL, openai-compatible/MODEL@URL, command:PROGRAM, agent:NAME "
                  "(repeat for several)");
  verb.add_option("--budget-usd", o.budget_usd, "Most that all authors together may cost [USD]")
      ->check(CLI::Range(0.0, 1e5));
  verb.add_option("--attempts", o.attempts, "Attempts of each author")->check(CLI::Range(1, 1000));
  verb.add_flag("--dry-run", o.dry_run, "Print the plan and the most that it can cost; send nothing");
  verb.add_option("--reference", o.references,
                  "File with a kernel of the same module for another target (repeat for several)");
  verb.add_flag("--no-bench", o.no_bench, "Skip the baselines; the package is then not compared");
}

void add_inspect(CLI::App& verb, InspectOptions& o) {
  verb.add_option("module", o.source, "FILE.py, FILE.py:factory, model.pt2 or, with --suite, a checkout")->required();
  verb.add_option("--mode", o.mode, "train or eval")->check(kModes);
  verb.add_option("--suite", o.suite, "Inspect a whole suite")->check(CLI::IsMember({"kernelbench"}));
}

void add_verify(CLI::App& verb, VerifyOptions& o) {
  verb.add_option("package", o.package, "A package, or a module with a candidate");
  verb.add_option("candidate,--candidate", o.candidate, "Folder with a kernel and plan.json, or a reply file");
  verb.add_option("--target", o.target, "Device to verify a candidate for")->check(CLI::IsMember({"cpu", "metal"}));
  verb.add_option("--explain", o.explain, "Put a certificate into words; judges nothing")->excludes("package");
  verb.add_option("--mode", o.mode, "train or eval, for a module")->check(kModes);
  verb.add_option("--accuracy", o.accuracy, "Accuracy class to reach")->check(kAccuracies);
  verb.add_flag("--quick", o.quick, "Fewer suites and seeds");
  verb.add_option("--time", o.time_s, "Wall clock [s]")->transform(kDuration)->check(kPositive);
}

void add_adequacy(CLI::App& verb, AdequacyOptions& o) {
  verb.add_option("problem", o.source, "FILE.py[:factory] or model.pt2")->required();
  verb.add_option("--mode", o.mode, "train or eval")->check(kModes);
}

void add_bench(CLI::App& verb, BenchOptions& o) {
  verb.add_option("package", o.package, "A package")->required();
  verb.add_option("--time", o.time_s, "Wall clock [s]")->transform(kDuration)->check(kPositive);
  verb.add_option("--threads", o.threads, "Threads of kernels and baselines (0: all cores)")
      ->check(CLI::Range(0, 1024));
}

void add_package(CLI::App& verb, PackageOptions& o) {
  verb.add_option("package", o.package, "A package")->required();
  auto* what = verb.add_option_group("what", "What to do with it");
  what->add_flag("--inspect", o.inspect, "Print what it holds, after checking every hash");
  what->add_flag("--metallib", o.metallib, "On a Mac: compile its Metal source offline, into a file beside it");
  what->require_option(1);
}

void add_emulate(CLI::App& verb, EmulateOptions& o) {
  verb.add_option("source", o.source, "KERNELS.metal or KERNELS.cu")->required();
  verb.add_option("--dialect", o.dialect, "metal or cuda, if the file's extension does not say it");
  verb.add_option("--plan", o.plan, "Launches as a Plan; --arg then gives the module's inputs in order");
  verb.add_option("--kernel", o.kernel, "One kernel, by its host name");
  verb.add_option("--groups", o.groups, "Threadgroups (blocks): X[,Y[,Z]]");
  verb.add_option("--threads", o.threads_grid, "Threads of the grid instead of --groups; ragged last groups");
  verb.add_option("--group", o.group, "Threads of a threadgroup: X[,Y[,Z]]");
  verb.add_option("--arg", o.args,
                  "A buffer argument, in order: out:f32[64,32], rand:f16[8], zeros:, ones:, iota:, "
                  "file=PATH:f32[8], or a scalar u32:64, f32:0.5")
      ->allow_extra_args(false);
  verb.add_option("--constant", o.constants, "Function constant: NAME=bool:true or INDEX=u32:4")
      ->allow_extra_args(false);
  verb.add_option("--threadgroup-bytes", o.threadgroup_bytes,
                  "Threadgroup argument: INDEX=BYTES (0 is CUDA's extern __shared__)")
      ->allow_extra_args(false);
  verb.add_option("-D", o.defines, "Macro: NAME or NAME=VALUE")->allow_extra_args(false);
  verb.add_option("-I", o.include_dirs, "Folder for #include")->allow_extra_args(false);
  verb.add_flag("--check", o.check, "Races, bounds, uninitialised reads, barriers");
  verb.add_flag("--profile", o.profile, "Counts: traffic, arithmetic, conflicts, divergence (with --check's faults)");
  verb.add_option("--schedule-seed", o.schedule_seed, "Shuffles threadgroups, simdgroups and threads (0: in order)");
  verb.add_option("--step-limit", o.step_limit, "Most barriers and checked accesses of a threadgroup (0: none)");
  verb.add_option("--timeout", o.timeout_s, "Wall clock of a launch [s]")->check(kPositive);
  verb.add_option("--cores", o.cores, "Cores to use (0: all)")->check(CLI::Range(0, 1024));
  verb.add_option("--show", o.shown, "Values to print of each output")->check(CLI::Range(0, 1000000));
  verb.add_option("--save", o.save, "Folder for the outputs, as NAME.bin");
}

void apply_log_level(const CommonOptions& common) {
  if (common.quiet) set_log_level(LogLevel::quiet);
  if (common.verbose == 1) set_log_level(LogLevel::verbose);
  if (common.verbose > 1) set_log_level(LogLevel::debug);
}

/// `json`: the flag as it stands on the command line, which may have been refused before it was read.
int report_parse_error(const CLI::App& app, const CLI::ParseError& error, bool json) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  CommonOptions common;
  common.json = json;
  report_failure(common, {"arguments", error.what(), "run `kernelwright --help`, or `kernelwright VERB --help`"});
  return kCouldNotRun;
}

int guarded(const CommonOptions& common, const std::function<int()>& body) {
  try {
    const int code = body();
    return interrupted() ? kInterrupted : code;
  } catch (const UserError& error) {
    if (interrupted()) {
      report_failure(common, {"interrupted", "interrupted", "a stopped `optimize` goes on with `kernelwright resume`"});
      return kInterrupted;
    }
    report_failure(common, error.failure);
  } catch (const std::bad_alloc&) {
    report_failure(common, {"memory", "out of memory", "use smaller shapes, or a machine with more memory"});
  } catch (const std::exception& error) {
    report_failure(common,
                   {"bug", std::string("internal error: ") + error.what(), "please report this with the module"});
  }
  return kCouldNotRun;
}

int run(int argc, char** argv) {
  CommonOptions common;
  OptimizeOptions optimize;
  InspectOptions inspect;
  VerifyOptions verify;
  AdequacyOptions adequacy;
  BenchOptions bench;
  PackageOptions package;
  EmulateOptions emulate;
  CLI::App app("A PyTorch module goes in; the same module comes out faster.", "kernelwright");
  app.set_version_flag("--version", "kernelwright " KW_VERSION);
  app.set_config("--config", "", "TOML file with the same names as the flags");
  app.require_subcommand(1);
  app.fallthrough();
  add_common(app, common);
  std::function<int()> body;
  const auto verb = [&](const char* name, const char* text, const std::function<int()>& run_verb) {
    CLI::App* sub = app.add_subcommand(name, text);
    sub->callback([&body, run_verb] { body = run_verb; });
    return sub;
  };
  add_optimize(*verb("optimize", "Write, verify, time and pack kernels for a module",
                     [&] { return run_optimize(common, optimize); }),
               optimize);
  add_inspect(*verb("inspect", "Print what was understood of a module", [&] { return run_inspect(common, inspect); }),
              inspect);
  add_verify(*verb("verify", "Judge a package's or a candidate's kernels anew, with new seeds",
                   [&] { return run_verify(common, verify); }),
             verify);
  add_adequacy(*verb("adequacy", "Would a check of this module notice wrong outputs?",
                     [&] { return run_adequacy(common, adequacy); }),
               adequacy);
  add_bench(*verb("bench", "Time a package against every baseline", [&] { return run_bench_verb(common, bench); }),
            bench);
  add_package(*verb("package", "Look into a package", [&] { return run_package(common, package); }), package);
  double resume_budget_usd = -1, resume_time_s = -1;
  add_emulate(*verb("emulate", "Run Metal and CUDA kernels on this machine's processor",
                    [&] { return run_emulate(common, emulate); }),
              emulate);
  CLI::App& resume = *verb("resume", "Go on with the last run that was stopped",
                           [&] { return run_resume(common, resume_budget_usd, resume_time_s); });
  resume.add_option("--budget-usd", resume_budget_usd, "A new budget for the whole run [USD]")
      ->check(CLI::Range(0.0, 1e5));
  resume.add_option("--time", resume_time_s, "A new wall clock for what is left [s]")
      ->transform(kDuration)
      ->check(kPositive);
  verb("authors", "Who could write kernels here: configured, reachable, priced", [&] { return run_authors(common); });
  verb("doctor", "What this machine has, and how fast it is", [&] { return run_doctor(common); });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return report_parse_error(app, error, std::count(argv, argv + argc, std::string_view("--json")) > 0);
  }
  apply_log_level(common);
  install_interrupt_handler();
  return guarded(common, body);
}

}  // namespace
}  // namespace kw::app

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--kw-worker") == 0) return kw::target::worker_main(argc, argv);
  if (argc == 3 && std::strcmp(argv[1], "--kw-import") == 0) return kw::app::import_main(argv[2]);
  if (argc == 2 && std::strcmp(argv[1], "--kw-emulate-serve") == 0) return kw::app::emulate_serve_main();
  return kw::app::run(argc, argv);
}
