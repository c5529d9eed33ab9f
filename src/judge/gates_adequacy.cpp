#include <algorithm>
#include <array>
#include <cmath>

#include "judge/execute.h"

/// Would the check have noticed? Wrong outputs that are made from the right ones must fail.
namespace kw::judge {

namespace {

using Outputs = std::vector<Tensor>;

struct Ingredients {
  const Case& given;     // what the mutants are compared with
  const Outputs& right;  // outputs that passed on it
  const Outputs& other;  // outputs on other inputs, same parameters
};

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
constexpr std::array<MutantRow, 7> mutant_rows = {{
    {"zero", zero, true, false},
    {"constant", constant, true, false},
    {"identity", identity, true, false},
    {"other input", other_input, true, false},
    {"last tile skipped", skipped_tail, false, false},
    {"bf16", bf16, false, true},
    {"tf32", tf32, false, true},
}};

bool any_float32(const Outputs& outputs) {
  return std::any_of(outputs.begin(), outputs.end(),
                     [](const Tensor& t) { return t.dtype == DType::f32 || t.dtype == DType::f64; });
}

Result<Outputs> outputs_of(Trial& trial, const Case& given) {
  Ran ran = execute(trial.problem, *trial.session, given, {});
  if (ran.fault) return Failure{"judge.run", ran.fault->text, ""};
  return std::move(ran.outputs);
}

MutantRecord try_mutant(Trial& trial, const MutantRow& row, const Ingredients& from) {
  MutantRecord record{std::string(row.name), "", true};
  const Outputs mutant = row.make(from);
  record.applies = !mutant.empty() && !(row.floats && !any_float32(from.right));
  if (record.applies && judge_outputs(trial.problem, from.given, mutant, trial.options).fault)
    record.killed_by = from.given.key.suite;
  return record;
}

/// Inputs of the same kind from another seed: only the candidate runs on them, no reference is needed.
Result<Outputs> other_outputs(Trial& trial) {
  Case other = *trial.own;
  other.inputs = draw_inputs(trial.problem, "own", trial.seeds.next(), -1, 8);
  return outputs_of(trial, other);
}

}  // namespace

Finding gate_adequacy(Trial& trial) {
  if (!trial.has_time(0)) return passed("not measured: no time left");
  const Result<Outputs> right = outputs_of(trial, *trial.own), other = other_outputs(trial);
  if (!right || !other) return passed("not measured: " + (right ? other : right).failure().message);
  Adequacy& adequacy = trial.verdict.adequacy;
  adequacy.measured = true;
  adequacy.precision_seen = true;
  std::string survivors;
  for (const MutantRow& row : mutant_rows) {
    const MutantRecord record = try_mutant(trial, row, {*trial.own, *right, *other});
    adequacy.mutants.push_back(record);
    if (!record.applies || !record.killed_by.empty()) continue;
    adequacy.degenerate = adequacy.degenerate || row.degenerate;
    if (row.floats) adequacy.precision_seen = false;
    survivors += (survivors.empty() ? "" : ", ") + record.mutant;
  }
  if (survivors.empty()) return passed("every planted fault is noticed");
  return passed("would not be noticed on the module's own inputs: " + survivors +
                (adequacy.degenerate ? " (degenerate problem)" : ""));
}

}  // namespace kw::judge
