#include "graph/aten/call.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace kw::graph::aten {

namespace {

using module::Argument;

/// PyTorch's categories: bool below integers below floats.
int category(DType dtype) {
  if (dtype == DType::boolean) return 0;
  return is_float(dtype) ? 2 : 1;
}

/// The wider of two types of one category, as torch.promote_types: f16 with bf16 is f32, u8 with i8 is i16.
DType wider(DType a, DType b) {
  if (a == b) return a;
  if (category(a) != category(b)) return category(a) > category(b) ? a : b;
  if (is_float(a)) {
    if (size_bytes(a) != size_bytes(b)) return size_bytes(a) > size_bytes(b) ? a : b;
    return DType::f32;
  }
  if (size_bytes(a) == 1 && size_bytes(b) == 1) return DType::i16;
  return size_bytes(a) > size_bytes(b) ? a : b;
}

std::optional<DType> join(std::optional<DType> a, DType b) { return a ? wider(*a, b) : b; }

std::string_view describe(const Argument& argument) {
  static constexpr std::string_view names[] = {"None",     "a tensor", "tensors", "a bool", "an int", "a float",
                                               "a string", "a dtype",  "ints",    "floats", "bools"};
  return names[argument.index()];
}

}  // namespace

Call::Call(GraphBuilder& builder, const module::Program& program, const module::ProgramNode& node,
           const std::map<std::string, NodeId>& values)
    : Algebra(builder), program_(program), node_(node), values_(values) {}

const Argument* Call::find(std::string_view name) const {
  for (const module::NamedArgument& a : node_.arguments) {
    if (a.name == name) return std::holds_alternative<module::None>(a.value) ? nullptr : &a.value;
  }
  return nullptr;
}

bool Call::has(std::string_view name) const { return find(name) != nullptr; }

NodeId Call::value(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) refuse_argument(fmt::format("reads `{}`, which nothing before it computes", name));
  return found->second;
}

std::optional<NodeId> Call::maybe_tensor(std::string_view name) const {
  const Argument* a = find(name);
  if (!a) return std::nullopt;
  const auto* ref = std::get_if<module::TensorRef>(a);
  if (!ref) refuse_argument(fmt::format("wants a tensor as `{}`, not {}", name, describe(*a)));
  return value(ref->name);
}

NodeId Call::tensor(std::string_view name) const {
  const auto found = maybe_tensor(name);
  if (!found) refuse_argument(fmt::format("lacks its argument `{}`", name));
  return *found;
}

std::vector<std::optional<NodeId>> Call::maybe_tensors(std::string_view name) const {
  const Argument* a = find(name);
  std::vector<std::optional<NodeId>> out;
  if (!a) return out;
  const auto* list = std::get_if<module::OptionalTensors>(a);
  if (!list) refuse_argument(fmt::format("wants tensors as `{}`, not {}", name, describe(*a)));
  for (const auto& ref : *list) out.push_back(ref ? std::optional(value(ref->name)) : std::nullopt);
  return out;
}

Nodes Call::tensors(std::string_view name) const {
  Nodes out;
  for (const auto& t : maybe_tensors(name)) {
    if (!t) refuse_argument(fmt::format("has a None among `{}`", name));
    out.push_back(*t);
  }
  return out;
}

std::optional<double> Call::maybe_number(std::string_view name) const {
  const Argument* a = find(name);
  if (!a) return std::nullopt;
  if (const auto* v = std::get_if<double>(a)) return *v;
  if (const auto* v = std::get_if<int64_t>(a)) return static_cast<double>(*v);
  if (const auto* v = std::get_if<bool>(a)) return *v ? 1 : 0;
  refuse_argument(fmt::format("wants a number as `{}`, not {}", name, describe(*a)));
}

double Call::number(std::string_view name, double otherwise) const { return maybe_number(name).value_or(otherwise); }

double Call::number(std::string_view name) const {
  const auto found = maybe_number(name);
  if (!found) refuse_argument(fmt::format("lacks its argument `{}`", name));
  return *found;
}

int64_t Call::any_integer(std::string_view name) const {
  const Argument* a = find(name);
  if (!a) refuse_argument(fmt::format("lacks its argument `{}`", name));
  if (const auto* v = std::get_if<int64_t>(a)) return *v;
  if (const auto* v = std::get_if<bool>(a)) return *v ? 1 : 0;
  refuse_argument(fmt::format("wants an int as `{}`, not {}", name, describe(*a)));
}

int64_t Call::sized(std::string_view name, int64_t value) const {
  if (value < -max_argument || value > max_argument) {
    refuse_argument(fmt::format("has {} as `{}`, which no size reaches", value, name));
  }
  return value;
}

int64_t Call::integer(std::string_view name) const { return sized(name, any_integer(name)); }

int64_t Call::factor(std::string_view name) const {
  const int64_t value = integer(name);
  if (value < 1) refuse_argument(fmt::format("has {} as `{}`, which must be at least 1", value, name));
  return value;
}

int64_t Call::bound(std::string_view name, int64_t otherwise) const {
  return has(name) ? std::clamp(any_integer(name), -max_argument, max_argument) : otherwise;
}

int64_t Call::integer(std::string_view name, int64_t otherwise) const { return has(name) ? integer(name) : otherwise; }

bool Call::flag(std::string_view name, bool otherwise) const { return has(name) ? integer(name) != 0 : otherwise; }

Shape Call::ints(std::string_view name, const Shape& otherwise) const {
  const Argument* a = find(name);
  if (!a) return otherwise;
  if (const auto* v = std::get_if<std::vector<int64_t>>(a)) {
    for (int64_t each : *v) sized(name, each);
    return *v;
  }
  if (const auto* v = std::get_if<int64_t>(a)) return {sized(name, *v)};
  // An empty list carries no element type.
  if (const auto* v = std::get_if<std::vector<double>>(a); v && v->empty()) return {};
  if (const auto* v = std::get_if<module::OptionalTensors>(a); v && v->empty()) return {};
  refuse_argument(fmt::format("wants ints as `{}`, not {}", name, describe(*a)));
}

std::vector<double> Call::numbers(std::string_view name) const {
  const Argument* a = find(name);
  if (!a) return {};
  if (const auto* v = std::get_if<std::vector<double>>(a)) return *v;
  const Shape whole = ints(name);
  return {whole.begin(), whole.end()};
}

std::string Call::text(std::string_view name, std::string_view otherwise) const {
  const Argument* a = find(name);
  if (!a) return std::string(otherwise);
  if (const auto* v = std::get_if<std::string>(a)) return *v;
  refuse_argument(fmt::format("wants a string as `{}`, not {}", name, describe(*a)));
}

Operand Call::operand(std::string_view name) const {
  const Argument* a = find(name);
  if (a && std::holds_alternative<module::TensorRef>(*a)) {
    const NodeId id = tensor(name);
    return {id, 0, dtype(id), false};
  }
  const DType type = a && std::holds_alternative<bool>(*a)      ? DType::boolean
                     : a && std::holds_alternative<int64_t>(*a) ? DType::i64
                                                                : DType::f32;
  return {-1, number(name), type, true};
}

const module::TensorMeta& Call::out(size_t i) const {
  const auto found = i < node_.outputs.size() ? program_.tensors.find(node_.outputs[i]) : program_.tensors.end();
  if (found == program_.tensors.end()) refuse_argument("records no shape for its output");
  return found->second;
}

std::optional<NodeId> Call::maybe_x(std::string_view name) {
  const auto found = maybe_tensor(name);
  return found ? std::optional(cast(*found, compute())) : std::nullopt;
}

DType Call::promote(const std::vector<Operand>& operands) const {
  std::optional<DType> dims, zero_dims, numbers;
  for (const Operand& o : operands) {
    auto& group = o.is_number ? numbers : shape(o.node).empty() ? zero_dims : dims;
    group = join(group, o.dtype);
  }
  std::optional<DType> best = dims;
  for (const auto& lower : {zero_dims, numbers}) {
    if (lower && (!best || category(*lower) > category(*best))) best = lower;
  }
  return best.value_or(DType::f32);
}

NodeId Call::elementwise(DType type, const std::vector<Operand>& operands,
                         const std::function<E(const std::vector<E>&)>& f) {
  Nodes nodes;
  for (const Operand& o : operands) {
    if (!o.is_number) nodes.push_back(cast(o.node, type));
  }
  if (nodes.empty()) nodes.push_back(full(operands[0].number, type, {}));
  return map_all(nodes, [&](const std::vector<E>& tensors_in) {
    std::vector<E> all;
    size_t next = 0;
    for (const Operand& o : operands) all.push_back(o.is_number ? tensors_in[0].literal(o.number) : tensors_in[next++]);
    return f(all);
  });
}

NodeId Call::node_of(const Operand& o, DType type) {
  return o.is_number ? full(o.number, type, {}) : cast(o.node, type);
}

int Call::axis(int64_t dim, int of_rank) const {
  const int64_t n = std::max(of_rank, 1);
  if (dim < -n || dim >= n) refuse_argument(fmt::format("names axis {} of a tensor with {}", dim, of_rank));
  return static_cast<int>(dim < 0 ? dim + n : dim);
}

Axes Call::axes(const Shape& dims, int of_rank) const {
  Axes out;
  for (int64_t d : dims) {
    const int a = axis(d, of_rank);
    if (of_rank > 0) out.push_back(a);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Axes Call::reduce_axes(std::string_view name, int of_rank) const {
  const Shape dims = ints(name);
  return dims.empty() ? all_axes(static_cast<size_t>(of_rank)) : axes(dims, of_rank);
}

Shape Call::per_axis(std::string_view name, int n, const Shape& otherwise) const {
  Shape given = ints(name);
  if (given.empty()) given = otherwise;
  if (given.size() == 1) given.resize(static_cast<size_t>(n), given[0]);
  if (given.size() != static_cast<size_t>(n)) refuse_argument(fmt::format("wants {} values as `{}`", n, name));
  return given;
}

void Call::write_buffer(std::string_view name, NodeId fresh) {
  const Node read = g[tensor(name)];
  if (!read.is<ParamAttr>()) refuse("import.mutation", fmt::format("writes `{}`, which is no buffer", name));
  writes_.emplace_back(read.as<ParamAttr>().name, cast(fresh, read.dtype));
}

bool Call::is_dense(std::string_view name) const {
  const auto* ref = std::get_if<module::TensorRef>(find(name));
  const auto found = ref ? program_.tensors.find(ref->name) : program_.tensors.end();
  if (found == program_.tensors.end() || found->second.storage_offset != 0) return false;
  int64_t expected = 1;
  const module::TensorMeta& meta = found->second;
  for (size_t i = meta.shape.size(); i-- > 0;) {
    if (meta.shape[i] != 1 && i < meta.strides.size() && meta.strides[i] != expected) return false;
    expected *= meta.shape[i];
  }
  return true;
}

std::string Call::place() const {
  const module::SourceLine& s = node_.source;
  if (s.file.empty()) return "";
  const std::string file = std::filesystem::path(s.file).filename().string();
  return s.text.empty() ? fmt::format(" ({}:{})", file, s.line) : fmt::format(" ({}:{}: {})", file, s.line, s.text);
}

void Call::refuse(std::string id, const std::string& what, std::string hint) const {
  throw UserError({std::move(id), fmt::format("`{}` {}{}", node_.target, what, place()), std::move(hint)});
}

void Call::refuse_argument(const std::string& what) const { refuse("import.argument", what); }

void Call::refuse_random(const std::string& why) const {
  refuse("import.random", fmt::format("draws random numbers ({}), so no two calls agree", why),
         "export in eval mode, or make the module deterministic");
}

}  // namespace kw::graph::aten
