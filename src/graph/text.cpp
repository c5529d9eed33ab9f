#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "graph/graph.h"

namespace kw::graph {
namespace {

constexpr std::array<std::string_view, std::variant_size_v<Attr>> kind_names = {
    "input",   "param",   "constant", "iota",  "cast", "map",   "reduce", "contract",
    "permute", "reshape", "expand",   "slice", "pad",  "flip",  "window", "dilate",
    "cat",     "gather",  "scatter",  "scan",  "sort", "recur", "item"};
constexpr std::string_view reduce_names[] = {"sum", "prod", "max", "min", "argmax", "argmin"};
constexpr std::string_view scan_names[] = {"sum", "prod", "max", "min"};
constexpr std::string_view scatter_names[] = {"set", "add", "mul", "max", "min"};

template <class T>
std::string list(const T& values) {
  return fmt::format("[{}]", fmt::join(values, ", "));
}

/// Labels print as letters: 0 is a.
std::string letters(const std::vector<int>& labels) {
  std::string text;
  for (int label : labels)
    text += label < 26 && label >= 0 ? std::string(1, static_cast<char>('a' + label)) : fmt::format("<{}>", label);
  return text;
}

std::string detail(const InputAttr& a) { return fmt::format("{{{}}}", a.index); }
std::string detail(const ParamAttr& a) { return fmt::format("{{{}}}", a.name); }
std::string detail(const ConstantAttr& a) { return fmt::format("{{{}}}", a.value); }
std::string detail(const IotaAttr&) { return ""; }
std::string detail(const CastAttr&) { return ""; }
std::string detail(const MapAttr& a) { return fmt::format("{{{}}}", to_text(a.expr)); }
std::string detail(const ReduceAttr& a) {
  return fmt::format(".{}{{{}}}", reduce_names[static_cast<int>(a.op)], fmt::join(a.axes, ","));
}
std::string detail(const ContractAttr& a) {
  return fmt::format("{{{},{}->{}}}", letters(a.a), letters(a.b), letters(a.out));
}
std::string detail(const PermuteAttr& a) { return fmt::format("{{{}}}", fmt::join(a.perm, ",")); }
std::string detail(const ReshapeAttr&) { return ""; }
std::string detail(const ExpandAttr&) { return ""; }
std::string detail(const SliceAttr& a) { return fmt::format("{{start {} step {}}}", list(a.start), list(a.step)); }
std::string detail(const PadAttr& a) {
  return fmt::format("{{lo {} hi {} value {}}}", list(a.lo), list(a.hi), a.value);
}
std::string detail(const FlipAttr& a) { return fmt::format("{{{}}}", fmt::join(a.axes, ",")); }
std::string detail(const WindowAttr& a) {
  return fmt::format("{{axes {} size {} stride {} dilation {}}}", list(a.axes), list(a.size), list(a.stride),
                     list(a.dilation));
}
std::string detail(const DilateAttr& a) { return fmt::format("{{axes {} factor {}}}", list(a.axes), list(a.factor)); }
std::string detail(const CatAttr& a) { return fmt::format("{{{}}}", a.axis); }
std::string detail(const GatherAttr& a) { return fmt::format("{{{}}}", fmt::join(a.axes, ",")); }
std::string detail(const ScatterAttr& a) {
  return fmt::format(".{}{{{}}}", scatter_names[static_cast<int>(a.op)], fmt::join(a.axes, ","));
}
std::string detail(const ScanAttr& a) { return fmt::format(".{}{{{}}}", scan_names[static_cast<int>(a.op)], a.axis); }
std::string detail(const SortAttr& a) {
  return fmt::format("{{axis {} k {} {}}}", a.axis, a.k, a.largest ? "largest" : "smallest");
}
std::string detail(const RecurAttr& a) {
  return fmt::format("{{steps {} carries {} sequences {}{}}}", a.steps, a.n_carry, a.n_seq,
                     a.reverse ? " reverse" : "");
}
std::string detail(const ItemAttr& a) { return fmt::format("{{{}}}", a.index); }

std::string indented(const std::string& text) {
  std::string result = "    ";
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    result += text[i];
    if (text[i] == '\n') result += "    ";
  }
  return result + "\n";
}

}  // namespace

std::string_view kind_name(const Node& node) { return kind_names[node.attr.index()]; }

std::string to_text(const Node& node) {
  std::string inputs;
  for (NodeId input : node.inputs) inputs += fmt::format("{}%{}", inputs.empty() ? "" : ", ", input);
  return fmt::format("{}{} = {}{}({})", name_of(node.dtype), list(node.shape), kind_name(node),
                     std::visit([](const auto& attr) { return detail(attr); }, node.attr), inputs);
}

std::string to_text(const Graph& graph) {
  std::string text;
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    text += fmt::format("%{} {}\n", id, to_text(node));
    if (node.is<RecurAttr>()) text += indented(to_text(*node.as<RecurAttr>().body));
  }
  for (const OutputInfo& out : graph.outputs) {
    text += out.is_state ? fmt::format("state {} = %{}\n", out.state_name, out.node)
                         : fmt::format("output %{}\n", out.node);
  }
  return text;
}

}  // namespace kw::graph
