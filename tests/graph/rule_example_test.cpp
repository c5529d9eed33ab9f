#include <doctest/doctest.h>

#include "graph/rewrite/rewrite.h"

using namespace kw;
using namespace kw::graph;

namespace {

// The example of docs/adding-a-rule.md.
/// neg(neg(x)) = x, across two nodes.
std::optional<NodeId> double_negation(Site& site, NodeId id) {
  const auto is_neg = [&](NodeId x) {
    return site.g[x].is<MapAttr>() && to_text(site.g[x].as<MapAttr>().expr) == "neg(%0)";
  };
  if (!is_neg(id) || !is_neg(site.g[id].inputs[0])) return std::nullopt;
  return site.g[site.g[id].inputs[0]].inputs[0];
}

}  // namespace

TEST_CASE("a rule of one's own runs beside the others") {
  GraphBuilder g;
  const NodeId x = g.input(DType::f32, {4}, "x");
  g.output(g.map1(ScalarOp::neg, g.map1(ScalarOp::neg, x)));
  const Rule rules[] = {{"double-negation", Exactness::exact, double_negation}};
  const Rewritten r = rewrite(g.take(), {}, rules);
  CHECK(r.graph.nodes.size() == 1);
  CHECK(r.applied.at(0).count == 1);
  CHECK(name_of(r.applied.at(0).exactness) == "exact");
}
