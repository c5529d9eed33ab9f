#include "target/metal/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/random.h"

namespace kw::target {
namespace {

using emulator::Dispatch;
using kernel::BoundPlan;
using kernel::Role;

/// The model's constants; docs/metal-on-a-mac.md says where each comes from and how to correct it.
constexpr double lanes_a_core = 128;          // instructions a cycle, of lanes
constexpr double matrix_flops_a_cycle = 204;  // of a core
constexpr double cache_bytes_a_cycle = 64;    // from the first cache, of a core
constexpr double threadgroup_bytes_a_cycle = 128;
constexpr double shuffle_cycles = 2, reduction_cycles = 10;  // of a simdgroup
constexpr double barrier_cycles = 40;                        // of a group, with others to run meanwhile
constexpr double compiled_share = 0.5;  // of the emulator's instructions that a GPU's compiler keeps
constexpr size_t most_sampled_groups = 24;
constexpr uint64_t sample_seed = 7;
constexpr const char* model_name = "roofline with penalties, from emulated counts";

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

/// Simdgroups that a core holds at once, over those that hide its latencies.
double occupancy_of(const LaunchWork& work, const Chip& chip) {
  double groups = std::floor(MetalLimits::core_simdgroups / work.simdgroups);
  if (work.threadgroup_bytes > 0)
    groups = std::min(groups, std::floor(MetalLimits::core_threadgroup_bytes / work.threadgroup_bytes));
  const double offered = work.groups * work.simdgroups / chip.cores;
  const double resident = std::min(std::max(1.0, groups) * work.simdgroups, offered);
  return std::min(1.0, resident / MetalLimits::busy_simdgroups);
}

/// Cores wait for the last group.
double tail_of(const LaunchWork& work, const Chip& chip) {
  const double turns = work.groups / chip.cores;
  return std::ceil(turns) / std::max(turns, 1e-9);
}

class Prophet {
 public:
  Prophet(MetalCode& code, const BoundPlan& plan, const Chip& chip, int threads)
      : code_(code), plan_(plan), chip_(chip), threads_(threads) {}

  Result<Prediction> run(const std::map<std::string, Tensor>& params, const std::vector<Tensor>& inputs) {
    auto module = code_.build(true, true);
    if (!module) return module.failure();
    auto launches = metal_plan(plan_, module->reflection);
    if (!launches) return launches.failure();
    auto session = emulator::Session::open(module->binary, code_.toolchain().headers.parent_path());
    if (!session) return session.failure();
    if (Status status = place(**session, *launches, params, inputs); !status.ok()) return status.failure();
    std::vector<Dispatch> sampled;
    std::vector<size_t> number;  // of the sampled launch that stands for each step
    for (const Dispatch& dispatch : launches->steps) number.push_back(add_sample(dispatch, sampled));
    emulator::RunOptions options;
    options.mode = emulator::Mode::profile;
    options.threads = threads_;
    options.timeout_s = 120;
    auto done = (*session)->run(sampled, options);
    if (!done) return done.failure();
    if (done->dispatches.size() != sampled.size())
      return Failure{"predict.run", done->reports.empty() ? "a kernel did not end" : done->reports.front().sentence,
                     ""};
    return total(launches->steps, sampled, number, *done);
  }

 private:
  Status place(emulator::Session& session, const MetalPlan& launches, const std::map<std::string, Tensor>& params,
               const std::vector<Tensor>& inputs) {
    std::vector<emulator::BufferSpec> specs;
    for (const BoundPlan::BoundBuffer& buffer : plan_.buffers) specs.push_back({buffer.name, buffer.bytes});
    for (const std::string& bytes : launches.constants) specs.push_back({"number", bytes.size(), true, false, false});
    if (Status status = session.place_buffers(specs); !status.ok()) return status;
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const Tensor* tensor = given(plan_.buffers[i], params, inputs);
      if (tensor && tensor->bytes() == plan_.buffers[i].bytes)
        std::memcpy(session.data(i), tensor->data, tensor->bytes());
    }
    for (size_t i = 0; i < launches.constants.size(); ++i)
      std::memcpy(session.data(plan_.buffers.size() + i), launches.constants[i].data(), launches.constants[i].size());
    return ok_status();
  }

  static const Tensor* given(const BoundPlan::BoundBuffer& buffer, const std::map<std::string, Tensor>& params,
                             const std::vector<Tensor>& inputs) {
    if (buffer.role == Role::input)
      return static_cast<size_t>(buffer.index) < inputs.size() ? &inputs[static_cast<size_t>(buffer.index)] : nullptr;
    const auto at = params.find(buffer.parameter);
    return buffer.role == Role::parameter || buffer.role == Role::state ? (at == params.end() ? nullptr : &at->second)
                                                                        : nullptr;
  }

  static uint64_t groups_of(const Dispatch& dispatch) {
    const auto groups = dispatch.dim.groups();
    return uint64_t{groups[0]} * groups[1] * groups[2];
  }

  /// Turns of a loop launch the same kernels over: one of them is looked at.
  static size_t add_sample(const Dispatch& dispatch, std::vector<Dispatch>& sampled) {
    for (size_t i = 0; i < sampled.size(); ++i)
      if (sampled[i].kernel == dispatch.kernel && sampled[i].dim.threads == dispatch.dim.threads &&
          sampled[i].dim.group == dispatch.dim.group)
        return i;
    sampled.push_back(dispatch);
    const uint64_t groups = groups_of(dispatch);
    Random random(sample_seed);
    std::vector<uint64_t>& only = sampled.back().only_groups;
    if (groups > most_sampled_groups) {
      while (only.size() < most_sampled_groups)
        only.push_back(static_cast<uint64_t>(random.integer(0, static_cast<int64_t>(groups) - 1)));
      std::sort(only.begin(), only.end());
      only.erase(std::unique(only.begin(), only.end()), only.end());
    }
    return sampled.size() - 1;
  }

  double buffer_bytes(const Dispatch& dispatch) const {
    double bytes = 0;
    for (const auto& bound : dispatch.buffers)
      if (bound.region < plan_.buffers.size()) bytes += static_cast<double>(plan_.buffers[bound.region].bytes);
    return bytes;
  }

  Prediction total(const std::vector<Dispatch>& steps, const std::vector<Dispatch>& sampled,
                   const std::vector<size_t>& number, const emulator::RunReply& done) const {
    Prediction p;
    p.device = fmt::format("{} ({} cores)", chip_.title, chip_.cores);
    p.model = model_name;
    for (size_t i = 0; i < steps.size(); ++i) {
      const size_t at = number[i];
      p.steps.push_back(predict_step(launch_work(sampled[at], done.dispatches[at], buffer_bytes(sampled[at])), chip_));
      p.seconds += p.steps.back().seconds;
    }
    return p;
  }

  MetalCode& code_;
  const BoundPlan& plan_;
  const Chip& chip_;
  const int threads_;
};

}  // namespace

LaunchWork launch_work(const Dispatch& dispatch, const emulator::wire::DispatchCounts& counts, double most_bytes) {
  const emulator::ProfileCounts& p = counts.profile;
  const auto groups = dispatch.dim.groups();
  LaunchWork work;
  work.kernel = dispatch.kernel;
  work.groups = static_cast<double>(groups[0]) * groups[1] * groups[2];
  work.simdgroups = std::ceil(static_cast<double>(dispatch.dim.group[0]) * dispatch.dim.group[1] *
                              dispatch.dim.group[2] / MetalLimits::simd_width);
  const double scale = ratio(work.groups, std::max<double>(1, static_cast<double>(counts.counts.groups)));
  const auto scaled = [&](uint64_t count) { return static_cast<double>(count) * scale; };
  work.memory_bytes = std::min(scaled(counts.least_read_bytes + counts.least_written_bytes), most_bytes);
  constexpr double bytes_a_line = 128;
  work.line_bytes = scaled(p.device_lines) * bytes_a_line;
  work.flops = scaled(p.flops);
  work.instructions = scaled(p.slot_instructions) / MetalLimits::simd_width;
  work.threadgroup_accesses = scaled(p.threadgroup_accesses + p.bank_conflicts);
  work.barriers = scaled(counts.counts.barriers);
  work.reductions = scaled(counts.counts.simd_operations[0]);
  work.shuffles = scaled(counts.counts.simd_operations[1]);
  constexpr double flops_a_product = 2.0 * 8 * 8 * 8;
  work.matrix_flops = scaled(counts.counts.simd_operations[2]) * flops_a_product;
  work.threadgroup_bytes = counts.threadgroup_bytes;
  return work;
}

Prediction::Step predict_step(const LaunchWork& w, const Chip& chip) {
  const double cycles_s = chip.clock_hz * chip.cores;
  // What the emulator spends on a matrix product is no work of the chip's lanes, and its counts do not tell them apart.
  const double instructions = w.matrix_flops > 0 ? 0 : compiled_share * w.instructions;
  const double lane_s = std::max(w.flops / (chip.flops_per_s() * chip.efficiency),
                                 instructions * MetalLimits::simd_width / (lanes_a_core * cycles_s));
  const double arithmetic_s = lane_s + w.matrix_flops / (matrix_flops_a_cycle * cycles_s) +
                              (w.reductions * reduction_cycles + w.shuffles * shuffle_cycles) / cycles_s;
  const double shared_s =
      w.threadgroup_accesses * MetalLimits::simd_width * 4 / (threadgroup_bytes_a_cycle * cycles_s) +
      w.barriers * barrier_cycles / cycles_s;
  const std::pair<const char*, double> limits[] = {
      {"memory", w.memory_bytes / (chip.bytes_per_s * chip.memory_efficiency)},
      {"caches", w.line_bytes / (cache_bytes_a_cycle * cycles_s)},
      {"arithmetic", arithmetic_s},
      {"threadgroup memory", shared_s}};
  Prediction::Step step;
  step.kernel = w.kernel;
  step.flops = w.flops + w.matrix_flops;
  step.bytes = w.memory_bytes;
  step.occupancy = occupancy_of(w, chip);
  // With few simdgroups at work nothing hides a latency; the square root says that it costs less than in proportion.
  const double waiting = tail_of(w, chip) / std::sqrt(std::max(step.occupancy, 0.02));
  double most = 0;
  for (const auto& [name, seconds] : limits) {
    if (seconds > most) step.bound = name;
    most = std::max(most, seconds);
  }
  const double launch_s = facts_of(chip).launch_s;
  step.seconds = most * waiting + launch_s;
  if (most * waiting < launch_s) step.bound = "launch";
  return step;
}

Result<Prediction> predict_plan(MetalCode& code, const BoundPlan& plan, const Chip& chip, int threads,
                                const std::map<std::string, Tensor>& params, const std::vector<Tensor>& inputs) {
  return Prophet(code, plan, chip, threads).run(params, inputs);
}

}  // namespace kw::target
