#include <cmath>
#include <nlohmann/json.hpp>

#include "judge/verdict.h"

namespace kw::judge {

namespace {

using Json = nlohmann::ordered_json;

/// JSON has no NaN and no infinity: they are written as words.
Json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

Json to_json(const Witness& witness) {
  return {{"suite", witness.suite},     {"seed", std::to_string(witness.seed)}, {"output", witness.output},
          {"index", witness.index},     {"first_index", witness.first_index},   {"expected", number(witness.expected)},
          {"got", number(witness.got)}, {"bound", number(witness.bound)}};
}

Json to_json(const GateRecord& gate) {
  return {{"gate", gate.gate}, {"outcome", name_of(gate.outcome)}, {"text", gate.text}, {"seconds", gate.seconds}};
}

Json to_json(const SuiteRecord& suite) {
  return {{"suite", suite.suite},
          {"params", suite.params},
          {"seed", std::to_string(suite.seed)},
          {"shown", suite.shown},
          {"exact", suite.exact},
          {"elements", suite.elements},
          {"undecided", suite.undecided},
          {"overflowed", suite.overflowed},
          {"worst_bound_share", number(suite.worst_bound_share)},
          {"rms", number(suite.rms)},
          {"text", suite.text}};
}

Json to_json(const Adequacy& adequacy) {
  Json mutants = Json::array();
  for (const MutantRecord& record : adequacy.mutants)
    mutants.push_back({{"mutant", record.mutant},
                       {"applies", record.applies},
                       {"killed_by", record.killed_by},
                       {"passes_1e-4", record.passes_1e4},
                       {"passes_1e-2", record.passes_1e2}});
  return {{"measured", adequacy.measured},
          {"degenerate", adequacy.degenerate},
          {"precision_seen", adequacy.precision_seen},
          {"mutants", mutants}};
}

Json assumptions_of(const kernel::Candidate& candidate) {
  const auto plan = kernel::parse_plan(candidate.plan_json);
  return plan.ok() ? Json(plan->assumes) : Json::array();
}

template <class T>
Json list_of(const std::vector<T>& items) {
  Json list = Json::array();
  for (const T& item : items) list.push_back(to_json(item));
  return list;
}

constexpr const char* rule =
    "every element within its propagated float64 error bound plus 2^-126; NaN and infinities match; where the bound "
    "decides nothing, within PyTorch's own largest error; rms error at most 2x (framework) or 4x (faithful) PyTorch's";

}  // namespace

std::string certificate_json(const graph::Problem& problem, const kernel::Candidate& candidate,
                             const Verdict& verdict) {
  Json json = {{"format", "kernelwright-certificate/1"},
               {"problem", problem.name},
               {"mode", problem.mode == graph::Mode::train ? "train" : "eval"},
               {"candidate", candidate.key()},
               {"author", candidate.author},
               {"assumes", assumptions_of(candidate)},
               {"verdict", name_of(verdict.outcome)},
               {"gate", verdict.gate},
               {"reason", verdict.reason},
               {"rule", rule},
               {"accuracy",
                {{"class", name_of(verdict.accuracy.reached)},
                 {"rms", number(verdict.accuracy.rms)},
                 {"framework_rms", number(verdict.accuracy.framework_rms)},
                 {"worst_bound_share", number(verdict.accuracy.worst_bound_share)}}},
               {"witness", verdict.witness ? to_json(*verdict.witness) : Json()},
               {"gates", list_of(verdict.gates)},
               {"suites", list_of(verdict.suites)},
               {"adequacy", to_json(verdict.adequacy)},
               {"seconds", verdict.seconds}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace kw::judge
