#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/timing.h"

namespace kw::bench {

/// What is timed against what. The worker holds the drop-in and every baseline in one process.
struct BenchRequest {
  std::string source;            // FILE.py[:factory] or model.pt2, rebuilt as in the export
  std::string mode;              // train, eval; "": as the folder's problem.json says
  std::string folder;            // of the export: model.pt2 and problem.json
  int threads = 0;               // 0: all usable cores
  uint64_t seed = 0;             // of fresh inputs and of the bootstrap; 0: from the operating system's entropy
  std::string package;           // NAME.kw: the drop-in
  double time_s = 120;           // for everything
  double baseline_limit_s = 60;  // for preparing one baseline (compiling, exporting)
  double oracle_limit_s = 120;   // for one answer of PyTorch about its own error, its start included
  double roofline_s = 0;         // 0: unknown, plausibility is not judged
  int blocks = 30;               // a baseline; fewer only when the time runs out
  /// In order of what preparing costs: where the time ends, the dearest is left out.
  std::vector<std::string> baselines = {"eager", "onnxruntime", "compile", "max-autotune"};
  std::string python;                                          // "": module::find_python()
  std::function<void(const std::string& text)> progress = {};  // may be empty
};

/// Runs `python -m kernelwright.bench_worker` and turns its block times into intervals.
/// fails: bench.worker (it could not start or gave no result), bench.package
Result<Timing> run_bench(const BenchRequest& request);

/// PYTHONPATH for our Python side, the caller's own kept behind it.
std::vector<std::pair<std::string, std::string>> python_environment();

/// What the worker says, as one JSON object; intervals are computed here. fails: bench.reply
Result<Timing> timing_of_reply(std::string_view json, const BenchRequest& request);

std::string to_json(const Timing& timing);
/// fails: bench.json
Result<Timing> timing_from_json(std::string_view json);

std::string_view name_of(TimingVerdict verdict);

}  // namespace kw::bench
