#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/output.h"
#include "app/workspace.h"
#include "graph/analysis.h"
#include "graph/rewrite/rewrite.h"
#include "kernel/schedule/compose.h"

namespace kw::app {
namespace {

namespace schedule = kernel::schedule;
using nlohmann::json;

std::string shape_text(const Shape& shape) {
  std::string text;
  for (int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

std::string engineering(double value, const char* unit) {
  static constexpr std::pair<double, const char*> kScales[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  for (const auto& [scale, prefix] : kScales)
    if (value >= scale) return fmt::format("{:.3g} {}{}", value / scale, prefix, unit);
  return fmt::format("{:.3g} {}", value, unit);
}

json pieces_json(const graph::Graph& graph, const schedule::Partition& parts, const kernel::Facts& facts) {
  json rows = json::array();
  for (const schedule::Piece& piece : parts.pieces) {
    const auto found = schedule::options(graph, piece, facts);
    rows.push_back({{"piece", schedule::piece_key(graph, piece)},
                    {"prepare", piece.prepare},
                    {"schedule", found.front().schedule.text()},
                    {"choices", found.size()},
                    {"predicted_s", found.front().predicted_s}});
  }
  return rows;
}

json inspection(const graph::Problem& problem, const target::Facts& facts) {
  const auto rewritten = graph::rewrite(problem.graph, {.needs_finite = true});
  const graph::Work work = graph::count_work(problem.graph);
  json inputs = json::array(), outputs = json::array();
  for (const auto& input : problem.graph.inputs)
    inputs.push_back({{"name", input.name}, {"dtype", name_of(input.dtype)}, {"shape", input.shape}});
  for (const auto& output : problem.graph.outputs) {
    const graph::Node& node = problem.graph[output.node];
    outputs.push_back({{"dtype", name_of(node.dtype)}, {"shape", node.shape}, {"state", output.state_name}});
  }
  json rules = json::array();
  for (const auto& rule : rewritten.applied) rules.push_back(rule.name);
  return {{"type", "result"},
          {"schema_version", 1},
          {"problem", problem.name},
          {"mode", problem.mode == graph::Mode::train ? "train" : "eval"},
          {"inputs", inputs},
          {"outputs", outputs},
          {"nodes", problem.graph.nodes.size()},
          {"parameters", problem.graph.params.size()},
          {"flops", work.flops},
          {"min_bytes", work.min_bytes},
          {"eager_bytes", work.node_bytes},
          {"roofline_s", graph::roofline_s(work, facts.flops_per_s, facts.bytes_per_s)},
          {"rewrites", rules},
          {"pieces", pieces_json(rewritten.graph, schedule::partition(rewritten.graph, facts), facts)}};
}

std::string inspection_text(const graph::Problem& problem, const json& report) {
  std::string text = fmt::format("{} ({} mode)\n\n", problem.name, report["mode"].get<std::string>());
  for (const auto& input : problem.graph.inputs)
    text += fmt::format("input   {} {}{}\n", input.name, name_of(input.dtype), shape_text(input.shape));
  for (const auto& output : problem.graph.outputs) {
    const graph::Node& node = problem.graph[output.node];
    const std::string name = output.is_state ? "state " + output.state_name : "";
    text += fmt::format("output  {}{} {}\n", name_of(node.dtype), shape_text(node.shape), name);
  }
  text += fmt::format("\ngraph\n{}\n", graph::to_text(problem.graph));
  text += fmt::format("work: {}, at least {} moved ({} op by op)\nroofline time here: {:.3g} ms\n\n",
                      engineering(report["flops"], "flop"), engineering(report["min_bytes"], "B"),
                      engineering(report["eager_bytes"], "B"), report["roofline_s"].get<double>() * 1e3);
  std::vector<std::vector<std::string>> rows{{"piece", "schedule", "choices", "predicted"}};
  for (const json& p : report["pieces"])
    rows.push_back({p["piece"].get<std::string>().substr(0, 60) + (p["prepare"].get<bool>() ? " (prepare)" : ""),
                    p["schedule"], std::to_string(p["choices"].get<size_t>()),
                    fmt::format("{:.3g} us", p["predicted_s"].get<double>() * 1e6)});
  return text + table_text(rows);
}

}  // namespace

int run_inspect(const CommonOptions& common, const InspectOptions& options) {
  if (!options.suite.empty()) return run_inspect_suite(common, options);
  const Imported imported = import_for_reading(options.source, options.mode, common);
  const auto target = open_target("cpu", 0);
  const json report = inspection(imported.problem, target->facts());
  Output out(common);
  out.object(report);
  out.text(inspection_text(imported.problem, report));
  return 0;
}

}  // namespace kw::app
