#include "author/llm/prompt.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "author/llm/embedded.h"
#include "author/llm/template.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/utf8.h"
#include "graph/analysis.h"

namespace kw::author {
namespace {

using nlohmann::json;

constexpr size_t kModuleBytes = 24u << 10, kGraphBytes = 12u << 10, kReferenceBytes = 16u << 10;
constexpr size_t kShownSource = 12u << 10, kShownWords = 6u << 10;
constexpr size_t kItemsWithSource = 2;  // of the newest; older attempts keep their words only

const std::vector<Language>& languages() {
  static const std::vector<Language> rows = {
      {"cpu", "cpp", {"cpp", "c++", "cc", "cxx", "c", "h", "hpp", "cplusplus"}},
      {"metal", "metal", {"metal", "msl", "cpp", "c++", "c"}},
      {"cuda", "cuda", {"cuda", "cu", "cpp", "c++", "c"}},
  };
  return rows;
}

std::string shortened(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  return std::string(cut_utf8(text, bytes)) + "\n[cut]\n";
}

std::string slot_text(DType dtype, const std::vector<int64_t>& shape) {
  return fmt::format("{}[{}]", name_of(dtype), fmt::join(shape, ", "));
}

std::string inputs_text(const graph::Problem& problem) {
  std::string text;
  for (size_t i = 0; i < problem.graph.inputs.size(); ++i) {
    const auto& input = problem.graph.inputs[i];
    text += fmt::format("- {} `{}`: {}", i, input.name, slot_text(input.dtype, input.shape));
    if (i < problem.domains.size() && problem.domains[i].observed)
      text += fmt::format(", examples from {:.4g} to {:.4g}", problem.domains[i].lo, problem.domains[i].hi);
    text += "\n";
  }
  return text.empty() ? "- none\n" : text;
}

std::string parameters_text(const graph::Problem& problem) {
  std::string text;
  for (const auto& param : problem.graph.params)
    text += fmt::format("- `{}`: {}\n", param.name, slot_text(param.dtype, param.shape));
  return text.empty() ? "- none\n" : text;
}

std::string outputs_text(const graph::Problem& problem) {
  std::string text;
  int index = 0;
  for (const auto& output : problem.graph.outputs) {
    const auto& node = problem.graph[output.node];
    text += output.is_state ? fmt::format("- state `{}`: {}\n", output.state_name, slot_text(node.dtype, node.shape))
                            : fmt::format("- {}: {}\n", index++, slot_text(node.dtype, node.shape));
  }
  return text;
}

/// The user's file, if it is one; an archive has no source.
std::string source_text(const graph::Problem& problem) {
  const std::string path = problem.source.substr(0, problem.source.rfind(".py") + 3);
  if (problem.source.rfind(".py") == std::string::npos) return "The module came without its source.";
  const auto text = read_file(path, 1u << 20);
  if (!text || !valid_utf8(*text)) return "The module came without its source.";
  return fmt::format("In {} mode:\n\n{}", problem.mode == graph::Mode::train ? "training" : "evaluation",
                     fenced("python", shortened(*text, kModuleBytes)));
}

std::string machine_text(const target::Facts& f) {
  return fmt::format(
      "{}. Instruction set {}, {} threads, vectors of {} bytes, caches {} KiB / {} KiB / {} KiB, about {:.0f} GFLOP/s "
      "(f32) and {:.0f} GB/s.",
      f.name, f.isa, f.threads, f.vector_bytes, f.l1_bytes >> 10, f.l2_bytes >> 10, f.l3_bytes >> 10,
      f.flops_per_s / 1e9, f.bytes_per_s / 1e9);
}

std::string work_text(const graph::Problem& problem, double roofline_s) {
  const graph::Work work = graph::count_work(problem.graph);
  return fmt::format("{:.3g} flops, at least {:.3g} bytes; no kernel here can be faster than {}.", work.flops,
                     work.min_bytes, time_text(roofline_s));
}

std::string references_text(const std::vector<Reference>& references, const std::string& heading) {
  std::string text;
  for (const Reference& r : references) {
    text += (text.empty() ? "\n# " + heading + "\n" : "") + fmt::format("\n{}:\n\n", r.title);
    text += fenced(r.tag, shortened(r.source, kReferenceBytes));
    if (!r.plan_json.empty()) text += "\n" + fenced("json", shortened(r.plan_json, kReferenceBytes));
  }
  return text;
}

std::string incumbent_text(const History& history, const std::string& tag) {
  if (!history.incumbent) return "";
  const Incumbent& best = *history.incumbent;
  std::string text = fmt::format("The best verified kernel so far{} takes {} a call. Beat it; you may build on it:\n\n",
                                 best.own ? ", your own," : ", by another author,", time_text(best.seconds));
  text += fenced(tag, shortened(best.source, kShownSource));
  return text + "\n" + fenced("json", shortened(best.plan_json, kShownSource)) + "\n";
}

std::string feedback_text(const History& history, const std::string& tag) {
  std::string text;
  for (size_t i = 0; i < history.items.size(); ++i) {
    const HistoryItem& item = history.items[i];
    text += fmt::format("Attempt {} of yours: {}\n\n", item.number, shortened(item.words, kShownWords));
    const bool is_incumbent = history.incumbent && history.incumbent->source == item.source;
    if (item.source.empty() || is_incumbent || i + kItemsWithSource < history.items.size()) continue;
    text += "It was:\n\n" + fenced(tag, shortened(item.source, kShownSource)) + "\n";
    if (!item.plan_json.empty()) text += fenced("json", shortened(item.plan_json, kShownSource)) + "\n";
  }
  return text;
}

}  // namespace

const Language* find_language(std::string_view target) {
  for (const Language& row : languages())
    if (row.target == target) return &row;
  return nullptr;
}

std::string time_text(double seconds) {
  if (seconds >= 1) return fmt::format("{:.3g} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} us", seconds * 1e6);
}

Result<Brochure> make_brochure(const graph::Problem& problem, const target::Facts& facts, double roofline_s,
                               const std::vector<Reference>& references, const std::vector<Reference>& exemplars) {
  const Language* language = find_language(facts.target);
  const std::string_view rules = find_embedded("prompts/target_" + facts.target + ".md");
  if (language == nullptr || rules.empty())
    return Failure{"author.target", "no prompt says how to write kernels for `" + facts.target + "`",
                   "use --author search"};
  Brochure brochure;
  brochure.source_tag = language->tag;
  brochure.system = fill(embedded_text("prompts/system.md"),
                         {{"source_tag", brochure.source_tag},
                          {"target", facts.target},
                          {"target_rules", std::string(rules)},
                          {"example", std::string(embedded_text("prompts/example_" + facts.target + ".md"))}});
  brochure.problem =
      redact(fill(embedded_text("prompts/problem.md"),
                  {{"machine", machine_text(facts)},
                   {"name", problem.name},
                   {"source", source_text(problem)},
                   {"inputs", inputs_text(problem)},
                   {"parameters", parameters_text(problem)},
                   {"outputs", outputs_text(problem)},
                   {"graph", shortened(graph::to_text(problem.graph), kGraphBytes)},
                   {"work", work_text(problem, roofline_s)},
                   {"references", references_text(references, "Kernels of the same module")},
                   {"exemplars", references_text(exemplars, "Kernels that were verified and fast on like problems")}}));
  return brochure;
}

Prompt make_prompt(const Brochure& brochure, const History& history) {
  return {brochure.system, brochure.problem,
          redact(fill(embedded_text("prompts/history.md"), {{"hint", history.hint},
                                                            {"incumbent", incumbent_text(history, brochure.source_tag)},
                                                            {"feedback", feedback_text(history, brochure.source_tag)},
                                                            {"source_tag", brochure.source_tag}}))};
}

std::string brief_json(const graph::Problem& problem, const target::Facts& facts, const Brochure& brochure,
                       const History& history) {
  json attempts = json::array();
  for (const HistoryItem& item : history.items)
    attempts.push_back(
        {{"number", item.number}, {"source", item.source}, {"plan", item.plan_json}, {"words", item.words}});
  json incumbent = nullptr;
  if (history.incumbent)
    incumbent = {{"author", history.incumbent->author},
                 {"source", history.incumbent->source},
                 {"plan", history.incumbent->plan_json},
                 {"seconds", history.incumbent->seconds}};
  const Prompt prompt = make_prompt(brochure, history);
  const json brief{{"format", "kernelwright-brief/1"},
                   {"problem", problem.name},
                   {"target", facts.target},
                   {"isa", facts.isa},
                   {"source_tag", brochure.source_tag},
                   {"rules", prompt.system},
                   {"task", prompt.problem},
                   {"request", prompt.history},
                   {"incumbent", incumbent},
                   {"attempts", attempts}};
  return redact(brief.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace kw::author
