#include "judge/reference.h"

#include <chrono>
#include <optional>

#include "base/random.h"
#include "judge/exact.h"

namespace kw::judge {

namespace {

struct PrecisionRow {
  AccuracyClass accuracy;
  double roundoff;  // of one operation on float32 tensors
};
constexpr PrecisionRow precision_rows[] = {{AccuracyClass::tf32, 0x1p-11}, {AccuracyClass::half, 0x1p-8}};

double roundoff_of(AccuracyClass accuracy) {
  for (const PrecisionRow& row : precision_rows)
    if (row.accuracy == accuracy) return row.roundoff;
  return 0x1p-24;
}

size_t tensor_bytes(const std::vector<Tensor>& tensors) {
  size_t sum = 0;
  for (const Tensor& tensor : tensors) sum += tensor.bytes();
  return sum;
}

bool fits(const Tensor& tensor, const graph::Reference& expected) {
  return tensor.shape == expected.shape && tensor.dtype == expected.dtype;
}

/// The reply in the order of Graph::outputs; nothing where it does not fit.
std::optional<std::vector<Tensor>> aligned(FrameworkReply reply, const graph::Graph& graph,
                                           const graph::Evaluation& expected) {
  std::vector<Tensor> all;
  size_t next = 0;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const graph::OutputInfo& info = graph.outputs[i];
    const auto state = reply.states.find(info.state_name);
    const bool told = info.is_state ? state != reply.states.end() : next < reply.outputs.size();
    if (!told && !info.is_state) return std::nullopt;
    all.push_back(!told ? Tensor{} : info.is_state ? state->second : reply.outputs[next++]);
    if (told && !fits(all.back(), expected.outputs[i])) return std::nullopt;
  }
  if (next != reply.outputs.size()) return std::nullopt;
  return all;
}

/// A framework that raises on these values (an index check, a domain check) only leaves its error unknown.
void ask_framework(Case& made, const graph::Graph& graph, FrameworkOracle& oracle) {
  Result<FrameworkReply> reply = oracle.run(made.inputs, made.params);
  if (!reply) {
    made.framework_failure = reply.failure().message;
    return;
  }
  auto all = aligned(std::move(*reply), graph, made.expected);
  if (all)
    made.framework = std::move(*all);
  else
    made.framework_failure = "PyTorch's outputs have other shapes or types than the graph's";
}

}  // namespace

size_t Case::bytes() const {
  size_t sum = tensor_bytes(inputs) + tensor_bytes(framework);
  if (params_drawn != ParamDraw::own)
    for (const auto& [name, tensor] : params) sum += tensor.bytes();
  for (const graph::Reference& output : expected.outputs)
    sum += (output.value.size() + output.bound.size()) * sizeof(double);
  return sum;
}

Result<std::shared_ptr<const Case>> make_case(const graph::Problem& problem, const CaseKey& key,
                                              const JudgeOptions& options,
                                              std::chrono::steady_clock::time_point deadline) {
  const auto start = std::chrono::steady_clock::now();
  auto made = std::make_shared<Case>();
  made->key = key;
  std::optional<int> magnitude;
  if (key.suite == "integers") magnitude = exact_magnitude(problem.graph, problem.params());
  made->exact = magnitude.has_value();
  const ParamDraw draw = magnitude || key.params != ParamDraw::integers ? key.params : ParamDraw::redrawn;
  made->params_drawn = draw;
  made->inputs = draw_inputs(problem, key.suite, key.seed, key.draw, magnitude.value_or(8));
  made->params = draw_params(problem, draw, key.seed + 1, magnitude.value_or(8));
  graph::InterpretOptions interpret_options;
  interpret_options.roundoff = roundoff_of(options.accuracy);
  interpret_options.deadline = deadline;
  Result<graph::Evaluation> expected = graph::interpret(problem.graph, made->inputs, made->params, interpret_options);
  if (!expected) return expected.failure();
  made->expected = std::move(*expected);
  if (options.oracle) ask_framework(*made, problem.graph, *options.oracle);
  made->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return std::shared_ptr<const Case>(std::move(made));
}

ReferenceCache::ReferenceCache(size_t limit_bytes) : seed_(secret_seed()), limit_bytes_(limit_bytes) {}

std::shared_ptr<const Case> ReferenceCache::find(const CaseKey& key) {
  const std::lock_guard lock(mutex_);
  const auto found = cases_.find(key);
  return found == cases_.end() ? nullptr : found->second;
}

void ReferenceCache::keep(const std::shared_ptr<const Case>& made) {
  const std::lock_guard lock(mutex_);
  if (held_bytes_ + made->bytes() > limit_bytes_) return;
  if (cases_.emplace(made->key, made).second) held_bytes_ += made->bytes();
}

}  // namespace kw::judge
