#include "target/metal/metal_target.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <mutex>

#include "target/cpu/toolchain.h"
#include "target/metal/predict.h"

namespace kw::target {
namespace {

class MetalTarget final : public Target {
 public:
  MetalTarget(const Chip& chip, emulator::HostToolchain toolchain, int threads)
      : chip_(chip), facts_(facts_of(chip)), toolchain_(std::move(toolchain)), threads_(threads) {}

  const Facts& facts() const override { return facts_; }
  bool measures() const override { return false; }

  kernel::Limits limits() const override {
    kernel::Limits limits;
    limits.max_bytes = int64_t{1} << 36;
    limits.max_groups = INT32_MAX;
    limits.max_group = MetalLimits::group_threads;
    limits.max_args = MetalLimits::buffers;
    return limits;
  }

  Result<Compiled> compile(const std::string& source, const kernel::Plan& plan) override {
    auto code = std::make_shared<MetalCode>(toolchain_, source);
    auto module = code->build(false);
    if (!module) return module.failure();
    if (Status status = check_launches(plan, module->reflection); !status.ok()) return status.failure();
    {
      const std::lock_guard lock(mutex_);
      codes_[module->key] = code;
    }
    return Compiled{module->key, "msl", module->binary.string(), module->compile_s, module->from_cache};
  }

  Result<std::unique_ptr<Session>> open(const Compiled& compiled, const kernel::BoundPlan& plan) override {
    return open_metal_session(code_of(compiled), plan, threads_);
  }

  Result<Prediction> predict(const Compiled& compiled, const kernel::BoundPlan& plan,
                             const std::map<std::string, Tensor>& params, const std::vector<Tensor>& inputs) override {
    return predict_plan(*code_of(compiled), plan, chip_, threads_, params, inputs);
  }

 private:
  std::shared_ptr<MetalCode> code_of(const Compiled& compiled) {
    const std::lock_guard lock(mutex_);
    const auto at = codes_.find(compiled.key);
    check(at != codes_.end(), "what is opened was compiled by this target");
    return at->second;
  }

  const Chip& chip_;
  Facts facts_;
  emulator::HostToolchain toolchain_;
  const int threads_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<MetalCode>> codes_;
};

}  // namespace

Result<std::unique_ptr<Target>> open_metal_target(const MetalOptions& options) {
  const Chip* chip = find_chip(options.chip);
  if (!chip)
    return Failure{"metal.chip", fmt::format("there is no chip `{}`", options.chip),
                   fmt::format("known are {}", fmt::join(chip_names(), ", "))};
  const auto cache = options.cache_dir.empty() ? default_cache_dir() : options.cache_dir;
  auto toolchain = emulator::find_host_toolchain(cache / "metal");
  if (!toolchain) return toolchain.failure();
  return std::unique_ptr<Target>(std::make_unique<MetalTarget>(*chip, std::move(*toolchain), options.threads));
}

}  // namespace kw::target
