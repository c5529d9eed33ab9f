#include "work.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "base/file.h"
#include "kernel/schedule/compose.h"
#include "problems.h"

namespace kw::redteam {
namespace {

using nlohmann::ordered_json;

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

std::vector<std::string> split(const std::string& line, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(line);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(trimmed(part));
  return parts;
}

std::vector<int64_t> numbers(const std::string& list) {
  std::vector<int64_t> values;
  if (list == "none") return values;
  for (const std::string& part : split(list, ',')) values.push_back(std::stoll(part));
  return values;
}

std::string signature_name(const std::string& kernel, size_t at) { return fmt::format("{}{}", kernel, at); }

}  // namespace

std::vector<Block> read_blocks(const std::string& file_name) {
  const std::string content = read_file(std::string(KW_REDTEAM_DIR) + "/" + file_name).value_or_throw();
  std::vector<Block> blocks;
  std::istringstream stream(content);
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind("=== ", 0) == 0) {
      blocks.push_back({split(line.substr(4), '|'), ""});
    } else if (!blocks.empty()) {
      blocks.back().text += line + "\n";
    } else {
      check(trimmed(line).empty() || line[0] == '#', "a line outside of all blocks");
    }
  }
  return blocks;
}

std::string plan_for(const graph::Problem& problem, const std::string& source, int64_t groups,
                     const std::vector<int64_t>& scratch) {
  const graph::Graph& graph = problem.graph;
  ordered_json buffers, args = ordered_json::array();
  const auto add = [&](const std::string& name, ordered_json buffer) {
    buffers[name] = std::move(buffer);
    args.push_back(name);
  };
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    add(signature_name("x", i), {{"role", "input"}, {"index", i}, {"shape", graph.inputs[i].shape}});
  for (size_t i = 0; i < graph.params.size(); ++i)
    add(signature_name("p", i), {{"role", "parameter"}, {"name", graph.params[i].name}});
  for (size_t i = 0; i < graph.outputs.size(); ++i)
    add(signature_name("y", i), {{"role", "output"}, {"index", i}, {"shape", graph[graph.outputs[i].node].shape}});
  if (!scratch.empty()) add("s", {{"role", "scratch"}, {"dtype", "f32"}, {"shape", scratch}});
  ordered_json steps = ordered_json::array();
  static const std::regex kernel("KW_KERNEL void (\\w+)\\(");
  for (std::sregex_iterator it(source.begin(), source.end(), kernel), end; it != end; ++it)
    steps.push_back({{"kernel", (*it)[1].str()}, {"args", args}, {"groups", {groups, 1, 1}}, {"group", {1, 1, 1}}});
  const ordered_json plan = {{"format", "kernelwright-plan/1"},
                             {"target", "cpu"},
                             {"symbols", ordered_json::object()},
                             {"guards", ordered_json::array()},
                             {"buffers", buffers},
                             {"prepare", ordered_json::array()},
                             {"steps", steps}};
  return plan.dump();
}

std::vector<Work> hand_written() {
  std::vector<Work> list;
  std::map<std::string, int> seen;
  for (const Block& block : read_blocks("kernels.txt")) {
    Work work;
    work.problem = &problem_named(block.fields[0]);
    work.candidate.source = block.text;
    work.candidate.plan_json =
        plan_for(*work.problem, block.text, std::stoll(block.fields[1]), numbers(block.fields[2]));
    work.candidate.author = "hand";
    work.base = fmt::format("{}/hand {}", block.fields[0], ++seen[block.fields[0]]);
    work.family = "hand";
    list.push_back(work);
  }
  return list;
}

std::vector<Work> scheduled(const kernel::Facts& facts, int options) {
  namespace sc = kernel::schedule;
  std::vector<Work> list;
  for (const graph::Problem& problem : problems()) {
    const sc::Partition parts = sc::partition(problem.graph, facts);
    const sc::Choice best = sc::default_choice(problem.graph, parts, facts);
    std::set<std::string> seen;
    for (size_t piece = 0; piece < parts.pieces.size(); ++piece) {
      const auto offered = sc::options(problem.graph, parts.pieces[piece], facts);
      for (size_t i = 0; i < offered.size() && i < static_cast<size_t>(options); ++i) {
        sc::Choice choice = best;
        choice[piece] = offered[i].schedule;
        const auto made = sc::assemble(problem.graph, parts, choice, facts);
        if (!made || !seen.insert(made->key()).second) continue;
        list.push_back(
            {&problem, *made, problem.name + "/" + offered[i].schedule.text(), "", "", offered[i].schedule.family});
      }
    }
  }
  return list;
}

std::vector<Work> honest_variants() {
  std::vector<Block> sums, exps, products, kernels;
  for (Block& block : read_blocks("honest.txt")) {
    const std::string& kind = block.fields[0];
    (kind == "sum" ? sums : kind == "exp" ? exps : kind == "product" ? products : kernels).push_back(std::move(block));
  }
  std::vector<Work> list;
  // Fields: kernel | problem | groups | scratch | which policies it uses: sum, exp, product
  for (const Block& k : kernels) {
    const auto uses = [&](const char* what) { return k.fields[4].find(what) != std::string::npos; };
    const std::vector<Block> none = {{{"", "-"}, ""}};
    for (const Block& sum : uses("sum") ? sums : none)
      for (const Block& e : uses("exp") ? exps : none)
        for (const Block& product : uses("product") ? products : none) {
          Work work;
          work.problem = &problem_named(k.fields[1]);
          work.candidate.source = sum.text + e.text + product.text + k.text;
          work.candidate.plan_json = plan_for(*work.problem, k.text, std::stoll(k.fields[2]), numbers(k.fields[3]));
          work.candidate.author = "honest";
          work.base = fmt::format("{}/{} sum {}, exp {}, product {}", k.fields[1], k.fields[5], sum.fields[1],
                                  e.fields[1], product.fields[1]);
          work.family = "hand";
          list.push_back(work);
        }
  }
  return list;
}

}  // namespace kw::redteam
