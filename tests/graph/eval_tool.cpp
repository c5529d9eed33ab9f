// kw_eval: imports exported programs and interprets them in float64, for comparison with PyTorch.
//   kw_eval < jobs        one job a line: MODEL.pt2 DIRECTORY
// DIRECTORY holds in_0.bin, in_1.bin, ... (raw, row-major, in the program's dtypes) and receives out_0.f64 and
// bound_0.f64, ... One JSON line a job goes to stdout.
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "graph/import.h"
#include "graph/interpret.h"
#include "module/pt2.h"

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json failed(const kw::Failure& f) { return {{"ok", false}, {"id", f.id}, {"message", f.message}, {"hint", f.hint}}; }

kw::Result<std::vector<kw::Tensor>> read_inputs(const kw::graph::Graph& graph, const fs::path& directory) {
  std::vector<kw::Tensor> inputs;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    auto bytes = kw::read_file(directory / ("in_" + std::to_string(i) + ".bin"));
    if (!bytes) return bytes.failure();
    kw::Tensor t = kw::Tensor::zeros(graph.inputs[i].dtype, graph.inputs[i].shape);
    if (bytes->size() != t.bytes()) return kw::Failure{"eval.input", "an input file has the wrong size", ""};
    std::copy_n(reinterpret_cast<const std::byte*>(bytes->data()), bytes->size(), t.data);
    inputs.push_back(t);
  }
  return inputs;
}

void write_doubles(const fs::path& path, const std::vector<double>& values) {
  const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
  kw::write_file_atomic(path, bytes).value_or_throw();
}

json describe(const kw::graph::Graph& graph, const kw::graph::Evaluation& result, const fs::path& directory) {
  json outputs = json::array();
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    const auto& out = result.outputs[i];
    write_doubles(directory / ("out_" + std::to_string(i) + ".f64"), out.value);
    write_doubles(directory / ("bound_" + std::to_string(i) + ".f64"), out.bound);
    outputs.push_back({{"dtype", kw::name_of(out.dtype)},
                       {"shape", out.shape},
                       {"state", graph.outputs[i].is_state ? graph.outputs[i].state_name : ""}});
  }
  return {{"ok", true}, {"nodes", graph.nodes.size()}, {"straddled", result.straddled}, {"outputs", outputs}};
}

json evaluate(const std::string& model, const fs::path& directory) {
  const auto loaded = kw::module::load_pt2(model);
  if (!loaded) return failed(loaded.failure());
  const auto graph = kw::graph::import_program(loaded->program);
  if (!graph) return failed(graph.failure());
  const auto inputs = read_inputs(*graph, directory);
  if (!inputs) return failed(inputs.failure());
  const auto result = kw::graph::interpret(*graph, *inputs, loaded->weights.tensors);
  if (!result) return failed(result.failure());
  return describe(*graph, *result, directory);
}

json guarded(const std::string& model, const std::string& directory) {
  try {
    return evaluate(model, directory);
  } catch (const std::exception& error) {
    return {{"ok", false}, {"id", "bug"}, {"message", error.what()}, {"hint", ""}};
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--targets") {
    for (const auto& name : kw::graph::known_targets()) std::cout << name << '\n';
    return 0;
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string model, directory;
    words >> model >> directory;
    std::cout << guarded(model, directory).dump() << std::endl;
  }
}
