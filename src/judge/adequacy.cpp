#include "judge/adequacy.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "graph/analysis.h"
#include "graph/rewrite/rewrite.h"
#include "judge/execute.h"

namespace kw::judge {

namespace {

Tensor filled(const Tensor& like, double value) {
  Tensor made = Tensor::zeros(like.dtype, like.shape);
  for (int64_t i = 0; i < element_count(like.shape); ++i) store_element(made, i, value);
  return made;
}

double mean_of(const Tensor& tensor) {
  double sum = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < element_count(tensor.shape); ++i) {
    const double x = load_element(tensor, i);
    if (!std::isfinite(x)) continue;
    sum += x;
    ++count;
  }
  return count ? sum / static_cast<double>(count) : 0;
}

/// Keeps `bits` bits of the float32 mantissa, rounding to nearest.
double rounded_to(double value, int bits) {
  if (value == 0 || !std::isfinite(value)) return value;
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, bits + 1)), exponent - bits - 1);
}

Tensor with_bits(const Tensor& tensor, int bits) {
  Tensor made = Tensor::zeros(tensor.dtype, tensor.shape);
  for (int64_t i = 0; i < element_count(tensor.shape); ++i)
    store_element(made, i, rounded_to(load_element(tensor, i), bits));
  return made;
}

/// The last sixteenth, as a kernel whose last tile is skipped leaves it in fresh memory.
Tensor without_tail(const Tensor& tensor) {
  const int64_t count = element_count(tensor.shape), tail = std::max<int64_t>(1, count / 16);
  Tensor made = Tensor::zeros(tensor.dtype, tensor.shape);
  std::copy_n(tensor.data, static_cast<size_t>(count - tail) * size_bytes(tensor.dtype), made.data);
  return made;
}

Outputs each(const Outputs& right, Tensor (*change)(const Tensor&)) {
  Outputs made;
  for (const Tensor& tensor : right) made.push_back(element_count(tensor.shape) ? change(tensor) : tensor);
  return made;
}

Outputs zero(const Ingredients& from) {
  return each(from.right, [](const Tensor& t) { return filled(t, 0); });
}
Outputs constant(const Ingredients& from) {
  return each(from.right, [](const Tensor& t) { return filled(t, mean_of(t)); });
}
Outputs other_input(const Ingredients& from) { return from.other; }
Outputs skipped_tail(const Ingredients& from) { return each(from.right, without_tail); }
Outputs bf16(const Ingredients& from) {
  return each(from.right, [](const Tensor& t) { return with_bits(t, 7); });
}
Outputs tf32(const Ingredients& from) {
  return each(from.right, [](const Tensor& t) { return with_bits(t, 10); });
}

/// The first input with the output's shape and type, in place of each output that has one.
Outputs identity(const Ingredients& from) {
  Outputs made = from.right;
  bool any = false;
  for (Tensor& tensor : made)
    for (const Tensor& input : from.given.inputs)
      if (input.dtype == tensor.dtype && input.shape == tensor.shape) {
        tensor = input;
        any = true;
        break;
      }
  return any ? made : Outputs{};
}

struct MutantRow {
  std::string_view name;
  Outputs (*make)(const Ingredients&);  // empty where it does not apply
  bool degenerate;                      // survival makes the Problem degenerate
  bool floats;                          // makes no sense on integer outputs
};

bool any_float32(const Outputs& outputs) {
  return std::any_of(outputs.begin(), outputs.end(),
                     [](const Tensor& t) { return t.dtype == DType::f32 || t.dtype == DType::f64; });
}

/// Would the field's test, one draw with atol = rtol, let it pass?
bool field_passes(const Case& given, const Outputs& outputs, double tolerance) {
  Rules rules;
  rules.loose = tolerance;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!compare(given.expected.outputs[i], outputs[i], rules).right()) return false;
  return true;
}

MutantRecord judge_mutant(const graph::Problem& problem, const MutantRow& row, const Ingredients& from,
                          const JudgeOptions& options) {
  MutantRecord record{std::string(row.name), "", true};
  const Outputs mutant = row.make(from);
  record.applies = !mutant.empty() && !(row.floats && !any_float32(from.right));
  if (!record.applies) return record;
  if (judge_outputs(problem, from.given, mutant, options).fault) record.killed_by = from.given.key.suite;
  record.passes_1e4 = field_passes(from.given, mutant, 1e-4);
  record.passes_1e2 = field_passes(from.given, mutant, 1e-2);
  return record;
}

Tensor rounded(const graph::Reference& reference) {
  Tensor tensor = Tensor::zeros(reference.dtype, reference.shape);
  for (int64_t i = 0; i < element_count(reference.shape); ++i)
    store_element(tensor, i, reference.value[static_cast<size_t>(i)]);
  return tensor;
}

Outputs rounded(const std::vector<graph::Reference>& references) {
  Outputs outputs;
  for (const graph::Reference& reference : references) outputs.push_back(rounded(reference));
  return outputs;
}

/// The module on operands of a lower precision: what a tensor core would read.
Outputs on_rounded_operands(const Ingredients& from, int bits) {
  if (!from.graph) return {};
  std::vector<Tensor> inputs = from.given.inputs;
  std::map<std::string, Tensor> params = from.given.params;
  for (Tensor& tensor : inputs)
    if (tensor.dtype == DType::f32) tensor = with_bits(tensor, bits);
  for (auto& [name, tensor] : params)
    if (tensor.dtype == DType::f32) tensor = with_bits(tensor, bits);
  graph::InterpretOptions options;
  options.bounds = false;
  const auto evaluation = graph::interpret(*from.graph, inputs, params, options);
  return evaluation ? rounded(evaluation->outputs) : Outputs{};
}

Outputs bf16_operands(const Ingredients& from) { return on_rounded_operands(from, 7); }
Outputs tf32_operands(const Ingredients& from) { return on_rounded_operands(from, 10); }

constexpr std::array<MutantRow, 9> mutant_rows = {{
    {"zero", zero, true, false},
    {"constant", constant, true, false},
    {"identity", identity, true, false},
    {"other input", other_input, true, false},
    {"last tile skipped", skipped_tail, false, false},
    {"bf16", bf16, false, true},
    {"tf32", tf32, false, true},
    {"bf16 operands", bf16_operands, false, true},
    {"tf32 operands", tf32_operands, false, true},
}};

}  // namespace

Adequacy try_mutants(const graph::Problem& problem, const Ingredients& from, const JudgeOptions& options) {
  Adequacy adequacy;
  adequacy.measured = true;
  adequacy.precision_seen = true;
  for (const MutantRow& row : mutant_rows) {
    const MutantRecord record = judge_mutant(problem, row, from, options);
    adequacy.mutants.push_back(record);
    if (!record.applies || !record.killed_by.empty()) continue;
    adequacy.degenerate = adequacy.degenerate || row.degenerate;
    if (row.floats) adequacy.precision_seen = false;
  }
  return adequacy;
}

std::string survivors_of(const Adequacy& adequacy) {
  std::string names;
  for (const MutantRecord& record : adequacy.mutants)
    if (record.applies && record.killed_by.empty()) names += (names.empty() ? "" : ", ") + record.mutant;
  return names;
}

Result<Adequacy> measure_adequacy(const graph::Problem& problem, const JudgeOptions& options) {
  Random seeds(options.seed ? options.seed : secret_seed());
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                             std::chrono::duration<double>(options.time_limit_s));
  const auto given = make_case(problem, {"own", ParamDraw::own, seeds.next(), 0}, options, deadline);
  if (!given) return given.failure();
  const auto other = make_case(problem, {"own", ParamDraw::own, seeds.next(), -1}, options, deadline);
  if (!other) return other.failure();
  const Outputs right = rounded((*given)->expected.outputs), others = rounded((*other)->expected.outputs);
  Adequacy adequacy = try_mutants(problem, {**given, right, others, &problem.graph}, options);
  const double before = graph::count_work(problem.graph).flops;
  const double after = graph::count_work(graph::rewrite(problem.graph).graph).flops;
  adequacy.flops_left = before > 0 ? after / before : 1;
  return adequacy;
}

}  // namespace kw::judge
