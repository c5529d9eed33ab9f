#include "graph/rewrite/rewrite.h"

#include <algorithm>

#include "base/result.h"
#include "graph/analysis.h"

namespace kw::graph {
namespace {

constexpr int pass_limit = 12;  // each pass makes progress; a pair of rules that undo each other stops here

size_t at(NodeId id) { return static_cast<size_t>(id); }

/// Views go through the builder's own methods, which drop and compose what they can.
NodeId copy_node(GraphBuilder& g, Node node) {
  if (const auto* permute = std::get_if<PermuteAttr>(&node.attr)) return g.permute(node.inputs[0], permute->perm);
  if (node.is<ReshapeAttr>()) return g.reshape(node.inputs[0], node.shape);
  if (node.is<ExpandAttr>()) return g.expand(node.inputs[0], node.shape);
  if (const auto* map = std::get_if<MapAttr>(&node.attr)) return g.map(map->expr, node.inputs);
  if (node.is<CastAttr>()) return g.cast(node.inputs[0], node.dtype);
  return g.add(std::move(node));
}

bool allowed(const Rule& rule, const RewriteOptions& options) {
  if (rule.exactness == Exactness::needs_finite && !options.needs_finite) return false;
  const bool reorders = rule.exactness == Exactness::reassociates || rule.exactness == Exactness::depends_on_parameters;
  if (reorders && !options.reassociate) return false;
  return options.only.empty() || std::find(options.only.begin(), options.only.end(), rule.name) != options.only.end();
}

std::vector<int> count_uses(const Graph& graph) {
  std::vector<int> uses(graph.nodes.size(), 0);
  for (const Node& node : graph.nodes) {
    for (NodeId input : node.inputs) ++uses[at(input)];
  }
  for (const OutputInfo& out : graph.outputs) ++uses[at(out.node)];
  return uses;
}

/// One pass of one rule over every node.
Graph apply_rule(const Graph& graph, const Rule& rule, int& count) {
  GraphBuilder g;
  std::vector<int> uses;
  Site site(g, uses);
  for (const InputInfo& info : graph.inputs) g.input(info.dtype, info.shape, info.name);
  for (const ParamInfo& info : graph.params) g.param(info.name, info.kind, info.dtype, info.shape);
  const std::vector<int> old_uses = count_uses(graph);
  std::vector<NodeId> renamed(graph.nodes.size(), -1);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node node = graph.nodes[i];
    for (NodeId& input : node.inputs) input = renamed[at(input)];
    g.set_origin(node.origin);
    NodeId id = copy_node(g, std::move(node));
    uses.resize(g.peek().nodes.size(), 0);
    uses[at(id)] += old_uses[i];
    if (const auto better = rule.apply(site, id); better && *better != id) {
      check(g.shape(*better) == g.shape(id) && g.dtype(*better) == g.dtype(id), "a rule keeps shape and dtype");
      ++count;
      id = *better;
      uses.resize(g.peek().nodes.size(), 0);
      uses[at(id)] += old_uses[i];
    }
    renamed[i] = id;
  }
  for (const OutputInfo& out : graph.outputs) {
    out.is_state ? g.state(out.state_name, renamed[at(out.node)]) : g.output(renamed[at(out.node)]);
  }
  return g.take();
}

void record(std::vector<AppliedRule>& applied, const Rule& rule, int count, double flops_saved) {
  auto known = std::find_if(applied.begin(), applied.end(), [&](const AppliedRule& a) { return a.name == rule.name; });
  if (known == applied.end()) known = applied.insert(applied.end(), {std::string(rule.name), rule.exactness, 0, 0});
  known->count += count;
  known->flops_saved += flops_saved;
}

}  // namespace

std::string_view name_of(Exactness exactness) {
  constexpr std::string_view names[] = {"exact", "reassociates", "needs-finite", "depends-on-parameters"};
  return names[static_cast<int>(exactness)];
}

int Site::uses(NodeId id) const { return at(id) < uses_.size() ? std::max(1, uses_[at(id)]) : 1; }

bool Site::parameter_only(NodeId id) const {
  known_.resize(std::max(known_.size(), g.peek().nodes.size()), 0);
  if (known_[at(id)] != 0) return known_[at(id)] == 1;
  const Node& node = g[id];
  bool result = !node.is<InputAttr>();
  for (NodeId input : node.inputs) result = result && parameter_only(input);
  known_[at(id)] = result ? 1 : 2;
  return result;
}

Rewritten rewrite(const Graph& graph, const RewriteOptions& options, std::span<const Rule> rules) {
  Rewritten result{graph, {}};
  for (int pass = 0; pass < pass_limit; ++pass) {
    int in_pass = 0;
    for (const Rule& rule : rules) {
      if (!allowed(rule, options)) continue;
      int count = 0;
      Graph next = apply_rule(result.graph, rule, count);
      if (count == 0) continue;
      record(result.applied, rule, count, count_work(result.graph).flops - count_work(next).flops);
      result.graph = std::move(next);
      in_pass += count;
    }
    if (in_pass == 0) break;
  }
  return result;
}

}  // namespace kw::graph
