#include "batch.h"

#include <fmt/format.h>

#include <regex>
#include <set>

#include "target/cpu/source_check.h"

namespace kw::redteam {
namespace {

using kernel::Plan;

void rename_launches(std::vector<kernel::Step>& steps, const std::string& prefix, std::set<std::string>& names) {
  for (kernel::Step& step : steps) {
    if (auto* repeat = std::get_if<std::shared_ptr<kernel::Repeat>>(&step)) {
      *repeat = std::make_shared<kernel::Repeat>(**repeat);
      rename_launches((*repeat)->steps, prefix, names);
      continue;
    }
    auto& launch = std::get<kernel::Launch>(step);
    names.insert(launch.kernel);
    launch.kernel = prefix + launch.kernel;
    for (kernel::Arg& arg : launch.args)
      if (auto* name = std::get_if<std::string>(&arg)) *name = prefix + *name;
  }
}

/// Nothing where the Plan is none or does not bind: the judge's first gate will say so.
std::optional<Plan> bound_plan(const Work& work) {
  auto plan = kernel::parse_plan(work.candidate.plan_json);
  if (!plan) return std::nullopt;
  const auto bound = kernel::bind_plan(*plan, kernel::signature_of(work.problem->graph));
  if (!bound) return std::nullopt;
  kernel::resolve_dtypes(*plan, *bound);
  return *plan;
}

struct Joint {
  Plan plan;
  std::string source;
};

void add(Joint& joint, const Work& work, Plan plan, const std::string& prefix) {
  std::set<std::string> kernels;
  rename_launches(plan.prepare, prefix, kernels);
  rename_launches(plan.steps, prefix, kernels);
  std::string source = work.candidate.source, visible;
  for (const std::string& name : kernels) {
    source = std::regex_replace(source, std::regex("\\b" + name + "\\("), prefix + name + "(");
    visible += fmt::format("using kw_{0}::{0}{1};\n", prefix, name);
  }
  joint.source += fmt::format("namespace kw_{} {{\n{}\n}}\n{}", prefix, source, visible);
  for (kernel::Buffer& buffer : plan.buffers) {
    buffer.name = prefix + buffer.name;
    joint.plan.buffers.push_back(std::move(buffer));
  }
  joint.plan.prepare.insert(joint.plan.prepare.end(), plan.prepare.begin(), plan.prepare.end());
  joint.plan.steps.insert(joint.plan.steps.end(), plan.steps.begin(), plan.steps.end());
}

void build_range(const target::Toolchain& toolchain, const std::vector<const Work*>& batch, size_t begin, size_t end,
                 const std::string& isa, std::vector<std::optional<Built>>& into) {
  Joint joint;
  std::vector<size_t> members;
  for (size_t i = begin; i < end; ++i) {
    auto plan = bound_plan(*batch[i]);
    if (!plan || !target::check_source(batch[i]->candidate.source).ok()) continue;
    add(joint, *batch[i], std::move(*plan), fmt::format("m{}_", i));
    members.push_back(i);
  }
  if (members.empty()) return;
  const auto compiled = target::compile_kernel(toolchain, joint.source, joint.plan, isa);
  if (compiled) {
    for (const size_t i : members) into[i] = Built{*compiled, fmt::format("m{}_", i)};
  } else if (end - begin > 1) {
    const size_t middle = begin + (end - begin) / 2;
    build_range(toolchain, batch, begin, middle, isa, into);
    build_range(toolchain, batch, middle, end, isa, into);
  }
}

class BatchTarget final : public target::Target {
 public:
  BatchTarget(Built built, target::Target& inner) : built_(std::move(built)), inner_(inner) {}
  const target::Facts& facts() const override { return inner_.facts(); }
  Result<target::Compiled> compile(const std::string& source, const Plan&) override {
    if (Status status = target::check_source(source); !status.ok()) return status.failure();
    return built_.compiled;
  }
  Result<std::unique_ptr<target::Session>> open(const target::Compiled& compiled,
                                                const kernel::BoundPlan& plan) override {
    kernel::BoundPlan renamed = plan;
    for (auto* launches : {&renamed.prepare, &renamed.steps})
      for (auto& launch : *launches) launch.kernel = built_.prefix + launch.kernel;
    return inner_.open(compiled, renamed);
  }

 private:
  Built built_;
  target::Target& inner_;
};

}  // namespace

std::vector<std::optional<Built>> build(const target::Toolchain& toolchain, const std::vector<const Work*>& batch,
                                        const std::string& isa) {
  std::vector<std::optional<Built>> built(batch.size());
  build_range(toolchain, batch, 0, batch.size(), isa, built);
  return built;
}

std::unique_ptr<target::Target> target_for(const Built& built, target::Target& inner) {
  return std::make_unique<BatchTarget>(built, inner);
}

}  // namespace kw::redteam
