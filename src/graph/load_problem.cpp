#include "graph/load_problem.h"

#include <fmt/format.h>

#include "base/file.h"
#include "graph/import.h"
#include "module/json_cursor.h"
#include "module/pt2.h"

namespace kw::graph {
namespace fs = std::filesystem;
namespace {

using module::FaultKeeper;
using module::JsonCursor;

constexpr std::string_view format_name = "kernelwright-problem/1";

InputDomain read_domain(const JsonCursor& json) {
  return {.lo = json.at("lo").real(),
          .hi = json.at("hi").real(),
          .mean = json.at("mean").real(),
          .std = json.at("std").real(),
          .observed = json.at("observed").boolean(),
          .integral = json.at("integral").boolean()};
}

/// One tensor of a draw, mapped from its file; the size must be that of the graph's input.
Result<Tensor> read_draw(const fs::path& path, const InputInfo& input) {
  Tensor tensor{input.dtype, input.shape, nullptr, nullptr};
  if (tensor.bytes() == 0) return tensor;
  auto file = MappedFile::open(path);
  if (!file) return file.failure();
  const auto bytes = (*file)->bytes();
  if (bytes.size() != tensor.bytes())
    return Failure{"problem.draw", fmt::format("`{}` does not hold the input `{}`", path.string(), input.name),
                   "export the module again"};
  tensor.data = const_cast<std::byte*>(bytes.data());
  tensor.owner = {*file, tensor.data};
  return tensor;
}

Status read_draws(const JsonCursor& json, const fs::path& folder, Problem& problem) {
  for (const JsonCursor& draw : json.items()) {
    std::vector<Tensor> tensors;
    const auto names = draw.items();
    if (names.size() != problem.graph.inputs.size()) {
      json.faults().fail_schema("holds draws of another number of inputs");
      return ok_status();
    }
    for (size_t i = 0; i < names.size(); ++i) {
      auto tensor = read_draw(folder / fs::path(names[i].text()).filename(), problem.graph.inputs[i]);
      if (!tensor) return tensor.failure();
      tensors.push_back(std::move(*tensor));
    }
    problem.example_draws.push_back(std::move(tensors));
  }
  return ok_status();
}

Failure bad_description(const fs::path& path) {
  return {"problem.format", fmt::format("`{}` is not a problem description", path.string()), "export the module again"};
}

Status read_description(const fs::path& folder, Problem& problem) {
  const fs::path path = folder / "problem.json";
  const auto text = read_file(path);
  if (!text) return Failure{"problem.missing", text.failure().message, "export the module first"};
  const auto json = module::parse_json(*text);
  if (!json) return bad_description(path);
  FaultKeeper faults;
  const JsonCursor root(*json, faults);
  if (root.at("format").text() != format_name) return bad_description(path);
  problem.name = root.at("name").text();
  problem.source = root.at("source").text();
  problem.mode = root.at("mode").text() == "train" ? Mode::train : Mode::eval;
  for (const JsonCursor& input : root.at("inputs").items()) problem.domains.push_back(read_domain(input));
  if (faults.ok() && problem.domains.size() != problem.graph.inputs.size())
    faults.fail_schema("describes another number of inputs");
  if (faults.ok())
    if (auto draws = read_draws(root.at("draws"), folder / "draws", problem); !draws) return draws.failure();
  return faults.ok() ? ok_status() : Status(bad_description(path));
}

}  // namespace

Result<Problem> load_bare_problem(const fs::path& pt2, Mode mode) {
  auto loaded = module::load_pt2(pt2);
  if (!loaded) return loaded.failure();
  Problem problem;
  problem.name = pt2.stem().string();
  problem.source = problem.pt2_path = pt2.string();
  problem.mode = mode;
  problem.loaded = std::make_shared<module::LoadedModule>(std::move(*loaded));
  auto graph = import_program(problem.loaded->program);
  if (!graph) return graph.failure();
  problem.graph = std::move(*graph);
  return problem;
}

Result<Problem> load_problem(const fs::path& folder) {
  auto problem = load_bare_problem(folder / "model.pt2", Mode::eval);
  if (!problem) return problem.failure();
  if (auto read = read_description(folder, *problem); !read) return read.failure();
  return std::move(*problem);
}

std::map<std::string, Tensor> Problem::params() const {
  std::map<std::string, Tensor> params;
  for (const ParamInfo& info : graph.params) params.emplace(info.name, loaded->weights.tensors.at(info.name));
  return params;
}

}  // namespace kw::graph
