#pragma once
#include <functional>
#include <random>

#include "graph/interpret.h"
#include "judge/verdict.h"

/// A target whose kernels are the interpreter, rounded to float32, with a fault planted at a chosen place.
namespace kw::judge::fake {

struct Faults {
  /// May change the operands before the computation (low precision, wrong axis).
  std::function<void(std::vector<Tensor>& inputs, std::map<std::string, Tensor>& params)> operands;
  /// May change the result: outputs, what memory held before, the call's number in this session.
  std::function<void(std::vector<Tensor>& outputs, const std::vector<Tensor>& before, int call)> outputs;
  /// May change the result by the conditions of the call: threads, alignment.
  std::function<void(std::vector<Tensor>& outputs, const target::RunOptions& options)> conditions;
  bool touches_inputs = false;
  bool keeps_first_params = false;  // ignores a later bind
  bool keeps_first_outputs = false;
  std::string compile_failure, run_failure;  // an id
};

inline Tensor copy_of(const Tensor& tensor) {
  Tensor copy = Tensor::zeros(tensor.dtype, tensor.shape);
  std::copy_n(tensor.data, tensor.bytes(), copy.data);
  return copy;
}

inline Tensor poisoned(DType dtype, const Shape& shape, uint64_t bits) {
  Tensor tensor = Tensor::zeros(dtype, shape);
  for (size_t i = 0; i + 4 <= tensor.bytes(); i += 4)
    std::copy_n(reinterpret_cast<const std::byte*>(&bits), 4, tensor.data + i);
  return tensor;
}

inline Tensor rounded(const graph::Reference& reference) {
  Tensor tensor = Tensor::zeros(reference.dtype, reference.shape);
  for (size_t i = 0; i < reference.value.size(); ++i)
    store_element(tensor, static_cast<int64_t>(i), reference.value[i]);
  return tensor;
}

class FakeSession final : public target::Session {
 public:
  FakeSession(const graph::Graph& graph, const Faults& faults) : graph_(graph), faults_(faults) {}

  Status bind(const std::map<std::string, Tensor>& params) override {
    if (faults_.keeps_first_params && bound_) return ok_status();
    params_ = params;
    bound_ = true;
    return ok_status();
  }

  Result<target::RunReply> run(const std::vector<Tensor>& given, const target::RunOptions& options) override {
    if (!faults_.run_failure.empty()) return Failure{faults_.run_failure, "signal 11 in buffer `in0`", ""};
    std::vector<Tensor> inputs = given;
    std::map<std::string, Tensor> params = params_;
    if (faults_.operands) faults_.operands(inputs, params);
    graph::InterpretOptions interpret_options;
    interpret_options.bounds = false;
    const Result<graph::Evaluation> evaluation = graph::interpret(graph_, inputs, params, interpret_options);
    if (!evaluation) return evaluation.failure();
    std::vector<Tensor> outputs, before;
    for (const graph::Reference& reference : evaluation->outputs) {
      outputs.push_back(rounded(reference));
      before.push_back(poisoned(reference.dtype, reference.shape, options.fill_bits));
    }
    if (faults_.outputs) faults_.outputs(outputs, before, calls_++);
    if (faults_.conditions) faults_.conditions(outputs, options);
    if (faults_.keeps_first_outputs && !first_.empty()) outputs = first_;
    if (first_.empty()) first_ = outputs;
    return reply_of(outputs);
  }

  Result<target::TimeReply> time(const std::vector<Tensor>&, int, int, bool, const target::RunOptions&) override {
    return target::TimeReply{};
  }

 private:
  target::RunReply reply_of(const std::vector<Tensor>& outputs) const {
    target::RunReply reply;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const graph::OutputInfo& info = graph_.outputs[i];
      if (info.is_state)
        reply.states[info.state_name] = outputs[i];
      else
        reply.outputs.push_back(outputs[i]);
    }
    reply.inputs_intact = !faults_.touches_inputs;
    return reply;
  }

  const graph::Graph& graph_;
  const Faults& faults_;
  std::map<std::string, Tensor> params_;
  std::vector<Tensor> first_;
  bool bound_ = false;
  int calls_ = 0;
};

class FakeTarget final : public target::Target {
 public:
  FakeTarget(const graph::Graph& graph, Faults faults) : graph_(graph), faults_(std::move(faults)) {}
  const target::Facts& facts() const override { return facts_; }
  Result<target::Compiled> compile(const std::string&, const kernel::Plan&) override {
    if (!faults_.compile_failure.empty()) return Failure{faults_.compile_failure, "line 3: no", ""};
    return target::Compiled{};
  }
  Result<std::unique_ptr<target::Session>> open(const target::Compiled&, const kernel::BoundPlan&) override {
    return std::unique_ptr<target::Session>(std::make_unique<FakeSession>(graph_, faults_));
  }

 private:
  const graph::Graph& graph_;
  Faults faults_;
  target::Facts facts_;
};

}  // namespace kw::judge::fake
