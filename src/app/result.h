#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "judge/verdict.h"
#include "swarm/swarm.h"

namespace kw::app {

/// What `optimize` ends with: the last line of --json, and the table.
struct RunResult {
  std::string problem, target = "cpu";
  std::string verdict = "inconclusive";  // verified | rejected | inconclusive | fallback
  std::string reason;                    // one sentence; empty for a plain win
  judge::Accuracy accuracy;
  std::optional<bench::Timing> timing;
  double predicted_s = 0;                        // of one call, by the model; 0 when not predicted
  std::optional<target::Prediction> prediction;  // of a device that is not here
  std::string gain;                              // "algebra" or "kernels", for a win
  std::string package;
  double seconds = 0;
  int attempts = 0;
  std::vector<std::string> notes;
  std::optional<swarm::Account> account;  // of a run with several authors
};

nlohmann::json to_json(const RunResult& result);
/// The comparison with the fastest baseline, or null.
const bench::Comparison* headline(const bench::Timing& timing);
std::string ratio_text(const bench::Comparison& comparison);
/// The table of baselines and what it comes to.
std::string to_text(const RunResult& result);

}  // namespace kw::app
