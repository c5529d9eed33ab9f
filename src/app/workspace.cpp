#include "app/workspace.h"

#include "graph/load_problem.h"
#include "module/export.h"
#include "target/cpu/cpu_target.h"
#include "target/metal/metal_target.h"

namespace kw::app {

Imported import_source(const std::string& source, const std::string& mode, const CommonOptions& common,
                       double limit_s) {
  Imported imported{std::make_unique<TempDir>("kernelwright-export"), {}};
  module::run_export(source, imported.folder->path(), {.mode = mode, .seed = common.seed, .timeout_s = limit_s})
      .value_or_throw();
  imported.problem = std::move(graph::load_problem(imported.folder->path()).value_or_throw());
  return imported;
}

Imported import_for_reading(const std::string& source, const std::string& mode, const CommonOptions& common) {
  if (source.ends_with(".pt2")) {
    auto problem = graph::load_bare_problem(source, mode == "train" ? graph::Mode::train : graph::Mode::eval);
    if (problem) return {nullptr, std::move(*problem)};
  }
  return import_source(source, mode, common);
}

std::unique_ptr<store::Store> open_store() { return std::move(store::Store::open(".kernelwright").value_or_throw()); }

std::unique_ptr<target::Target> open_target(const std::string& name, int threads, const std::string& chip) {
  if (name == "metal") return std::move(target::open_metal_target({.chip = chip, .threads = threads}).value_or_throw());
  check(name == "cpu", "the command line admits only known targets");
  return std::move(target::open_cpu_target({.threads = threads}).value_or_throw());
}

}  // namespace kw::app
