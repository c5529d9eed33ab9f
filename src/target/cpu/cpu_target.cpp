#include "target/cpu/cpu_target.h"

#include <fmt/format.h>

#include <optional>

#include "runtime/isa.h"
#include "runtime/pool.h"
#include "target/cpu/facts.h"
#include "target/cpu/session.h"
#include "target/cpu/toolchain.h"

namespace kw::target {
namespace {

class CpuTarget final : public Target {
 public:
  CpuTarget(Facts facts, std::filesystem::path cache_dir, std::string worker)
      : facts_(std::move(facts)), cache_dir_(std::move(cache_dir)), worker_(std::move(worker)) {}

  const Facts& facts() const override { return facts_; }

  Result<Compiled> compile(const std::string& source, const kernel::Plan& plan) override {
    if (!toolchain_) {
      auto found = find_toolchain(cache_dir_);
      if (!found) return found.failure();
      toolchain_ = *found;
    }
    const std::string isa = plan.isa.empty() ? facts_.isa : plan.isa;
    return compile_kernel(*toolchain_, source, plan, isa);
  }

  Result<std::unique_ptr<Session>> open(const Compiled& compiled, const kernel::BoundPlan& plan) override {
    if (!runtime::isa_runs(compiled.isa))
      return Failure{"run.isa", fmt::format("this machine cannot run {} code", compiled.isa), ""};
    return open_session(compiled, plan, worker_, facts_.threads);
  }

 private:
  Facts facts_;
  std::filesystem::path cache_dir_;
  std::string worker_;
  std::optional<Toolchain> toolchain_;
};

}  // namespace

Result<std::unique_ptr<Target>> open_cpu_target(const CpuOptions& options) {
  const std::string isa = options.isa.empty() ? best_isa() : options.isa;
  if (!runtime::isa_runs(isa))
    return Failure{"cpu.isa", fmt::format("this machine cannot run {} code", isa),
                   fmt::format("leave it out: {} would be used", best_isa())};
  const int threads = options.threads > 0 ? options.threads : runtime::usable_cores();
  const auto cache = options.cache_dir.empty() ? default_cache_dir() : options.cache_dir;
  const std::string worker = options.worker.empty() ? default_worker() : options.worker;
  return std::unique_ptr<Target>(std::make_unique<CpuTarget>(detect_facts(isa, threads, cache), cache, worker));
}

std::string compiler_version() {
  const auto found = find_toolchain({});
  return found ? found->version : "";
}

Status check_compiler() {
  const auto found = find_toolchain({});
  return found ? ok_status() : Status(found.failure());
}

std::string best_isa() { return std::string(runtime::best_isa()); }

std::vector<std::string> narrower_isas(const std::string& isa) {
  if (isa == "avx512") return {"avx2"};
  return {};
}

}  // namespace kw::target
