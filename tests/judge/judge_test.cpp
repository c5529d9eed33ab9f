#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "fake_target.h"
#include "judge/adequacy.h"
#include "judge/explain.h"
#include "judge/gates.h"
#include "judge/reference.h"

using namespace kw;
using namespace kw::graph;
using namespace kw::judge;
using fake::FakeTarget;
using fake::Faults;

namespace {

/// Linear without activation: y = x W^T + b over x [24, 40], W [33, 40].
Graph linear_graph() {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {24, 40}, "x");
  const NodeId w = g.param("w", ParamKind::parameter, DType::f32, {33, 40});
  const NodeId b = g.param("b", ParamKind::parameter, DType::f32, {33});
  g.output(g.map2(ScalarOp::add, g.contract(x, {0, 2}, w, {1, 2}, {0, 1}), b));
  return g.take();
}

Problem problem_of(Graph graph) {
  Problem problem;
  problem.name = "linear";
  problem.graph = std::move(graph);
  problem.loaded = std::make_shared<module::LoadedModule>();
  Random random(11);
  for (const ParamInfo& info : problem.graph.params) {
    Tensor tensor = Tensor::zeros(info.dtype, info.shape);
    // b is 0, as fresh layers have it: only redrawn parameters show whether it is added at all.
    for (int64_t i = 0; i < element_count(info.shape); ++i)
      store_element(tensor, i, info.name == "b" ? 0 : 0.2 * random.normal());
    problem.loaded->weights.tensors[info.name] = tensor;
  }
  std::vector<Tensor> draw;
  for (const InputInfo& info : problem.graph.inputs) {
    Tensor tensor = Tensor::zeros(info.dtype, info.shape);
    for (int64_t i = 0; i < element_count(info.shape); ++i) store_element(tensor, i, random.uniform());
    draw.push_back(tensor);
    problem.domains.push_back({0, 1, 0.5, 0.2887, true, false});
  }
  problem.example_draws = {draw};
  return problem;
}

constexpr const char* guarded_plan = R"({"format": "kernelwright-plan/1", "target": "cpu",
 "symbols": {"M": {"input": 0, "dim": 0}, "K": {"input": 0, "dim": 1}}, "guards": ["M == 24", "K == 40"],
 "buffers": {"x": {"role": "input", "index": 0}, "w": {"role": "parameter", "name": "w"},
             "b": {"role": "parameter", "name": "b"}, "y": {"role": "output", "index": 0}},
 "prepare": [], "steps": [{"kernel": "k", "args": ["x", "w", "b", "y"], "groups": [1, 1, 1], "group": [1, 1, 1]}]})";

kernel::Candidate candidate_of(std::string plan = guarded_plan) {
  kernel::Candidate candidate;
  candidate.source = "KW_KERNEL void k() {}";
  candidate.plan_json = std::move(plan);
  candidate.author = "test";
  return candidate;
}

Verdict judge_with(const Faults& faults, JudgeOptions options = {}, std::string plan = guarded_plan) {
  const Problem problem = problem_of(linear_graph());
  FakeTarget target(problem.graph, faults);
  return judge::judge(problem, candidate_of(std::move(plan)), target, options);
}

double to_bits(double value, int bits) {
  if (value == 0 || !std::isfinite(value)) return value;
  int exponent = 0;
  return std::ldexp(std::nearbyint(std::ldexp(std::frexp(value, &exponent), bits)), exponent - bits);
}

void round_operands(std::vector<Tensor>& inputs, std::map<std::string, Tensor>& params, int bits) {
  const auto round = [&](Tensor& tensor) {
    tensor = fake::copy_of(tensor);
    for (int64_t i = 0; i < element_count(tensor.shape); ++i)
      store_element(tensor, i, to_bits(load_element(tensor, i), bits));
  };
  for (Tensor& tensor : inputs) round(tensor);
  for (auto& [name, tensor] : params) round(tensor);
}

struct PlantedFault {
  const char* name;
  Faults faults;
  const char* gate;
};

Faults change_outputs(std::function<void(std::vector<Tensor>&, const std::vector<Tensor>&, int)> change) {
  Faults faults;
  faults.outputs = std::move(change);
  return faults;
}

std::vector<PlantedFault> planted_faults() {
  std::vector<PlantedFault> rows;
  rows.push_back({"index off by one", change_outputs([](auto& out, const auto&, int) {
                    const Tensor right = fake::copy_of(out[0]);
                    for (int64_t i = 1; i < 24 * 33; ++i) store_element(out[0], i, load_element(right, i - 1));
                  }),
                  "numerics.own"});
  rows.push_back({"dropped tail", change_outputs([](auto& out, const auto& before, int) {
                    for (int64_t i = 24 * 33 - 5; i < 24 * 33; ++i)
                      store_element(out[0], i, load_element(before[0], i));
                  }),
                  "numerics.own"});
  rows.push_back({"constant", change_outputs([](auto& out, const auto&, int) {
                    for (int64_t i = 0; i < 24 * 33; ++i) store_element(out[0], i, 0.5);
                  }),
                  "numerics.own"});
  Faults axis;
  axis.operands = [](auto& inputs, auto&) {  // rows 0 and 1 swapped
    Tensor swapped = fake::copy_of(inputs[0]);
    std::copy_n(inputs[0].data, 160, swapped.data + 160);
    std::copy_n(inputs[0].data + 160, 160, swapped.data);
    inputs[0] = swapped;
  };
  rows.push_back({"rows swapped", axis, "numerics.own"});
  for (const int bits : {8, 11}) {  // bf16, TF32: the operands only
    Faults low;
    low.operands = [bits](auto& inputs, auto& params) { round_operands(inputs, params, bits); };
    rows.push_back({bits == 8 ? "bf16 operands" : "tf32 operands", low, "numerics.own"});
  }
  Faults no_bias;
  no_bias.operands = [](auto&, auto& params) { params["b"] = Tensor::zeros(DType::f32, {33}); };
  rows.push_back({"bias left out", no_bias, "numerics.normal"});
  rows.push_back({"an unwritten element that happened to be right",
                  change_outputs([](auto& out, const auto& before, int call) {
                    if (call > 0) store_element(out[0], 7, load_element(before[0], 7));
                  }),
                  "poison"});
  rows.push_back({"nondeterminism", change_outputs([](auto& out, const auto&, int call) {
                    if (call > 4)
                      out[0].template as<float>()[3] =
                          std::nextafter(out[0].template as<float>()[3], 9.0f + float(call % 2));
                  }),
                  "rerun"});
  rows.push_back({"NaN swallowed", change_outputs([](auto& out, const auto&, int) {
                    for (int64_t i = 0; i < 24 * 33; ++i)
                      if (std::isnan(load_element(out[0], i))) store_element(out[0], i, 0);
                  }),
                  "numerics.specials"});
  Faults ordered;
  ordered.conditions = [](auto& out, const auto& options) {
    if (options.isolated) store_element(out[0], 40, std::nextafter(out[0].template as<float>()[40], 9.0f));
  };
  rows.push_back({"a group that reads what another one writes", ordered, "isolation"});
  Faults racing;
  racing.conditions = [](auto& out, const auto& options) {
    if (options.threads == 3) store_element(out[0], 9, std::nextafter(out[0].template as<float>()[9], 9.0f));
  };
  rows.push_back({"groups that depend on each other", racing, "widths"});
  Faults aligned;
  aligned.conditions = [](auto& out, const auto& options) {
    if (options.base_offset_bytes % 16 != 0) store_element(out[0], 0, 5);
  };
  rows.push_back({"aligned loads of unaligned memory", aligned, "alignment"});
  Faults touching;
  touching.touches_inputs = true;
  rows.push_back({"input mutation", touching, "numerics.own"});
  Faults stale;
  stale.keeps_first_outputs = true;
  rows.push_back({"stale output", stale, "numerics.normal"});
  Faults cached;
  cached.keeps_first_params = true;
  rows.push_back({"parameters cached over a change", cached, "numerics.normal"});
  return rows;
}

/// PyTorch's part is played by the same arithmetic, rounded to float32 once, with `error` relative error added.
class FakeOracle final : public FrameworkOracle {
 public:
  FakeOracle(const Graph& graph, double error) : graph_(graph), error_(error) {}
  Result<FrameworkReply> run(const std::vector<Tensor>& inputs, const std::map<std::string, Tensor>& params) override {
    const Evaluation evaluation = *interpret(graph_, inputs, params);
    FrameworkReply told;
    Random random(5);
    for (size_t k = 0; k < evaluation.outputs.size(); ++k) {
      Tensor tensor = fake::rounded(evaluation.outputs[k]);
      for (int64_t i = 0; i < element_count(tensor.shape); ++i)
        store_element(tensor, i, load_element(tensor, i) * (1 + error_ * random.normal()));
      if (graph_.outputs[k].is_state)
        told.states.emplace(graph_.outputs[k].state_name, tensor);
      else
        told.outputs.push_back(tensor);
    }
    return told;
  }

 private:
  const Graph& graph_;
  double error_;
};

}  // namespace

TEST_CASE("an honest candidate is verified, and the certificate says what was tested") {
  const Verdict verdict = judge_with({});
  CHECK(verdict.outcome == Outcome::verified);
  CHECK_MESSAGE(verdict.outcome == Outcome::verified, verdict.gate << ": " << verdict.reason);
  CHECK(verdict.gates.size() == gate_table().size());
  CHECK(verdict.suites.size() >= suite_table().size());
  CHECK(!verdict.adequacy.degenerate);
  CHECK(verdict.adequacy.precision_seen);
  const bool exact = std::any_of(verdict.suites.begin(), verdict.suites.end(), [](const auto& s) { return s.exact; });
  CHECK(exact);
  const auto json = nlohmann::json::parse(certificate_json(problem_of(linear_graph()), candidate_of(), verdict));
  CHECK(json.at("verdict") == "verified");
  CHECK(json.at("suites").size() == verdict.suites.size());
}

/// The same product in float32 arithmetic, summed from the last term to the first.
void sum_backwards(Tensor& out, const Tensor& x, const Tensor& w, const Tensor& b) {
  for (int64_t m = 0; m < 24; ++m)
    for (int64_t n = 0; n < 33; ++n) {
      float sum = 0;
      for (int64_t k = 40; k-- > 0;) sum += x.as<float>()[m * 40 + k] * w.as<float>()[n * 40 + k];
      out.as<float>()[m * 33 + n] = sum + b.as<float>()[n];
    }
}

TEST_CASE("float32 sums in another order are honest") {
  std::vector<Tensor> seen;
  std::map<std::string, Tensor> weights;
  Faults faults = change_outputs(
      [&](auto& out, const auto&, int) { sum_backwards(out[0], seen[0], weights.at("w"), weights.at("b")); });
  faults.operands = [&](auto& inputs, auto& params) {
    seen = inputs;
    weights = params;
  };
  const Verdict verdict = judge_with(faults);
  CHECK_MESSAGE(verdict.outcome == Outcome::verified, verdict.gate << ": " << verdict.reason);
  CHECK(verdict.accuracy.rms > 1e-9);
}

TEST_CASE("every planted fault is caught by the gate that is meant for it") {
  for (const PlantedFault& row : planted_faults()) {
    const Verdict verdict = judge_with(row.faults);
    CHECK_MESSAGE(verdict.outcome == Outcome::rejected, row.name << ": " << verdict.reason);
    CHECK_MESSAGE(verdict.gate == row.gate, row.name << ": " << verdict.gate << ": " << verdict.reason);
  }
}

TEST_CASE("a kernel that knows the module's own examples fails on a draw that it cannot know") {
  std::vector<Tensor> inputs;
  Faults knowing = change_outputs([&](auto& out, const auto&, int) {
    bool in_range = true;
    for (int64_t i = 0; i < 24 * 40; ++i)
      in_range = in_range && load_element(inputs[0], i) >= 0 && load_element(inputs[0], i) < 1;
    const bool known = load_element(inputs[0], 0) == load_element(problem_of(linear_graph()).example_draws[0][0], 0);
    if (in_range && !known) store_element(out[0], 0, 1e3);
  });
  knowing.operands = [&](auto& seen, auto&) { inputs = seen; };
  JudgeOptions options;
  options.quick = true;
  options.seed = 5;  // a seed that the caller chose is no secret
  const Verdict verdict = judge_with(knowing, options);
  CHECK(verdict.outcome == Outcome::rejected);
  CHECK(verdict.gate == "hidden");
}

TEST_CASE("without walls nothing runs, and the missing one is named") {
  struct Row {
    std::vector<std::string> walls;
    const char* missing;
  };
  const Row rows[] = {
      {{"namespaces: yes (bubblewrap)", "landlock: yes (version 7)", "seccomp: missing (built without)"}, "seccomp"},
      {{"namespaces: missing", "landlock: missing (kernel 5.13 or newer)", "seccomp: yes"}, "bubblewrap"}};
  for (const Row& row : rows) {
    JudgeOptions options;
    options.walls = row.walls;
    const Verdict verdict = judge_with({}, options);
    CHECK(verdict.outcome == Outcome::inconclusive);
    CHECK(verdict.gate == "sandbox");
    CHECK(verdict.reason.find(row.missing) != std::string::npos);
  }
  CHECK(missing_walls({"namespaces: missing", "landlock: yes (version 1)", "seccomp: yes"}).empty());
}

TEST_CASE("a certificate in words tells what was shown, what was not, and how to see the fault again") {
  JudgeOptions quick;
  quick.quick = true;
  const auto words_of = [](const Verdict& verdict) {
    return explain_certificate(certificate_json(problem_of(linear_graph()), candidate_of(), verdict)).value_or_throw();
  };
  const auto holds = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  const std::string full = words_of(judge_with({})), less = words_of(judge_with({}, quick));
  CHECK(holds(full, "is verified"));
  CHECK(holds(full, "the same bits with 1, 2, 3 and 5 threads"));
  CHECK(!holds(full, "gates that did not run"));
  CHECK(holds(less, "gates that did not run: widths, alignment, rebind, replay, adequacy"));
  const std::string fault = words_of(judge_with(planted_faults()[1].faults));
  CHECK(holds(fault, "is rejected by the gate 'numerics.own'"));
  CHECK(holds(fault, "first wrong: [23,28]"));
  CHECK(!explain_certificate("{}").ok());
  CHECK(!explain_certificate("no JSON").ok());
}

TEST_CASE("a problem's adequacy is measured without any candidate") {
  const Adequacy adequacy = measure_adequacy(problem_of(linear_graph()), {}).value_or_throw();
  CHECK(!adequacy.degenerate);
  CHECK(adequacy.mutants.size() == 9);
  for (const MutantRecord& m : adequacy.mutants)
    if (m.mutant == "tf32 operands") CHECK((m.applies && !m.killed_by.empty() && m.passes_1e2));
}

TEST_CASE("a wrong element comes with a witness and a place in words") {
  const Verdict verdict = judge_with(planted_faults()[1].faults);
  REQUIRE(verdict.witness);
  CHECK(verdict.witness->index[0] == 23);
  CHECK(verdict.witness->index[1] >= 28);
  CHECK(verdict.reason.find("the tile [23:24, 28:33]") != std::string::npos);
}

TEST_CASE("failures of the parts: whose fault it is decides the outcome") {
  struct Row {
    std::string compile_failure, run_failure;
    Outcome outcome;
    const char* gate;
  };
  const Row rows[] = {{"compile.error", "", Outcome::rejected, "compile"},
                      {"compile.missing", "", Outcome::inconclusive, "compile"},
                      {"source.forbidden", "", Outcome::rejected, "source"},
                      {"binary.forbidden", "", Outcome::rejected, "binary"},
                      {"plan.kernel", "", Outcome::rejected, "plan"},
                      {"", "run.crash", Outcome::rejected, "numerics.own"},
                      {"", "run.timeout", Outcome::rejected, "numerics.own"},
                      {"", "run.overrun", Outcome::rejected, "numerics.own"},
                      {"", "run.sandbox", Outcome::inconclusive, "numerics.own"}};
  for (const Row& row : rows) {
    Faults faults;
    faults.compile_failure = row.compile_failure;
    faults.run_failure = row.run_failure;
    const Verdict verdict = judge_with(faults);
    CHECK(verdict.outcome == row.outcome);
    CHECK(verdict.gate == row.gate);
  }
}

TEST_CASE("a Plan that is no Plan, and one that takes shapes it was not verified on") {
  CHECK(judge_with({}, {}, "{").gate == "plan");
  CHECK(judge_with({}, {}, "{").outcome == Outcome::rejected);
  std::string open = guarded_plan;
  open.replace(open.find("\"M == 24\", "), 11, "");
  const Verdict verdict = judge_with({}, {}, open);
  CHECK(verdict.gate == "shapes");
  CHECK(verdict.outcome == Outcome::inconclusive);
}

TEST_CASE("without time nothing is verified") {
  JudgeOptions options;
  options.time_limit_s = 0;
  const Verdict verdict = judge_with({}, options);
  CHECK(verdict.outcome == Outcome::inconclusive);
}

TEST_CASE("less accurate than the framework is rejected, and the class says how much is allowed") {
  GraphBuilder g;  // without a bias: the bound of each sum leaves room for both classes
  const NodeId x = g.input(DType::f32, {24, 40}, "x");
  g.output(g.contract(x, {0, 2}, g.param("w", ParamKind::parameter, DType::f32, {33, 40}), {1, 2}, {0, 1}));
  const Problem problem = problem_of(g.take());
  std::string plan = guarded_plan;
  plan.replace(plan.find("\"b\": {"), plan.find("\"y\": {") - plan.find("\"b\": {"), "");
  plan.replace(plan.find("\"b\", \"y\""), 5, "");
  const auto judged = [&](double ours, AccuracyClass accuracy) {
    FakeOracle oracle(problem.graph, 2e-7);
    JudgeOptions options;
    options.oracle = &oracle;
    options.accuracy = accuracy;
    Faults faults = change_outputs([ours](auto& out, const auto&, int) {
      for (int64_t i = 0; i < 24 * 33; ++i) {
        const double value = load_element(out[0], i);
        store_element(out[0], i, value == std::trunc(value) ? value : value * (1 + (i % 2 ? ours : -ours)));
      }
    });
    FakeTarget target(problem.graph, faults);
    return judge::judge(problem, candidate_of(plan), target, options);
  };
  CHECK_MESSAGE(judged(3e-7, AccuracyClass::framework).outcome == Outcome::verified,
                judged(3e-7, AccuracyClass::framework).reason);
  CHECK(judged(6e-7, AccuracyClass::framework).gate == "accuracy");
  CHECK(judged(6e-7, AccuracyClass::faithful).outcome == Outcome::verified);
  CHECK(judged(3e-7, AccuracyClass::framework).accuracy.framework_rms == doctest::Approx(2e-7).epsilon(0.2));
}

TEST_CASE("where PyTorch cannot be asked, its class is not shown: the reason is told") {
  class Gone final : public FrameworkOracle {
   public:
    Result<FrameworkReply> run(const std::vector<Tensor>&, const std::map<std::string, Tensor>&) override {
      return Failure{"oracle.start", "PyTorch could not be started", ""};
    }
  };
  Gone oracle;
  for (const AccuracyClass accuracy : {AccuracyClass::framework, AccuracyClass::tf32}) {
    JudgeOptions options;
    options.oracle = &oracle;
    options.accuracy = accuracy;
    const Verdict verdict = judge_with({}, options);
    const bool asked = accuracy == AccuracyClass::framework;
    CHECK(verdict.outcome == (asked ? Outcome::inconclusive : Outcome::verified));
    if (!asked) continue;
    CHECK(verdict.gate == "accuracy");
    CHECK(verdict.reason.find("PyTorch could not be started") != std::string::npos);
  }
}

TEST_CASE("quick judgements of one problem share references; full ones draw afresh") {
  ReferenceCache cache;
  JudgeOptions options;
  options.quick = true;
  options.cache = &cache;
  const Verdict one = judge_with({}, options), two = judge_with({}, options);
  CHECK(one.outcome == Outcome::verified);
  REQUIRE(one.suites.size() == two.suites.size());
  for (size_t i = 0; i < one.suites.size(); ++i) CHECK(one.suites[i].seed == two.suites[i].seed);
  CHECK(cache.find({"own", ParamDraw::own, one.suites[0].seed, 0}) != nullptr);
  options.quick = false;
  CHECK(judge_with({}, options).suites[0].seed != judge_with({}, options).suites[0].seed);
}

TEST_CASE("a problem whose answer is always nearly zero is degenerate") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {24, 40}, "x");
  g.output(g.map2(ScalarOp::mul, g.map2(ScalarOp::sub, x, x), 1.0));
  const Problem problem = problem_of(g.take());
  FakeTarget target(problem.graph, {});
  const Verdict verdict = judge::judge(problem, candidate_of(R"({"format": "kernelwright-plan/1", "target": "cpu",
 "symbols": {"M": {"input": 0, "dim": 0}, "K": {"input": 0, "dim": 1}}, "guards": ["M == 24", "K == 40"],
 "buffers": {"x": {"role": "input", "index": 0}, "y": {"role": "output", "index": 0}},
 "prepare": [], "steps": [{"kernel": "k", "args": ["x", "y"], "groups": [1, 1, 1], "group": [1, 1, 1]}]})"),
                                       target, {});
  CHECK_MESSAGE(verdict.adequacy.degenerate, verdict.reason);
}
