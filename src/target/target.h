#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/tensor.h"
#include "kernel/candidate.h"
#include "kernel/facts.h"

namespace kw::target {

/// One machine: what schedules ask of it (measured, or from a chip table), and its name.
struct Facts : kernel::Facts {
  std::string target = "cpu";
  std::string name;  // "Intel Xeon ... (2 cores)"
};

struct Compiled {
  std::string key;  // of source, compiler and flags
  std::string isa;
  std::string binary_path;
  double compile_s = 0;
  bool from_cache = false;
};

struct RunOptions {
  int threads = 0;  // 0: the target's width
  double timeout_s = 20;
  uint64_t fill_bits = 0x7fc00000;  // 32-bit pattern that poisons outputs and scratch
  bool isolated = false;  // each group of a launch sees memory as it was before the launch; conflicting writes fail
  int64_t base_offset_bytes = 0;  // shifts input and output base pointers off 64-byte alignment
};

struct RunReply {
  std::vector<Tensor> outputs;           // in order
  std::map<std::string, Tensor> states;  // after the call
  bool inputs_intact = true;             // input and parameter bytes unchanged
};

/// A call with every check on that the device has.
struct CheckReply {
  bool available = false;           // false: this device has none
  std::vector<std::string> faults;  // races, accesses out of bounds, ..., a sentence each
  std::string what;                 // what was run and looked for, for the certificate
};

/// What a model expects of a device that is not here. It ranks kernels; it promises nothing.
struct Prediction {
  double seconds = 0;  // of one call
  std::string device, model;
  struct Step {
    std::string kernel, bound;  // "memory", "arithmetic", "threadgroup memory", "launch"
    double seconds = 0, flops = 0, bytes = 0, occupancy = 0;
  };
  std::vector<Step> steps;
};

struct TimeReply {
  std::vector<double> seconds;       // one a call
  std::vector<double> step_seconds;  // median of each step, when asked
};

/// One loaded Candidate in a sandboxed child. A crash, a hang or a refusal is a Failure that says so
/// ("run.crash": signal and buffer hit, "run.timeout", "run.sandbox").
class Session {
 public:
  virtual ~Session() = default;
  /// Sets parameters and buffers, runs `prepare`.
  virtual Status bind(const std::map<std::string, Tensor>& params) = 0;
  virtual Result<RunReply> run(const std::vector<Tensor>& inputs, const RunOptions& options) = 0;
  /// One call on the bound parameters, looking for what cannot be seen in results.
  virtual Result<CheckReply> check(const std::vector<Tensor>& inputs, uint64_t seed) {
    (void)inputs, (void)seed;
    return CheckReply{};
  }
  /// Calls back to back on rotating input sets: for search, not for claims.
  virtual Result<TimeReply> time(const std::vector<Tensor>& inputs, int warmup, int calls, bool by_step,
                                 const RunOptions& options) = 0;
};

class Target {
 public:
  virtual ~Target() = default;
  virtual const Facts& facts() const = 0;
  /// What a Plan must keep to.
  virtual kernel::Limits limits() const { return {}; }
  /// False where the device is emulated: its times mean nothing, and a prediction stands in for them.
  virtual bool measures() const { return true; }
  /// fails: predict.model (nothing to predict: the device measures), and as Session
  virtual Result<Prediction> predict(const Compiled& compiled, const kernel::BoundPlan& plan,
                                     const std::map<std::string, Tensor>& params, const std::vector<Tensor>& inputs) {
    (void)compiled, (void)plan, (void)params, (void)inputs;
    return Failure{"predict.model", "times are measured here", ""};
  }
  /// fails: compile.error (compiler's words by line), compile.missing, compile.timeout, source.forbidden
  virtual Result<Compiled> compile(const std::string& source, const kernel::Plan& plan) = 0;
  virtual Result<std::unique_ptr<Session>> open(const Compiled& compiled, const kernel::BoundPlan& plan) = 0;
};

}  // namespace kw::target
