#include <algorithm>
#include <cmath>

#include "judge/execute.h"

/// Is it as accurate as what the user runs today?
namespace kw::judge {

namespace {

struct Errors {
  double candidate = 0, framework = 0;
  int64_t elements = 0;
};

/// Both errors of one output against float64. PyTorch's is taken to be at least one rounding: an exact hit by luck,
/// or by an exact operation, must not condemn a correctly rounded result.
Errors measure(const graph::Reference& expected, const Tensor& ours, const Tensor& theirs) {
  const Tally own = compare(expected, ours, {}), other = compare(expected, theirs, {});
  return {own.relative_rms(), std::max(other.relative_rms(), unit_roundoff(expected.dtype)), own.measured};
}

bool asks_for_framework(AccuracyClass accuracy) {
  return accuracy == AccuracyClass::framework || accuracy == AccuracyClass::faithful;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

/// Without PyTorch the class that was asked for was not shown; only a caller that brought no oracle goes without.
Finding unmeasured(const Trial& trial) {
  if (!trial.options.oracle) return passed("PyTorch's own error was not asked for: judged by the error bound alone");
  const std::string why = trial.framework_failure.empty() ? "no suite showed it" : trial.framework_failure;
  return inconclusive("PyTorch's own error could not be measured: " + why);
}

}  // namespace

Finding gate_accuracy(Trial& trial) {
  Accuracy& accuracy = trial.verdict.accuracy;
  accuracy.reached = trial.options.accuracy;
  for (const SuiteRecord& suite : trial.verdict.suites)
    if (suite.shown && suite.suite == "own") accuracy.rms = std::max(accuracy.rms, suite.rms);
  if (!asks_for_framework(trial.options.accuracy)) return passed("within the bounds of the class that was asked for");
  if (trial.measured.empty()) return unmeasured(trial);
  const auto& outputs = trial.problem.graph.outputs;
  double worst_ratio = -1;
  for (size_t c = 0; c < trial.measured.size(); ++c) {
    const Case& given = *trial.measured[c];
    for (size_t i = 0; i < outputs.size(); ++i) {
      const graph::Reference& expected = given.expected.outputs[i];
      if (outputs[i].is_state || !is_float(expected.dtype)) continue;
      const Errors errors = measure(expected, trial.measured_outputs[c][i], given.framework[i]);
      const double ratio = errors.candidate / errors.framework;
      if (ratio > allowed_ratio(trial.options.accuracy, errors.elements))
        return rejected("less accurate than PyTorch on the suite '" + given.key.suite + "': error " +
                        number(errors.candidate) + " against " + number(errors.framework) + " (rms, relative)");
      if (ratio <= worst_ratio) continue;
      worst_ratio = ratio;
      accuracy.rms = errors.candidate;
      accuracy.framework_rms = errors.framework;
    }
  }
  return passed("error " + number(accuracy.rms) + " against PyTorch's " + number(accuracy.framework_rms) +
                " (rms, relative, where it is worst)");
}

}  // namespace kw::judge
