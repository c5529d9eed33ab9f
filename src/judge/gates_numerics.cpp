#include <algorithm>
#include <array>

#include "judge/execute.h"

/// Numerics: every element of every output against float64, suite after suite.
namespace kw::judge {

namespace {

/// One comparison. Rows come in order of value: when time runs out, the later ones are left out and the
/// certificate says so.
struct CaseRow {
  std::string_view suite;
  ParamDraw params;
  bool required;  // its absence makes the verdict inconclusive
  bool quick;     // search loops run it
  bool measured;  // the accuracy gate compares it with PyTorch
  uint32_t fill_bits;
  int offset_elements;  // base pointers off their alignment
};

constexpr uint32_t fill_nan = 0x7fc00000, fill_huge = 0x71800000 /* 2^100 */, fill_zero = 0;

constexpr std::array<CaseRow, 14> case_rows = {{
    {"own", ParamDraw::own, true, true, true, fill_nan, 0},
    {"normal", ParamDraw::redrawn, true, true, true, fill_huge, 1},
    {"specials", ParamDraw::own, true, true, false, fill_zero, 0},
    {"own", ParamDraw::redrawn, true, false, true, fill_nan, 0},
    {"one_hot", ParamDraw::redrawn, false, false, false, fill_huge, 0},
    {"integers", ParamDraw::integers, false, false, false, fill_nan, 1},
    {"wide", ParamDraw::redrawn, false, false, false, fill_nan, 0},
    {"offset", ParamDraw::own, false, false, false, fill_zero, 0},
    {"cancelling", ParamDraw::own, false, false, false, fill_nan, 1},
    {"negative", ParamDraw::redrawn, false, false, false, fill_huge, 0},
    {"sunken", ParamDraw::own, false, false, false, fill_nan, 0},
    {"small", ParamDraw::redrawn, false, false, false, fill_nan, 0},
    {"constant", ParamDraw::redrawn, false, false, false, fill_huge, 0},
    {"normal", ParamDraw::own, false, false, false, fill_nan, 0},
}};

constexpr int passes = 5;  // seeds a suite, time permitting
// Rows that are not required end here: the gates behind these need the rest (reruns, new parameters, a replay).
constexpr double optional_share = 0.5;

SuiteRecord record_of(const CaseKey& key, const Case* given) {
  SuiteRecord record;
  record.suite = key.suite;
  record.params = name_of(given ? given->params_drawn : key.params);
  record.seed = key.seed;
  record.exact = given && given->exact;
  return record;
}

void add_tallies(SuiteRecord& record, const std::vector<Tally>& tallies) {
  for (const Tally& tally : tallies) {
    record.elements += tally.elements;
    record.undecided += tally.undecided;
    record.overflowed += tally.overflowed;
    record.worst_bound_share = std::max(record.worst_bound_share, tally.worst_bound_share);
    record.rms = std::max(record.rms, tally.relative_rms());
  }
}

void note_missing(Trial& trial, const CaseRow& row, SuiteRecord record, const std::string& why) {
  record.text = why;
  if (row.required) trial.missing.push_back("'" + std::string(row.suite) + "': " + why);
  trial.verdict.suites.push_back(std::move(record));
}

/// Inputs that the module itself cannot take (an index out of range) are no fault; lack of memory decides nothing.
void note_failure(Trial& trial, CaseRow row, const CaseKey& key, const Failure& failure) {
  if (failure.id == "interpret.index") row.required = row.required && row.suite == "own";
  note_missing(trial, row, record_of(key, nullptr), failure.message);
}

int64_t element_bytes(const graph::Graph& graph) {
  size_t largest = 1;
  for (const graph::InputInfo& info : graph.inputs) largest = std::max(largest, size_bytes(info.dtype));
  for (const graph::OutputInfo& info : graph.outputs) largest = std::max(largest, size_bytes(graph[info.node].dtype));
  return static_cast<int64_t>(largest);
}

/// What a row shows of the accuracy is kept for the gate that compares with PyTorch.
void keep_measure(Trial& trial, const std::shared_ptr<const Case>& given, std::vector<Tensor> outputs) {
  if (given->framework.empty()) {
    if (trial.framework_failure.empty()) trial.framework_failure = given->framework_failure;
    return;
  }
  trial.measured.push_back(given);
  trial.measured_outputs.push_back(std::move(outputs));
}

/// Only the first passes' "own" decides; "specials" may be undecidable in a graph where one NaN reaches everything.
bool must_show(const CaseRow& row) { return row.required && row.suite == "own"; }

Finding run_row(Trial& trial, const CaseRow& row, const CaseKey& key, const std::shared_ptr<const Case>& given) {
  target::RunOptions options;
  options.fill_bits = row.fill_bits;
  options.base_offset_bytes = row.offset_elements * element_bytes(trial.problem.graph);
  Ran ran = execute(trial.problem, *trial.session, *given, options);
  if (ran.fault) return *ran.fault;
  const Judged judged = judge_outputs(trial.problem, *given, ran.outputs, trial.options);
  SuiteRecord record = record_of(key, given.get());
  add_tallies(record, judged.tallies);
  if (judged.fault) {
    record.text = judged.fault->text;
    trial.verdict.suites.push_back(record);
    return *judged.fault;
  }
  record.shown = judged.shown();
  trial.verdict.accuracy.worst_bound_share =
      std::max(trial.verdict.accuracy.worst_bound_share, record.worst_bound_share);
  if (!record.shown) {
    CaseRow fate = row;
    fate.required = must_show(row);
    note_missing(trial, fate, record, "most elements are undecidable: the error bound exceeds the values");
    return passed("not shown");
  }
  if (row.measured) keep_measure(trial, given, std::move(ran.outputs));
  trial.verdict.suites.push_back(record);
  return passed("");
}

CaseKey key_of(Trial& trial, const CaseRow& row, size_t number, int pass) {
  const bool finite = row.suite == "specials" && !trial.plan.assumes.empty();
  CaseKey key{finite ? "finite_specials" : std::string(row.suite), row.params, 0, -1};
  // Quick judgements of one search share their cases, so that each reference is evaluated once.
  const bool shared = trial.options.quick && trial.options.cache && !trial.options.seed;
  key.seed = shared ? Random(trial.options.cache->seed() + number).next() : trial.seeds.next();
  if (row.suite == "own") key.draw = pass == 0 ? static_cast<int>(number != 0) : pass + 1;
  return key;
}

Finding try_row(Trial& trial, const CaseRow& row, size_t number, int pass) {
  const CaseKey key = key_of(trial, row, number, pass);
  const double expected_s = trial.own ? trial.own->seconds : 0;
  const double kept_s = row.required ? 0 : (1 - optional_share) * trial.options.time_limit_s;
  if (!trial.has_time(expected_s + kept_s)) {
    note_missing(trial, row, record_of(key, nullptr), "no time left");
    return passed("");
  }
  const Result<std::shared_ptr<const Case>> given = trial.get_case(key);
  if (!given) {
    note_failure(trial, row, key, given.failure());
    return passed("");
  }
  if (number == 0 && pass == 0) trial.own = *given;
  return run_row(trial, row, key, *given);
}

bool wanted(const Trial& trial, const CaseRow& row) {
  if (trial.options.accuracy == AccuracyClass::kernelbench) return row.suite == "own";
  return row.quick || !trial.options.quick;
}

}  // namespace

Finding gate_first_suite(Trial& trial) {
  Finding finding = try_row(trial, case_rows[0], 0, 0);
  if (finding.outcome != Outcome::verified) return finding;
  if (!trial.missing.empty()) return inconclusive("the module's own inputs decide nothing: " + trial.missing[0]);
  return passed("every element of every output is within its bound on the module's own inputs");
}

Finding gate_suites(Trial& trial) {
  const double extra_s = std::min(10.0, trial.options.time_limit_s / 4);  // for the later passes
  for (int pass = 0; pass < (trial.options.quick ? 1 : passes); ++pass) {
    if (pass > 0 && trial.elapsed_s() > extra_s) break;
    for (size_t i = pass == 0; i < case_rows.size(); ++i) {
      if (!wanted(trial, case_rows[i]) || (pass > 0 && trial.elapsed_s() > extra_s)) continue;
      CaseRow row = case_rows[i];
      row.required = row.required && pass == 0;
      Finding finding = try_row(trial, row, i, pass);
      if (finding.outcome != Outcome::verified) {
        finding.gate = "numerics." + std::string(row.suite);
        return finding;
      }
    }
  }
  if (!trial.missing.empty()) return inconclusive("a required suite was not shown: " + trial.missing[0]);
  const auto shown = std::count_if(trial.verdict.suites.begin(), trial.verdict.suites.end(),
                                   [](const SuiteRecord& record) { return record.shown; });
  return passed(std::to_string(shown) + " of " + std::to_string(trial.verdict.suites.size()) + " cases shown");
}

}  // namespace kw::judge
