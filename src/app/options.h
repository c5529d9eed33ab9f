#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace kw::app {

/// Flags that every verb shares.
struct CommonOptions {
  bool json = false;
  bool quiet = false;
  int verbose = 0;
  std::string color = "auto";  // auto | always | never
  bool no_progress = false;
  uint64_t seed = 0;  // 0: from the operating system's entropy
  int jobs = 0;       // 0: usable cores
  bool offline = false;
};

struct OptimizeOptions {
  std::string source;
  std::string target = "cpu";
  std::string chip = "m3";  // metal: whose time is predicted
  std::string out;
  std::string mode = "auto";  // train | eval | auto
  std::string accuracy = "framework";
  double time_s = 75;           // wall clock for the whole run
  int threads = 0;              // 0: usable cores
  bool exact_specials = false;  // no rewrites that need finite inputs
  bool no_bench = false;        // skip the baselines; timing is then null
  std::string resume;           // id of the run to go on with
  std::vector<std::string> authors = {"search"};
  double budget_usd = 1;                // hard, for all authors together
  int attempts = 5;                     // of each author
  bool dry_run = false;                 // plan and cost bound; nothing is sent
  std::vector<std::string> references;  // files with the same module's kernels for another target
};

struct InspectOptions {
  std::string source;
  std::string mode = "auto";
  std::string suite;  // "kernelbench": source is a checkout
};

struct VerifyOptions {
  std::string package;         // .kw, or a module with a candidate
  std::string candidate;       // folder with a kernel and plan.json, or a reply file
  std::string target = "cpu";  // of a candidate; a package knows its own
  std::string explain;         // a certificate to put in words
  std::string mode = "auto";
  std::string accuracy = "framework";
  bool quick = false;
  double time_s = 60;
};

struct AdequacyOptions {
  std::string source;
  std::string mode = "auto";
};

struct BenchOptions {
  std::string package;
  double time_s = 60;
  int threads = 0;
};

struct PackageOptions {
  std::string package;
  bool inspect = false;
  bool metallib = false;  // compile the Metal source offline, on a Mac
};

struct EmulateOptions {
  std::string source;   // .metal or .cu
  std::string dialect;  // "metal", "cuda"; empty: by the extension of the file
  std::string plan, kernel;
  std::string groups, group = "1", threads_grid;  // "X", "X,Y" or "X,Y,Z"
  std::vector<std::string> args, constants, threadgroup_bytes, defines, include_dirs;
  bool check = false, profile = false;
  uint64_t schedule_seed = 0;
  uint64_t step_limit = 0;
  double timeout_s = 60;  // per launch
  int cores = 0;
  size_t shown = 8;  // values of each output
  std::string save;  // folder for the outputs' bytes
};

/// Each verb: runs, prints its result, returns the exit code (0 done, 1 checked and failed, 3 stopped at a budget).
int run_optimize(const CommonOptions& common, const OptimizeOptions& options);
/// `budget_usd` below 0 keeps the stopped run's.
int run_resume(const CommonOptions& common, double budget_usd, double time_s);
int run_inspect(const CommonOptions& common, const InspectOptions& options);
int run_inspect_suite(const CommonOptions& common, const InspectOptions& options);
/// A process of its own for one archive of a suite: imports it and prints what was understood as one JSON object.
int import_main(const char* pt2);
int run_verify(const CommonOptions& common, const VerifyOptions& options);
int run_adequacy(const CommonOptions& common, const AdequacyOptions& options);
int run_bench_verb(const CommonOptions& common, const BenchOptions& options);
int run_package(const CommonOptions& common, const PackageOptions& options);
int run_authors(const CommonOptions& common);
int run_doctor(const CommonOptions& common);
int run_emulate(const CommonOptions& common, const EmulateOptions& options);
/// For python: requests on stdin, answers on stdout, a JSON object a line (see emulate_serve.cpp).
int emulate_serve_main();

}  // namespace kw::app
