#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "bench/timing.h"

namespace kw::bench {

/// What is timed against what. The worker holds the drop-in and every baseline in one process.
struct BenchRequest {
  std::string python = "python3";
  std::string package;  // NAME.kw: the drop-in
  std::string source;   // FILE.py[:factory] or model.pt2, rebuilt as in the export
  std::string mode = "eval";
  uint64_t export_seed = 0;  // that the export drew the module with
  std::vector<std::string> baselines = {"eager", "compile", "max-autotune", "onnxruntime"};
  int threads = 0;               // 0: all usable cores
  double time_limit_s = 120;     // for everything
  double baseline_limit_s = 60;  // for preparing one baseline (compiling, exporting)
  int blocks = 30;
  double roofline_s = 0;  // 0: unknown, plausibility is not judged
  uint64_t seed = 0;      // of fresh inputs and of the bootstrap; 0: from the operating system's entropy
};

/// Runs `python -m kernelwright.bench_worker` and turns its block times into intervals.
/// fails: bench.worker (it could not start or gave no result), bench.package
Result<Timing> run_bench(const BenchRequest& request);

/// What the worker says, as one JSON object; intervals are computed here. fails: bench.reply
Result<Timing> timing_of_reply(std::string_view json, const BenchRequest& request);

std::string to_json(const Timing& timing);
/// fails: bench.json
Result<Timing> timing_from_json(std::string_view json);

std::string_view name_of(TimingVerdict verdict);

}  // namespace kw::bench
