#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "graph/problem.h"
#include "kernel/candidate.h"
#include "target/target.h"

namespace kw::judge {

enum class Outcome : uint8_t { verified, rejected, inconclusive };
enum class AccuracyClass : uint8_t { framework, faithful, tf32, half, kernelbench };

/// A wrong element that anyone can reproduce.
struct Witness {
  std::string suite;  // "cancelling"
  uint64_t seed = 0;
  int output = 0;
  std::vector<int64_t> index;        // of the worst element
  std::vector<int64_t> first_index;  // of the first wrong one
  double expected = 0, got = 0, bound = 0;
};

struct GateRecord {
  std::string gate;  // "plan", "source", "compile", "numerics.normal", ...
  Outcome outcome = Outcome::verified;
  std::string text;
  double seconds = 0;
};

struct Accuracy {
  AccuracyClass reached = AccuracyClass::framework;
  double rms = 0;                // of the candidate against float64, relative to the output's rms
  double framework_rms = 0;      // of PyTorch on the same inputs; 0 when not measured
  double worst_bound_share = 0;  // largest |error| / bound seen
};

/// One set of inputs and parameters that the candidate was compared on.
struct SuiteRecord {
  std::string suite;   // "wide"
  std::string params;  // "own", "redrawn", "integers"
  uint64_t seed = 0;
  bool shown = false;  // false: not drawable, no time left, or most elements undecidable; `text` says which
  bool exact = false;  // compared bit by bit
  int64_t elements = 0, undecided = 0, overflowed = 0;
  double worst_bound_share = 0, rms = 0, framework_rms = 0;
  std::string text;
};

/// Would the check have noticed? A wrong output that is made on purpose and must fail.
struct MutantRecord {
  std::string mutant;     // "zero", "last tile skipped", "bf16", ...
  std::string killed_by;  // the suite that noticed; "" when none did
  bool applies = true;    // false where it equals the right answer by construction (identity of another shape, ...)
  bool passes_1e4 = false, passes_1e2 = false;  // one draw, atol = rtol, as the field tests
};

struct Adequacy {
  std::vector<MutantRecord> mutants;
  bool measured = false;
  bool degenerate = false;      // zero, a constant, the input or another input's output would pass
  bool precision_seen = false;  // a bf16-rounded output fails
  double flops_left = 1;        // after algebra, of the module's own; told by measure_adequacy alone
};

struct Verdict {
  Outcome outcome = Outcome::inconclusive;
  std::string gate;    // the first that failed
  std::string reason;  // one sentence
  std::optional<Witness> witness;
  Accuracy accuracy;
  std::vector<GateRecord> gates;
  std::vector<SuiteRecord> suites;
  Adequacy adequacy;
  double seconds = 0;
};

/// What PyTorch itself makes of given inputs and parameters.
struct FrameworkReply {
  std::vector<Tensor> outputs;           // the module's results, in order
  std::map<std::string, Tensor> states;  // new values of the buffers that the call changes, as far as told
};

/// PyTorch's own results, to measure its error. May be absent.
class FrameworkOracle {
 public:
  virtual ~FrameworkOracle() = default;
  virtual Result<FrameworkReply> run(const std::vector<Tensor>& inputs,
                                     const std::map<std::string, Tensor>& params) = 0;
};

class ReferenceCache;

struct JudgeOptions {
  AccuracyClass accuracy = AccuracyClass::framework;
  bool quick = false;  // for search loops: fewer suites and seeds
  double time_limit_s = 60;
  uint64_t seed = 0;  // 0: from the operating system's entropy
  FrameworkOracle* oracle = nullptr;
  /// What holds a candidate, as kw::sandbox_report() tells it; empty: asked of this machine.
  std::vector<std::string> walls;
  /// Shares references (and so seeds) between quick judgements of one Problem; a full judgement never reads it.
  ReferenceCache* cache = nullptr;
};

std::string_view name_of(Outcome outcome);
std::string_view name_of(AccuracyClass accuracy);
std::optional<AccuracyClass> accuracy_from_name(std::string_view name);

/// Runs the gates in order; stops at the first that fails.
Verdict judge(const graph::Problem& problem, const kernel::Candidate& candidate, target::Target& target,
              const JudgeOptions& options);

/// The verdict as certificate JSON: what was tested, with which seeds, how far from float64, by which rule.
std::string certificate_json(const graph::Problem& problem, const kernel::Candidate& candidate, const Verdict& verdict);

}  // namespace kw::judge
