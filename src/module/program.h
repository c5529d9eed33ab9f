#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/tensor.h"

/// An exported program as torch.export wrote it: ATen nodes over named tensors, nothing interpreted yet.
namespace kw::module {

struct TensorMeta {
  DType dtype = DType::f32;
  Shape shape;
  Shape strides;  // in elements
  int64_t storage_offset = 0;
};

struct None {};
struct TensorRef {
  std::string name;
};
using OptionalTensors = std::vector<std::optional<TensorRef>>;  // as_tensors, as_optional_tensors

/// One argument of a node. Devices, layouts and memory formats come as None.
using Argument = std::variant<None, TensorRef, OptionalTensors, bool, int64_t, double, std::string, DType,
                              std::vector<int64_t>, std::vector<double>, std::vector<bool>>;

struct NamedArgument {
  std::string name;
  Argument value;
};

/// The user's line that made a node, from the export metadata (empty when absent).
struct SourceLine {
  std::string file;
  int line = 0;
  std::string text;
  std::string module_path;  // "layers.0.attn"
};

struct ProgramNode {
  std::string target;  // "aten.add.Tensor": without the "torch.ops." prefix
  std::vector<NamedArgument> arguments;
  std::vector<std::string> outputs;  // tensor names; "" where an optional output is absent
  SourceLine source;
};

enum class InputKind { user, parameter, buffer, constant };
struct ProgramInput {
  InputKind kind = InputKind::user;
  std::string tensor;  // name inside the program
  std::string fqn;     // "fc.weight"; empty for user inputs
  bool persistent = true;
  /// A user input that is no tensor (an int, a bool, None) is fixed at export: its value.
  std::optional<Argument> fixed;
};

enum class OutputKind { user, buffer_mutation, input_mutation };
struct ProgramOutput {
  OutputKind kind = OutputKind::user;
  Argument value;      // TensorRef, or a constant (None, int, ...) that forward returns
  std::string target;  // fqn of the mutated buffer, or the mutated user input's tensor name
};

struct Program {
  int schema_major = 0;
  int schema_minor = 0;
  std::vector<ProgramInput> inputs;
  std::vector<ProgramOutput> outputs;
  std::vector<ProgramNode> nodes;
  std::map<std::string, TensorMeta> tensors;
  /// Pytree specs as torch wrote them, opaque to C++.
  std::string in_spec;
  std::string out_spec;
};

/// Parameters, buffers and constants by fqn. Stored blobs are views of the mapped archive (no copy) when
/// contiguous; others are made dense.
struct WeightTable {
  std::map<std::string, TensorMeta> metas;
  /// Byte offset of the blob inside the archive file, where it is stored uncompressed and contiguous.
  std::map<std::string, size_t> file_offsets;
  std::map<std::string, Tensor> tensors;  // empty data for meta-device exports
};

struct LoadedModule {
  Program program;
  WeightTable weights;
};

}  // namespace kw::module
