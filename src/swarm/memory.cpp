#include "swarm/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "graph/scalar.h"

namespace kw::swarm {
namespace {

using nlohmann::json;

constexpr double kLikeEnough = 0.45;

/// The part of a node's text that says what it does: "reduce.sum", "map{exp(a)}", "contract{ab,cb->ac}".
std::string what_it_does(const graph::Node& node) {
  std::string text = graph::to_text(node);
  text = text.substr(text.find('=') + 2);
  text = text.substr(0, text.rfind('('));
  // Names and sizes say nothing about likeness; the operation and its expression do.
  const bool named = node.is<graph::MapAttr>() || node.is<graph::ContractAttr>() || node.is<graph::ReduceAttr>();
  return named ? text : text.substr(0, text.find('{'));
}

std::map<std::string, double> features_from(const std::string& text) {
  std::map<std::string, double> features;
  const json object = json::parse(text, nullptr, false);
  if (object.is_object())
    for (const auto& [name, value] : object.items())
      if (value.is_number()) features[name] = value.get<double>();
  return features;
}

std::string key_of(const graph::Problem& problem) { return sha256(graph::to_text(problem.graph)); }

}  // namespace

std::map<std::string, double> features_of(const graph::Graph& graph) {
  std::map<std::string, double> features;
  for (const graph::Node& node : graph.nodes) {
    if (node.is<graph::InputAttr>() || node.is<graph::ParamAttr>() || node.is<graph::ConstantAttr>()) continue;
    features[std::string(graph::kind_name(node))] += 1;
    features[what_it_does(node)] += 1;
    const double elements = static_cast<double>(element_count(node.shape));
    features[fmt::format("size 2^{}", 3 * static_cast<int>(std::log2(elements + 1) / 3))] += 0.25;
  }
  return features;
}

double likeness(const std::map<std::string, double>& a, const std::map<std::string, double>& b) {
  double shared = 0, all = 0;
  for (const auto& [name, weight] : a) {
    const auto other = b.find(name);
    const double there = other == b.end() ? 0 : other->second;
    shared += std::min(weight, there);
    all += std::max(weight, there);
  }
  for (const auto& [name, weight] : b)
    if (!a.contains(name)) all += weight;
  return all > 0 ? shared / all : 0;
}

Status keep_winner(store::Store& store, const graph::Problem& problem, const std::string& target,
                   const kernel::Candidate& winner, double seconds) {
  return store.keep_exemplar({.problem_key = key_of(problem),
                              .name = problem.name,
                              .target = target,
                              .features_json = json(features_of(problem.graph)).dump(),
                              .author = winner.author,
                              .source = winner.source,
                              .plan_json = winner.plan_json,
                              .seconds = seconds});
}

std::vector<author::Reference> recall(store::Store& store, const graph::Problem& problem, const std::string& target,
                                      size_t most) {
  const auto rows = store.exemplars(target);
  const author::Language* language = author::find_language(target);
  if (!rows || language == nullptr) return {};
  const auto mine = features_of(problem.graph);
  std::vector<std::pair<double, const store::ExemplarRow*>> like;
  for (const store::ExemplarRow& row : *rows) {
    const double how = likeness(mine, features_from(row.features_json));
    if (how >= kLikeEnough) like.emplace_back(how, &row);
  }
  std::stable_sort(like.begin(), like.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<author::Reference> references;
  for (const auto& [how, row] : like) {
    if (references.size() == most) break;
    references.push_back({fmt::format("`{}`, {:.0f}% like this one", row->name, 100 * how), std::string(language->tag),
                          row->source, row->plan_json});
  }
  return references;
}

}  // namespace kw::swarm
