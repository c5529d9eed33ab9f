#include "target/cpu/program_of.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

namespace kw::target {
namespace {

using kernel::BoundPlan;

constexpr uint64_t alignment = 64;
// Buffers a multiple of 4 KiB apart would compete for the same cache sets: each starts a little further on.
constexpr uint64_t stagger = 192;

uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

struct Life {
  int first = std::numeric_limits<int>::max();
  int last = -1;
};

std::vector<Life> lives(const BoundPlan& plan) {
  std::vector<Life> out(plan.buffers.size());
  for (size_t step = 0; step < plan.steps.size(); ++step)
    for (const auto& arg : plan.steps[step].args)
      if (const int* buffer = std::get_if<int>(&arg)) {
        Life& life = out[static_cast<size_t>(*buffer)];
        life.first = std::min(life.first, static_cast<int>(step));
        life.last = std::max(life.last, static_cast<int>(step));
      }
  return out;
}

/// Scratch written in `prepare` (allowed as temporary there) lives apart from the steps: give it the whole time.
void extend_prepare_scratch(const BoundPlan& plan, std::vector<Life>& life) {
  for (const auto& launch : plan.prepare)
    for (const auto& arg : launch.args)
      if (const int* buffer = std::get_if<int>(&arg))
        life[static_cast<size_t>(*buffer)] = {0, std::numeric_limits<int>::max()};
}

struct Placed {
  uint64_t begin, end;
  Life life;
};

uint64_t first_fit(std::vector<Placed>& placed, uint64_t bytes, const Life& life) {
  std::vector<Placed> rivals;
  for (const Placed& other : placed)
    if (other.life.first <= life.last && life.first <= other.life.last) rivals.push_back(other);
  std::sort(rivals.begin(), rivals.end(), [](const Placed& a, const Placed& b) { return a.begin < b.begin; });
  uint64_t offset = 0;
  for (const Placed& rival : rivals) {
    if (offset + bytes <= rival.begin) break;
    offset = std::max(offset, rival.end);
  }
  placed.push_back({offset, offset + bytes, life});
  return offset;
}

/// Largest first, each at the lowest place where nothing alive at the same time lies.
void place_scratch(const BoundPlan& plan, runtime::Program& program) {
  std::vector<Life> life = lives(plan);
  extend_prepare_scratch(plan, life);
  std::vector<size_t> order(plan.buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return plan.buffers[a].bytes > plan.buffers[b].bytes; });
  std::vector<Placed> placed;
  for (size_t i : order) {
    if (plan.buffers[i].role != kernel::Role::scratch || life[i].last < 0) continue;
    const uint64_t bytes = aligned(plan.buffers[i].bytes) + stagger;
    program.buffers[i].offset = first_fit(placed, bytes, life[i]);
    program.workspace_bytes = std::max(program.workspace_bytes, program.buffers[i].offset + bytes);
  }
  // A scratch buffer that no step touches still needs a place inside the workspace.
  for (size_t i : order)
    if (plan.buffers[i].role == kernel::Role::scratch && life[i].last < 0)
      program.workspace_bytes = std::max<uint64_t>(program.workspace_bytes, aligned(plan.buffers[i].bytes));
}

void place_prepared(runtime::Program& program) {
  for (runtime::BufferSpec& buffer : program.buffers) {
    if (buffer.role != runtime::Role::prepared) continue;
    buffer.offset = program.prepared_bytes;
    program.prepared_bytes += aligned(buffer.bytes) + stagger;
  }
}

runtime::Role role_of(kernel::Role role) {
  switch (role) {
    case kernel::Role::input:
      return runtime::Role::input;
    case kernel::Role::parameter:
      return runtime::Role::parameter;
    case kernel::Role::state:
      return runtime::Role::state;
    case kernel::Role::prepared:
      return runtime::Role::prepared;
    case kernel::Role::output:
      return runtime::Role::output;
    case kernel::Role::scratch:
      break;
  }
  return runtime::Role::scratch;
}

runtime::BufferSpec spec_of(const BoundPlan::BoundBuffer& buffer) {
  const bool named = buffer.role == kernel::Role::parameter || buffer.role == kernel::Role::state;
  const bool indexed = buffer.role == kernel::Role::input || buffer.role == kernel::Role::output;
  return {role_of(buffer.role),
          indexed ? buffer.index : 0,
          named ? buffer.parameter : buffer.name,
          std::string(name_of(buffer.dtype)),
          buffer.shape,
          buffer.bytes,
          0};
}

runtime::Argument argument_of(const std::variant<int, int64_t, double>& arg) {
  if (const int* buffer = std::get_if<int>(&arg)) return {runtime::Argument::Kind::buffer, *buffer, 0};
  if (const int64_t* integer = std::get_if<int64_t>(&arg)) return {runtime::Argument::Kind::integer, *integer, 0};
  return {runtime::Argument::Kind::real, 0, std::get<double>(arg)};
}

std::vector<runtime::Launch> launches_of(const std::vector<BoundPlan::BoundLaunch>& launches, runtime::Program& program,
                                         std::map<std::string, int>& numbers) {
  std::vector<runtime::Launch> out;
  for (const auto& launch : launches) {
    const auto [at, fresh] = numbers.emplace(launch.kernel, static_cast<int>(program.kernels.size()));
    if (fresh) program.kernels.push_back(launch.kernel);
    out.push_back({at->second, {}, launch.groups});
    for (const auto& arg : launch.args) out.back().args.push_back(argument_of(arg));
  }
  return out;
}

}  // namespace

runtime::Program program_of(const BoundPlan& plan) {
  runtime::Program program;
  for (const auto& buffer : plan.buffers) program.buffers.push_back(spec_of(buffer));
  std::map<std::string, int> numbers;
  program.prepare = launches_of(plan.prepare, program, numbers);
  program.steps = launches_of(plan.steps, program, numbers);
  place_scratch(plan, program);
  place_prepared(program);
  return program;
}

}  // namespace kw::target
