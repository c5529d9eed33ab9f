#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "target/metal/chips.h"
#include "target/metal/session.h"

namespace kw::target {
namespace {

using emulator::KernelDescription;
using kernel::BoundPlan;

constexpr uint64_t max_threads = uint64_t{1} << 32;

template <class T>
std::string bytes_of(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

std::string number_bytes(const std::variant<int, int64_t, double>& arg, const std::string& type) {
  if (const double* real = std::get_if<double>(&arg)) return bytes_of(static_cast<float>(*real));
  const int64_t value = std::get<int64_t>(arg);
  if (type == "f32") return bytes_of(static_cast<float>(value));
  return type == "i64" ? bytes_of(value) : bytes_of(static_cast<int32_t>(value));
}

std::string extents(const std::array<int64_t, 3>& n) { return fmt::format("{} x {} x {}", n[0], n[1], n[2]); }

Status check_grid(const BoundPlan::BoundLaunch& launch, const KernelDescription& kernel) {
  int64_t threads = 1;
  for (int64_t n : launch.group) threads *= n;
  const int64_t most = kernel.max_total_threads ? kernel.max_total_threads : MetalLimits::group_threads;
  if (threads > std::min<int64_t>(most, MetalLimits::group_threads))
    return Failure{"plan.limit",
                   fmt::format("{} is launched with {} threads a threadgroup; {} are the most", launch.kernel,
                               extents(launch.group), most),
                   "use more and smaller threadgroups"};
  uint64_t all = static_cast<uint64_t>(threads);
  for (int64_t n : launch.groups) {
    if (n > 0 && all > max_threads / static_cast<uint64_t>(n))
      return Failure{"plan.limit",
                     fmt::format("{} is launched with {} threadgroups of {} threads, more than 2^32 threads",
                                 launch.kernel, extents(launch.groups), threads),
                     "launch it in parts"};
    all *= static_cast<uint64_t>(n);
  }
  return ok_status();
}

class Translation {
 public:
  Translation(const BoundPlan& plan, const emulator::Reflection& reflection) : reflection_(reflection) {
    made_.plan = &plan;
  }

  Result<MetalPlan> run() {
    for (auto [from, to] : {std::pair{&made_.plan->prepare, &made_.prepare}, {&made_.plan->steps, &made_.steps}})
      for (const BoundPlan::BoundLaunch& launch : *from)
        if (Status status = add(launch, *to); !status.ok()) return status.failure();
    return std::move(made_);
  }

 private:
  Status add(const BoundPlan::BoundLaunch& launch, std::vector<emulator::Dispatch>& to) {
    const KernelDescription* kernel = reflection_.find(launch.kernel);
    if (!kernel)
      return Failure{"plan.kernel", fmt::format("the Plan launches {}, which the source does not have", launch.kernel),
                     ""};
    if (Status status = check_grid(launch, *kernel); !status.ok()) return status;
    const auto takes = buffer_arguments(*kernel);
    if (takes.size() != launch.args.size())
      return Failure{"plan.kernel",
                     fmt::format("{} takes {} buffer arguments, and the Plan passes {}", launch.kernel, takes.size(),
                                 launch.args.size()),
                     ""};
    if (std::find(launch.groups.begin(), launch.groups.end(), 0) != launch.groups.end()) return ok_status();
    emulator::Dispatch dispatch;
    dispatch.kernel = launch.kernel;
    for (size_t i = 0; i < takes.size(); ++i) dispatch.buffers.push_back({*takes[i]->index, region(launch, i), 0});
    for (size_t i = 0; i < 3; ++i) {
      dispatch.dim.group[i] = static_cast<uint32_t>(launch.group[i]);
      dispatch.dim.threads[i] = static_cast<uint32_t>(launch.groups[i] * launch.group[i]);
    }
    to.push_back(std::move(dispatch));
    return ok_status();
  }

  uint32_t region(const BoundPlan::BoundLaunch& launch, size_t i) {
    if (const int* buffer = std::get_if<int>(&launch.args[i])) return static_cast<uint32_t>(*buffer);
    const std::string bytes = number_bytes(launch.args[i], launch.arg_types.at(i));
    const auto at = std::find(made_.constants.begin(), made_.constants.end(), bytes);
    const auto number = static_cast<uint32_t>(at - made_.constants.begin());
    if (at == made_.constants.end()) made_.constants.push_back(bytes);
    return static_cast<uint32_t>(made_.plan->buffers.size()) + number;
  }

  const emulator::Reflection& reflection_;
  MetalPlan made_;
};

}  // namespace

Result<MetalPlan> metal_plan(const BoundPlan& plan, const emulator::Reflection& reflection) {
  return Translation(plan, reflection).run();
}

}  // namespace kw::target
