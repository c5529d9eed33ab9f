#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "app/output.h"
#include "app/workspace.h"
#include "base/parallel.h"
#include "base/process.h"
#include "graph/analysis.h"
#include "graph/load_problem.h"
#include "module/export.h"

namespace kw::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kSuiteLimit_s = 7200, kImportLimit_s = 120;
constexpr rlim_t kImportLimit_bytes = rlim_t{8} << 30;

json failed(const std::string& id, const std::string& message) {
  return {{"understood", false}, {"id", id}, {"reason", message}};
}

json understood(const graph::Problem& problem) {
  const graph::Work work = graph::count_work(problem.graph);
  return {{"understood", true},
          {"nodes", problem.graph.nodes.size()},
          {"parameters", problem.graph.params.size()},
          {"flops", work.flops},
          {"min_bytes", work.min_bytes}};
}

json import_here(const fs::path& pt2) {
  try {
    const auto problem = graph::load_bare_problem(pt2, graph::Mode::train);
    return problem.ok() ? understood(*problem) : failed(problem.failure().id, problem.failure().message);
  } catch (const std::exception& error) {
    return failed("bug", std::string("internal error: ") + error.what());
  }
}

std::string own_line(const ProcessReply& reply) { return reply.out.substr(0, reply.out.find('\n')); }

/// In a process of its own: neither a crash nor a want of time or memory reaches the other problems.
json import_apart(const fs::path& pt2) {
  const auto reply =
      run_process({own_executable().string(), "--kw-import", pt2.string()}, {.timeout_s = kImportLimit_s});
  if (!reply.ok()) return failed(reply.failure().id, reply.failure().message);
  if (reply->timed_out)
    return failed("import.timeout", fmt::format("the import took longer than {:.0f} s", kImportLimit_s));
  json line = json::parse(own_line(*reply), nullptr, false);
  if (reply->exit_code == 0 && line.is_object()) return line;
  return failed("import.crash", fmt::format("the import ended with code {}", reply->exit_code));
}

/// One suite: problems are counted as their exports come in.
class SuiteInspection {
 public:
  SuiteInspection(const CommonOptions& common, const InspectOptions& options)
      : common_(common), options_(options), out_(common) {}

  int run() {
    out_.progress("exporting the suite", true);
    const auto reply = run_process(command(), {.timeout_s = kSuiteLimit_s,
                                               .env = {{"PYTHONPATH", module::python_package_folder().string()}},
                                               .on_stdout_line = [this](std::string_view line) { take(line); }});
    out_.clear_progress();
    if (interrupted()) throw UserError({"interrupted", "interrupted", ""});
    if (!reply.ok()) throw UserError(reply.failure());
    if (total_ == 0 || reply->exit_code != 0) throw UserError(why_not(*reply));
    report();
    return 0;
  }

 private:
  std::vector<std::string> command() const {
    const int jobs = common_.jobs > 0 ? common_.jobs : usable_cores();
    return {module::find_python().string(), "-m",     "kernelwright.suite", options_.source, "--out",
            folder_.path().string(),        "--jobs", std::to_string(jobs), "--mode",        options_.mode};
  }

  Failure why_not(const ProcessReply& reply) const {
    const std::string message = "the suite `" + options_.source + "` could not be exported";
    if (!fault_.is_null()) return {fault_.value("id", ""), fault_.value("message", message), fault_.value("hint", "")};
    if (reply.timed_out) return {"suite.timeout", message + fmt::format(" within {:.0f} s", kSuiteLimit_s), ""};
    return {"suite.export", message, "run `python -m kernelwright.suite` on it to see all"};
  }

  /// A line of the exporter: a problem's outcome, its own error, or its closing counts.
  void take(std::string_view text) {
    const json line = json::parse(text, nullptr, false);
    if (!line.is_object() || interrupted()) return;
    if (line.contains("problem"))
      add(line);
    else if (line.value("type", "") == "error")
      fault_ = line;
  }

  void add(const json& line) {
    const fs::path folder = line.value("folder", "");
    json row = line.value("type", "") == "export" ? import_apart(folder / "model.pt2")
                                                  : failed(line.value("id", ""), line.value("message", ""));
    const std::string problem = line.value("problem", "");
    row.update({{"type", "problem"},
                {"problem", problem},
                {"name", fs::path(line.value("file", "")).stem().string()},
                {"export_s", line.value("seconds", 0.0)}});
    ++total_;
    if (row.value("understood", false))
      ++understood_;
    else
      refused_[row.value("id", "")].emplace_back(problem, row.value("reason", ""));
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    out_.object(row);
    out_.progress(fmt::format("[{}] {} understood", total_, understood_));
  }

  json refused_json() const {
    json refused = json::object();
    for (const auto& [id, problems] : refused_)
      for (const auto& [problem, reason] : problems) refused[id].push_back(problem);
    return refused;
  }

  void report() const {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    out_.object({{"type", "result"},
                 {"schema_version", 1},
                 {"suite", options_.suite},
                 {"understood", understood_},
                 {"total", total_},
                 {"refused", refused_json()},
                 {"seconds", seconds}});
    out_.text(fmt::format("{} of {} problems understood in {:.0f} s", understood_, total_, seconds));
    for (const auto& [id, problems] : refused_) {
      out_.text(fmt::format("\n{}: {}", id, problems.size()));
      for (const auto& [problem, reason] : problems) out_.text(fmt::format("  {:6} {}", problem, reason));
    }
  }

  CommonOptions common_;
  InspectOptions options_;
  Output out_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  TempDir folder_{"kernelwright-suite"};
  json fault_;
  int understood_ = 0, total_ = 0;
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> refused_;  // id -> (problem, reason)
};

}  // namespace

int run_inspect_suite(const CommonOptions& common, const InspectOptions& options) {
  return SuiteInspection(common, options).run();
}

int import_main(const char* pt2) {
  const rlimit limit{kImportLimit_bytes, kImportLimit_bytes};
  ::setrlimit(RLIMIT_AS, &limit);
  std::printf("%s\n", import_here(pt2).dump(-1, ' ', false, json::error_handler_t::replace).c_str());
  return 0;
}

}  // namespace kw::app
