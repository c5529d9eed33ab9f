#include <fmt/format.h>

#include <map>

#include "base/hash.h"
#include "kernel/schedule/compose.h"
#include "kernel/schedule/usage.h"

namespace kw::kernel::schedule {

using graph::NodeId;

namespace {

/// Copies a piece's members after its inputs into a Graph of their own.
class Extraction {
 public:
  Extraction(const graph::Graph& from, const Piece& piece) : from_(from), piece_(piece) {}

  graph::Graph graph() {
    for (NodeId id : piece_.inputs) add_input(id);
    for (NodeId id : piece_.nodes) add(id);
    for (NodeId id : piece_.outputs) out_.outputs.push_back({at_.at(id), false, ""});
    return std::move(out_);
  }

 private:
  void add_input(NodeId id) {
    const graph::Node& n = from_[id];
    if (n.is<graph::ConstantAttr>() || n.is<graph::IotaAttr>()) return add(id);
    graph::Node copy = n;
    copy.inputs.clear();
    const Usage usage(from_);
    if (usage.parameter_only[static_cast<size_t>(id)]) {
      const auto* param = std::get_if<graph::ParamAttr>(&n.attr);
      const std::string name = param ? param->name : fmt::format("prepared {}", id);
      copy.attr = graph::ParamAttr{name};
      out_.params.push_back({name, graph::ParamKind::parameter, n.dtype, n.shape});
    } else {
      copy.attr = graph::InputAttr{static_cast<int>(out_.inputs.size())};
      out_.inputs.push_back({n.dtype, n.shape, fmt::format("v{}", id)});
    }
    push(id, std::move(copy));
  }

  void add(NodeId id) {
    if (at_.contains(id)) return;
    graph::Node copy = from_[id];
    for (NodeId& in : copy.inputs) {
      if (!at_.contains(in)) add(in);  // constants and iotas
      in = at_.at(in);
    }
    push(id, std::move(copy));
  }

  void push(NodeId id, graph::Node node) {
    at_[id] = static_cast<NodeId>(out_.nodes.size());
    out_.nodes.push_back(std::move(node));
  }

  const graph::Graph& from_;
  const Piece& piece_;
  graph::Graph out_;
  std::map<NodeId, NodeId> at_;
};

}  // namespace

graph::Graph piece_graph(const graph::Graph& graph, const Piece& piece) { return Extraction(graph, piece).graph(); }

std::string piece_key(const graph::Graph& graph, const Piece& piece) {
  graph::Graph own = piece_graph(graph, piece);
  // Names and origins do not change the work.
  int number = 0;
  for (graph::Node& n : own.nodes) {
    n.origin = -1;
    if (auto* p = std::get_if<graph::ParamAttr>(&n.attr)) p->name = fmt::format("p{}", number++);
  }
  for (graph::ParamInfo& p : own.params) p.name = "";
  for (graph::InputInfo& i : own.inputs) i.name = "";
  return sha256(graph::to_text(own)).substr(0, 24);
}

}  // namespace kw::kernel::schedule
