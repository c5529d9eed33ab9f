#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

/// Algebra on graphs: rules that replace a node by a cheaper equal, run to a fixed point.
namespace kw::graph {

/// What a rule asks of arithmetic. exact: bit for bit; reassociates: another order of float operations;
/// needs_finite: wrong for NaN or infinite values; depends_on_parameters: moves work on parameters into `prepare`
/// (and reassociates).
enum class Exactness : uint8_t { exact, reassociates, needs_finite, depends_on_parameters };
std::string_view name_of(Exactness exactness);

/// The graph under construction, as a rule sees it.
class Site {
 public:
  Site(GraphBuilder& builder, const std::vector<int>& uses) : g(builder), uses_(uses) {}
  /// How many nodes read it; 1 for nodes that rules made.
  int uses(NodeId id) const;
  /// No user input reaches it: it can be computed when parameters are bound.
  bool parameter_only(NodeId id) const;
  GraphBuilder& g;

 private:
  const std::vector<int>& uses_;
  mutable std::vector<char> known_;  // 0 unknown, 1 parameter-only, 2 not
};

struct Rule {
  std::string_view name;
  Exactness exactness;
  /// A node equal to `id`, or nothing where the rule does not apply.
  std::optional<NodeId> (*apply)(Site& site, NodeId id);
};
std::span<const Rule> rewrite_rules();

struct RewriteOptions {
  bool reassociate = true;  // allow reassociates and depends_on_parameters
  bool needs_finite = false;
  std::vector<std::string> only;  // names of the rules to use; empty = all
};

struct AppliedRule {
  std::string name;
  Exactness exactness = Exactness::exact;
  int count = 0;
  double flops_saved = 0;  // over all its applications in their passes; a gain by algebra when positive
};

struct Rewritten {
  Graph graph;
  std::vector<AppliedRule> applied;
};

Rewritten rewrite(const Graph& graph, const RewriteOptions& options = {},
                  std::span<const Rule> rules = rewrite_rules());

}  // namespace kw::graph
