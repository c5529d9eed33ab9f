#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/output.h"
#include "app/workspace.h"
#include "base/process.h"
#include "base/sandbox.h"
#include "module/export.h"
#include "target/cpu/cpu_target.h"
#include "target/cpu/peaks.h"

namespace kw::app {
namespace {

using nlohmann::json;

/// A thing that a machine may have: what it is for, and what to do without it.
struct Finding {
  std::string name, found, fix;
  bool required;
};

std::string first_line(const std::vector<std::string>& argv, double timeout_s) {
  const auto reply = run_process(argv, {.timeout_s = timeout_s});
  if (!reply.ok() || reply->exit_code != 0) return "";
  return reply->out.substr(0, reply->out.find('\n'));
}

std::vector<Finding> look_around() {
  const std::string python = module::find_python().string();
  const auto import = [&](const std::string& name) {
    return first_line({python, "-c", "import " + name + "; print(" + name + ".__version__)"}, 60);
  };
  return {{"C++ compiler", target::compiler_version(), "install g++ 12 or newer, or set CXX", true},
          {"Python", first_line({python, "--version"}, 20), "run `make setup`", true},
          {"PyTorch", import("torch"), "run `make setup` (2.9 or newer)", true},
          {"ONNX Runtime", import("onnxruntime"), "run `make setup`: without it that baseline is missing", false},
          {"bubblewrap", first_line({"bwrap", "--version"}, 20),
           "install bubblewrap: kernels then run in namespaces of their own", false}};
}

}  // namespace

int run_doctor(const CommonOptions& common) {
  Output out(common);
  const std::vector<Finding> findings = look_around();
  const auto target = open_target("cpu", 0);
  const target::Facts& facts = target->facts();
  out.progress("measuring this machine", true);
  const target::MachinePeaks peaks = target::measure_peaks(facts.threads);
  out.clear_progress();
  json found = json::object();
  std::vector<std::vector<std::string>> rows;
  bool complete = true;
  for (const Finding& f : findings) {
    found[f.name] = f.found.empty() ? json(nullptr) : json(f.found);
    rows.push_back({f.name, f.found.empty() ? "missing: " + f.fix : f.found});
    complete = complete && (!f.required || !f.found.empty());
  }
  for (const std::string& layer : sandbox_report()) rows.push_back({"sandbox", layer});
  rows.push_back({"CPU", fmt::format("{}, {} threads, {}", facts.name, facts.threads, facts.isa)});
  rows.push_back({"caches", fmt::format("L1 {} KB, L2 {} KB a core, L3 {} KB", facts.l1_bytes >> 10,
                                        facts.l2_bytes >> 10, facts.l3_bytes >> 10)});
  rows.push_back({"FMA peak", fmt::format("{:.0f} GF/s from registers, {:.0f} GF/s with operands in L1",
                                          peaks.register_flops_per_s / 1e9, peaks.l1_flops_per_s / 1e9)});
  rows.push_back({"copy", fmt::format("{:.1f} GB/s, read plus written", peaks.copy_bytes_per_s / 1e9)});
  out.object({{"type", "result"},
              {"schema_version", 1},
              {"found", found},
              {"cpu", facts.name},
              {"isa", facts.isa},
              {"threads", facts.threads},
              {"register_flops_per_s", peaks.register_flops_per_s},
              {"l1_flops_per_s", peaks.l1_flops_per_s},
              {"copy_bytes_per_s", peaks.copy_bytes_per_s},
              {"complete", complete}});
  out.text(table_text(rows));
  return complete ? 0 : 1;
}

}  // namespace kw::app
