#include "module/program_reader.h"

#include <fmt/format.h>

#include <set>

#include "module/argument_reader.h"
#include "module/meta_reader.h"

namespace kw::module {
namespace {

constexpr int schema_major = 8;
constexpr int max_subgraph_depth = 16;

/// Higher-order ops that only set a mode round their sub-graph, and so may be inlined.
struct WrapperRow {
  std::string_view target;
  size_t leading;     // arguments before the sub-graph
  int must_be_false;  // index of a flag that must be off, or -1
};
constexpr WrapperRow wrapper_rows[] = {
    {"higher_order.wrap_with_set_grad_enabled", 1, -1},
    {"higher_order.wrap_with_autocast", 4, 2},
    {"higher_order.tag_activation_checkpoint", 0, -1},
    {"higher_order.wrap", 0, -1},
};

bool is_assertion(std::string_view target) {
  return target.starts_with("aten._assert_") || target.starts_with("aten.sym_constrain_range");
}

/// Names of one graph: a sub-graph's own names get a prefix, and its inputs stand for the caller's tensors.
class Scope {
 public:
  Scope(std::string prefix, FaultKeeper& faults) : prefix_(std::move(prefix)), faults_(&faults) {}
  /// Gives a new name its program-wide form.
  std::string define(const std::string& name) {
    std::string global = prefix_ + name;
    bind(name, global);
    return global;
  }
  void bind(const std::string& name, const std::string& global) {
    if (!names_.emplace(name, global).second) faults_->fail_schema(fmt::format("defines `{}` twice", name));
  }
  std::string resolve(const std::string& name) const {
    const auto at = names_.find(name);
    if (at != names_.end()) return at->second;
    faults_->fail_schema(fmt::format("uses `{}` before it is defined", name));
    return {};
  }
  NameResolver resolver() const {
    return [this](const std::string& name) { return resolve(name); };
  }

 private:
  std::string prefix_;
  FaultKeeper* faults_;
  std::map<std::string, std::string> names_;
};

class ProgramReader {
 public:
  Result<Program> read(const Json& json) {
    const JsonCursor root(json, faults_);
    read_version(root.at("schema_version"));
    if (!faults_.ok()) return faults_.failure();
    const JsonCursor graph = root.at("graph_module").at("graph");
    const JsonCursor signature = root.at("graph_module").at("signature");
    Scope scope("", faults_);
    read_inputs(signature.at("input_specs"), scope, graph);
    if (faults_.ok()) read_metas(graph, "");
    read_nodes(graph, scope, "", 0);
    read_outputs(signature.at("output_specs"), scope);
    read_specs(root.at("graph_module"));
    check_metas();
    if (!faults_.ok()) return faults_.failure();
    return std::move(program_);
  }

 private:
  void read_version(const JsonCursor& version) {
    program_.schema_major = static_cast<int>(version.at("major").integer());
    program_.schema_minor = static_cast<int>(version.at("minor").integer());
    if (faults_.ok() && program_.schema_major != schema_major)
      faults_.fail({"pt2.schema",
                    fmt::format("the archive has schema {}.{}; only major version {} is understood",
                                program_.schema_major, program_.schema_minor, schema_major),
                    "export it again with torch 2.8 to 2.14"});
  }

  void read_metas(const JsonCursor& graph, const std::string& prefix) {
    for (const auto& [name, meta] : graph.at("tensor_values").fields()) {
      if (!faults_.ok()) return;
      program_.tensors.emplace(prefix + name, read_tensor_meta(meta, fmt::format("tensor `{}`", prefix + name)));
    }
  }

  /// Inputs come first, so that a dynamic shape is reported by the input's name.
  void read_inputs(const JsonCursor& specs, Scope& scope, const JsonCursor& graph) {
    for (const JsonCursor& spec : specs.items()) {
      faults_.place = fmt::format("input {}", program_.inputs.size());
      ProgramInput input = read_input(spec);
      if (!faults_.ok()) return;
      if (!input.fixed) scope.define(input.tensor);
      if (!input.fixed)
        read_tensor_meta(graph.at("tensor_values").at(input.tensor.c_str()), fmt::format("input `{}`", input.tensor));
      program_.inputs.push_back(std::move(input));
    }
  }

  ProgramInput read_input(const JsonCursor& spec) {
    ProgramInput input;
    const auto [tag, value] = spec.only_field();
    if (tag == "user_input") return read_user_input(value.at("arg"));
    if (tag == "constant_input") {
      input.tensor = value.at("name").text();
      input.fixed = read_argument(value.at("value"), no_tensors());
      return input;
    }
    struct Row {
      std::string_view tag;
      InputKind kind;
      const char* name_key;
    };
    constexpr Row rows[] = {{"parameter", InputKind::parameter, "parameter_name"},
                            {"buffer", InputKind::buffer, "buffer_name"},
                            {"tensor_constant", InputKind::constant, "tensor_constant_name"}};
    for (const Row& row : rows) {
      if (row.tag != tag) continue;
      input.kind = row.kind;
      input.tensor = value.at("arg").at("name").text();
      input.fqn = value.at(row.name_key).text();
      input.persistent = row.kind != InputKind::buffer || value.at("persistent").boolean();
      return input;
    }
    faults_.fail({"pt2.higher_order", fmt::format("{} is a `{}`, which is no tensor", faults_.place, tag),
                  "export a module without custom classes or effect tokens"});
    return input;
  }

  ProgramInput read_user_input(const JsonCursor& argument) {
    ProgramInput input;
    const auto [tag, value] = argument.only_field();
    if (tag == "as_tensor") {
      input.tensor = value.at("name").text();
    } else if (tag == "as_sym_int" && value.has("as_name")) {
      faults_.fail({"pt2.dynamic_shape",
                    fmt::format("{} is the dynamic number `{}`", faults_.place, value.at("as_name").text()),
                    "export with static shapes (no dynamic_shapes)"});
    } else {
      input.fixed = read_argument(argument, no_tensors());
    }
    return input;
  }

  NameResolver no_tensors() {
    return [this](const std::string& name) {
      faults_.fail_schema(fmt::format("refers to the tensor `{}` where a plain value belongs", name));
      return std::string();
    };
  }

  void read_nodes(const JsonCursor& graph, Scope& scope, const std::string& prefix, int depth) {
    size_t index = 0;
    for (const JsonCursor& json : graph.at("nodes").items()) {
      if (!faults_.ok()) return;
      faults_.place = fmt::format("node {}{}", prefix, index++);
      std::string target = json.at("target").text();
      if (target.starts_with("torch.ops.")) target.erase(0, 10);
      faults_.place += fmt::format(" ({})", target);
      if (is_assertion(target)) continue;
      if (target.starts_with("higher_order.")) {
        inline_wrapper(json, target, scope, depth);
      } else {
        read_node(json, std::move(target), scope);
      }
    }
  }

  void read_node(const JsonCursor& json, std::string target, Scope& scope) {
    ProgramNode node;
    node.target = std::move(target);
    for (const JsonCursor& input : json.at("inputs").items())
      node.arguments.push_back({input.at("name").text(), read_argument(input.at("arg"), scope.resolver())});
    for (const JsonCursor& output : json.at("outputs").items())
      for (const std::string& name : read_output_names(output))
        node.outputs.push_back(name.empty() ? name : scope.define(name));
    node.source = read_source(json.at("metadata"));
    program_.nodes.push_back(std::move(node));
  }

  void refuse_wrapper(const JsonCursor& json, const std::string& target) {
    const SourceLine source = read_source(json.at("metadata"));
    const std::string where = source.file.empty() ? "" : fmt::format(" ({}:{})", source.file, source.line);
    faults_.fail({"pt2.higher_order", fmt::format("the operator {}{} is not supported", target, where),
                  "write control flow that export can unroll (no torch.cond, map, scan or autocast)"});
  }

  /// Splices the sub-graph of a wrapper into the program: its inputs are the operands, its results the node's outputs.
  void inline_wrapper(const JsonCursor& json, const std::string& target, Scope& scope, int depth) {
    const WrapperRow* row = nullptr;
    for (const WrapperRow& candidate : wrapper_rows)
      if (candidate.target == target) row = &candidate;
    const auto inputs = json.at("inputs").items();
    const bool shaped = row && depth < max_subgraph_depth && inputs.size() > row->leading &&
                        inputs[row->leading].at("arg").has("as_graph");
    if (!shaped) return refuse_wrapper(json, target);
    if (row->must_be_false >= 0) {
      const Argument flag = read_argument(inputs[static_cast<size_t>(row->must_be_false)].at("arg"), no_tensors());
      if (!std::holds_alternative<bool>(flag) || std::get<bool>(flag)) return refuse_wrapper(json, target);
    }
    const JsonCursor graph = inputs[row->leading].at("arg").at("as_graph").at("graph");
    const std::string prefix = fmt::format("inlined{}::", inlined_++);
    Scope inner(prefix, faults_);
    bind_operands(graph, {inputs.begin() + static_cast<std::ptrdiff_t>(row->leading) + 1, inputs.end()}, scope, inner);
    read_inner_metas(graph, prefix);
    read_nodes(graph, inner, prefix, depth + 1);
    if (faults_.ok()) bind_results(json, graph, scope, inner);
  }

  void read_inner_metas(const JsonCursor& graph, const std::string& prefix) {
    if (faults_.ok()) read_metas(graph, prefix);
  }

  void bind_operands(const JsonCursor& graph, const std::vector<JsonCursor>& operands, Scope& outer, Scope& inner) {
    const auto formal = graph.at("inputs").items();
    if (formal.size() != operands.size()) faults_.fail_schema("passes its sub-graph a wrong number of values");
    for (size_t i = 0; i < formal.size() && faults_.ok(); ++i) {
      const Argument actual = read_argument(operands[i].at("arg"), outer.resolver());
      const auto names = read_output_names(formal[i]);
      const auto* ref = std::get_if<TensorRef>(&actual);
      if (!ref || names.size() != 1) return faults_.fail_schema("passes its sub-graph something that is no tensor");
      inner.bind(names[0], ref->name);
    }
  }

  void bind_results(const JsonCursor& json, const JsonCursor& graph, Scope& outer, const Scope& inner) {
    std::vector<std::string> inside, outside;
    for (const JsonCursor& output : graph.at("outputs").items())
      for (const std::string& name : read_output_names(output)) inside.push_back(name);
    for (const JsonCursor& output : json.at("outputs").items())
      for (const std::string& name : read_output_names(output)) outside.push_back(name);
    if (inside.size() != outside.size()) faults_.fail_schema("has other results than its sub-graph");
    for (size_t i = 0; i < inside.size() && faults_.ok(); ++i)
      if (!outside[i].empty() && !inside[i].empty()) outer.bind(outside[i], inner.resolve(inside[i]));
  }

  void read_outputs(const JsonCursor& specs, const Scope& scope) {
    for (const JsonCursor& spec : specs.items()) {
      if (!faults_.ok()) return;
      faults_.place = fmt::format("output {}", program_.outputs.size());
      program_.outputs.push_back(read_output(spec, scope));
    }
  }

  ProgramOutput read_output(const JsonCursor& spec, const Scope& scope) {
    ProgramOutput output;
    const auto [tag, value] = spec.only_field();
    if (tag == "user_output") {
      output.value = read_argument(value.at("arg"), scope.resolver());
    } else if (tag == "buffer_mutation") {
      output.kind = OutputKind::buffer_mutation;
      output.value = TensorRef{scope.resolve(value.at("arg").at("name").text())};
      output.target = value.at("buffer_name").text();
    } else if (tag == "user_input_mutation") {
      output.kind = OutputKind::input_mutation;
      output.value = TensorRef{scope.resolve(value.at("arg").at("name").text())};
      output.target = value.at("user_input_name").text();
    } else {
      faults_.fail({"pt2.schema", fmt::format("{} is a `{}`, which inference does not have", faults_.place, tag),
                    "export the forward pass under torch.no_grad()"});
    }
    return output;
  }

  /// The pytree specs stand in the call graph's entry for the root module.
  void read_specs(const JsonCursor& graph_module) {
    faults_.place = "the call graph";
    for (const JsonCursor& entry : graph_module.at("module_call_graph").items()) {
      if (!faults_.ok()) return;
      if (!entry.at("fqn").text().empty() || entry.at("signature").is_null()) continue;
      program_.in_spec = entry.at("signature").at("in_spec").text();
      program_.out_spec = entry.at("signature").at("out_spec").text();
    }
  }

  /// Each tensor that a node or an input defines has a meta, and no buffer is mutated that is not an input.
  void check_metas() {
    if (!faults_.ok()) return;
    faults_.place = "the program";
    std::set<std::string> buffers;
    for (const ProgramInput& input : program_.inputs) {
      if (input.kind == InputKind::buffer) buffers.insert(input.fqn);
      if (!input.fixed) require_meta(input.tensor);
    }
    for (const ProgramNode& node : program_.nodes)
      for (const std::string& name : node.outputs)
        if (!name.empty()) require_meta(name);
    for (const ProgramOutput& output : program_.outputs)
      if (output.kind == OutputKind::buffer_mutation && !buffers.contains(output.target))
        faults_.fail_schema(fmt::format("changes the buffer `{}`, which it does not have", output.target));
  }

  void require_meta(const std::string& name) {
    if (!program_.tensors.contains(name)) faults_.fail_schema(fmt::format("lacks the shape of `{}`", name));
  }

  FaultKeeper faults_;
  Program program_;
  int inlined_ = 0;
};

}  // namespace

Result<Program> read_program(const Json& json) {
  ProgramReader reader;
  return reader.read(json);
}

}  // namespace kw::module
