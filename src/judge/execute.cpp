#include "judge/execute.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "judge/pattern.h"

namespace kw::judge {

namespace {

Result<std::vector<Tensor>> collect(const graph::Graph& graph, target::RunReply& reply) {
  std::vector<Tensor> outputs;
  size_t next = 0;
  for (const graph::OutputInfo& info : graph.outputs) {
    if (info.is_state) {
      const auto found = reply.states.find(info.state_name);
      if (found == reply.states.end())
        return Failure{"run.state", "the call left no state '" + info.state_name + "'", ""};
      outputs.push_back(found->second);
    } else {
      if (next >= reply.outputs.size()) return Failure{"run.output", "the call returned too few outputs", ""};
      outputs.push_back(reply.outputs[next++]);
    }
  }
  return outputs;
}

std::string output_name(const graph::Graph& graph, size_t i) {
  const graph::OutputInfo& info = graph.outputs[i];
  return info.is_state ? "the state '" + info.state_name + "'" : "output " + std::to_string(i);
}

std::string index_text(const std::vector<int64_t>& index) {
  std::string text = "[";
  for (size_t i = 0; i < index.size(); ++i) text += (i ? ", " : "") + std::to_string(index[i]);
  return text + "]";
}

Finding wrong_output(const graph::Problem& problem, const Case& given, size_t output, const Tally& tally) {
  const std::string name = output_name(problem.graph, output);
  if (!tally.misfit.empty()) return rejected(name + " is " + tally.misfit);
  const Shape& shape = given.expected.outputs[output].shape;
  Finding finding = rejected(name + " is wrong on the suite '" + given.key.suite + "' (parameters " +
                             std::string(name_of(given.params_drawn)) + "): " + locate(tally.wrong_map, shape));
  const WrongElement& worst = *tally.worst;
  const auto first = std::find(tally.wrong_map.begin(), tally.wrong_map.end(), 1) - tally.wrong_map.begin();
  finding.text += ", first at " + index_text(unravel(first, shape));
  finding.witness = Witness{given.key.suite,
                            given.key.seed,
                            static_cast<int>(output),
                            unravel(worst.index, shape),
                            unravel(first, shape),
                            worst.expected,
                            worst.got,
                            worst.bound};
  return finding;
}

/// PyTorch's largest error on this output, and never less than a rounding of its largest value.
double framework_limit(const graph::Reference& expected, const Tensor& framework, AccuracyClass accuracy) {
  const Tally theirs = compare(expected, framework, {});
  double largest = 0;
  for (const double value : expected.value)
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  const double floor = unit_roundoff(expected.dtype) * largest;
  return allowed_ratio(accuracy, theirs.measured) * std::max(theirs.worst_error, floor);
}

bool same_element(const Tensor& a, const Tensor& b, int64_t i) {
  return std::isnan(load_element(a, i)) && std::isnan(load_element(b, i));
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) return false;
  if (std::memcmp(a.data, b.data, a.bytes()) == 0) return true;
  const size_t size = size_bytes(a.dtype);
  for (int64_t i = 0; i < element_count(a.shape); ++i) {
    const size_t at = static_cast<size_t>(i) * size;
    if (std::memcmp(a.data + at, b.data + at, size) != 0 && !same_element(a, b, i)) return false;
  }
  return true;
}

}  // namespace

double allowed_ratio(AccuracyClass accuracy, int64_t elements) {
  const double ratio = accuracy == AccuracyClass::framework ? 2 : 4;
  return ratio * std::exp(3 / std::sqrt(static_cast<double>(std::max<int64_t>(1, elements))));
}

Ran execute(const graph::Problem& problem, target::Session& session, const Case& given,
            const target::RunOptions& options) {
  Ran ran;
  const std::string what = "on the suite '" + given.key.suite + "'";
  if (Status bound = session.bind(given.params); !bound) {
    ran.fault = finding_of(bound.failure(), "preparing the parameters");
    return ran;
  }
  Result<target::RunReply> reply = session.run(given.inputs, options);
  if (!reply) {
    ran.fault = finding_of(reply.failure(), what);
    return ran;
  }
  if (!reply->inputs_intact) {
    ran.fault = rejected("the call changed its inputs or parameters " + what);
    return ran;
  }
  Result<std::vector<Tensor>> outputs = collect(problem.graph, *reply);
  if (outputs)
    ran.outputs = std::move(*outputs);
  else
    ran.fault = rejected(outputs.failure().message);
  return ran;
}

bool Judged::shown() const {
  return std::all_of(tallies.begin(), tallies.end(), [](const Tally& tally) { return tally.shown(); });
}

Judged judge_outputs(const graph::Problem& problem, const Case& given, const std::vector<Tensor>& outputs,
                     const JudgeOptions& options) {
  Judged judged;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const graph::Reference& expected = given.expected.outputs[i];
    Rules rules;
    rules.exact = given.exact;
    rules.overflowing = given.expected.overflowing > 0;
    rules.offset = suite_row(given.key.suite).shares_offset;
    if (options.accuracy == AccuracyClass::kernelbench) rules.loose = 1e-4;
    if (!given.framework.empty() && given.framework[i].data != nullptr) {
      rules.framework = &given.framework[i];
      if (is_float(expected.dtype) && !rules.offset)
        rules.framework_limit = framework_limit(expected, *rules.framework, options.accuracy);
    }
    judged.tallies.push_back(compare(expected, outputs[i], rules));
    if (judged.tallies.back().right()) continue;
    judged.fault = wrong_output(problem, given, i, judged.tallies.back());
    break;
  }
  return judged;
}

std::optional<std::string> first_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!same_bits(a[i], b[i])) return "output " + std::to_string(i);
  return std::nullopt;
}

}  // namespace kw::judge
