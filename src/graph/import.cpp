#include "graph/import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "graph/aten/call.h"

namespace kw::graph {

namespace {

using aten::Call;
using module::Program;
using module::ProgramNode;

/// Walks a program once, keeping the graph node of every tensor name.
class Importer {
 public:
  explicit Importer(const Program& program) : program_(program) {}
  Graph run();

 private:
  void bind_input(const module::ProgramInput& input);
  void expand(const ProgramNode& node);
  void bind_outputs(const Call& call, const aten::Values& produced);
  NodeId checked(const Call& call, NodeId produced, const std::string& name, size_t index);
  void emit(const module::ProgramOutput& output);
  const module::TensorMeta& meta(const std::string& tensor) const;
  NodeId value(const std::string& tensor) const;

  const Program& program_;
  GraphBuilder builder_;
  std::map<std::string, NodeId> values_;
  std::vector<std::pair<std::string, NodeId>> writes_;  // buffers that an op writes behind its schema
};

/// Nodes without a value: assertions, symbolic sizes, mode switches.
bool is_skipped(std::string_view target) {
  return target.starts_with("aten._assert") || target.starts_with("aten.sym_") || target.starts_with("_operator.") ||
         target == "aten._set_grad_enabled.default" || target.starts_with("torch._C._set_grad_enabled") ||
         target.starts_with("aten._functional_assert") || target == "aten._debug_has_internal_overlap.default";
}

const module::TensorMeta& Importer::meta(const std::string& tensor) const {
  const auto found = program_.tensors.find(tensor);
  if (found == program_.tensors.end()) {
    throw UserError({"import.argument", fmt::format("the program records no shape for `{}`", tensor), ""});
  }
  return found->second;
}

NodeId Importer::value(const std::string& tensor) const {
  const auto found = values_.find(tensor);
  if (found == values_.end()) {
    throw UserError({"import.argument", fmt::format("nothing in the program computes `{}`", tensor), ""});
  }
  return found->second;
}

void Importer::bind_input(const module::ProgramInput& input) {
  if (input.kind == module::InputKind::user) {
    if (input.fixed) return;
    const auto& m = meta(input.tensor);
    values_[input.tensor] = builder_.input(m.dtype, m.shape, input.tensor);
    return;
  }
  const ParamKind kind = input.kind == module::InputKind::parameter ? ParamKind::parameter
                         : input.kind == module::InputKind::buffer  ? ParamKind::buffer
                                                                    : ParamKind::constant;
  const auto& m = meta(input.tensor);
  values_[input.tensor] = builder_.param(input.fqn, kind, m.dtype, m.shape);
}

/// A recorded output that differs from ours is a fault of the table: said, never passed on.
NodeId Importer::checked(const Call& call, NodeId produced, const std::string& name, size_t index) {
  const auto& want = meta(name);
  if (builder_.shape(produced) != want.shape) {
    call.refuse("import.shape",
                fmt::format("was expanded to shape [{}] where PyTorch has [{}] (output {})",
                            fmt::join(builder_.shape(produced), ", "), fmt::join(want.shape, ", "), index),
                "this is a fault of the op table: please report it with the module");
  }
  const DType have = builder_.dtype(produced);
  if (have == want.dtype) return produced;
  if (is_float(have) != is_float(want.dtype) || (have == DType::boolean) != (want.dtype == DType::boolean)) {
    call.refuse("import.shape",
                fmt::format("was expanded to dtype {} where PyTorch has {} (output {})", name_of(have),
                            name_of(want.dtype), index),
                "this is a fault of the op table: please report it with the module");
  }
  return builder_.cast(produced, want.dtype);
}

void Importer::bind_outputs(const Call& call, const aten::Values& produced) {
  const auto& names = call.node().outputs;
  for (size_t i = 0; i < names.size(); ++i) {
    // An output that an expansion leaves out fails only where something reads it.
    if (names[i].empty() || i >= produced.size() || produced[i] < 0) continue;
    values_[names[i]] = checked(call, produced[i], names[i], i);
  }
}

void Importer::expand(const ProgramNode& node) {
  if (is_skipped(node.target)) return;
  Call call(builder_, program_, node, values_);
  const aten::Expand* expansion = aten::find_expansion(node.target);
  if (!expansion) {
    call.refuse("import.op", "is not in the op table", "see docs/adding-an-op.md for how to teach it one");
  }
  try {
    bind_outputs(call, (*expansion)(call));
    for (const auto& write : call.writes()) writes_.push_back(write);
  } catch (const BugError& error) {
    // The builder's checks are the last line against arguments that contradict each other.
    call.refuse_argument(fmt::format("has arguments that do not fit together: {}", error.what()));
  }
}

void Importer::emit(const module::ProgramOutput& output) {
  if (output.kind == module::OutputKind::input_mutation) {
    throw UserError({"import.mutation", fmt::format("forward changes its input `{}` in place", output.target),
                     "write to a copy, and return it"});
  }
  const auto* tensor = std::get_if<module::TensorRef>(&output.value);
  if (output.kind == module::OutputKind::buffer_mutation) {
    if (tensor) builder_.state(output.target, value(tensor->name));
    return;
  }
  if (tensor) builder_.output(value(tensor->name));
}

Graph Importer::run() {
  for (const auto& input : program_.inputs) bind_input(input);
  for (size_t i = 0; i < program_.nodes.size(); ++i) {
    builder_.set_origin(static_cast<int32_t>(i));
    expand(program_.nodes[i]);
  }
  builder_.set_origin(-1);
  for (const auto& [name, fresh] : writes_) builder_.state(name, fresh);
  for (const auto& output : program_.outputs) emit(output);
  return builder_.take();
}

}  // namespace

Result<Graph> import_program(const module::Program& program) {
  try {
    return Importer(program).run();
  } catch (const UserError& error) {
    return error.failure;
  }
}

std::vector<std::string> known_targets() { return aten::table_targets(); }

}  // namespace kw::graph
