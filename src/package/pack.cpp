#include "package/pack.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "graph/analysis.h"
#include "package/c_header.h"
#include "package/readme.h"
#include "package/zip_writer.h"
#include "runtime/archive.h"
#include "target/cpu/program_of.h"

namespace kw::package {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t draws_limit_bytes = 64u << 20;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

json shape_rows(const std::vector<kernel::Signature::Slot>& slots) {
  json rows = json::array();
  for (const auto& slot : slots) rows.push_back({{"dtype", std::string(name_of(slot.dtype))}, {"shape", slot.shape}});
  return rows;
}

json plain_value(const module::Argument& argument) {
  return std::visit(
      [](const auto& value) -> json {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, int64_t> || std::is_same_v<T, double> ||
                      std::is_same_v<T, std::string> || std::is_same_v<T, std::vector<int64_t>> ||
                      std::is_same_v<T, std::vector<double>> || std::is_same_v<T, std::vector<bool>>)
          return value;
        else
          return nullptr;
      },
      argument);
}

/// forward's results in the order of the output structure's leaves: a kernel output, or a constant.
json output_slots(const module::Program& program) {
  json slots = json::array();
  int tensor = 0;
  for (const auto& output : program.outputs) {
    if (output.kind != module::OutputKind::user) continue;
    if (std::holds_alternative<module::TensorRef>(output.value))
      slots.push_back({{"tensor", tensor++}});
    else
      slots.push_back({{"value", plain_value(output.value)}});
  }
  return slots;
}

json fixed_inputs(const module::Program& program) {
  json fixed = json::array();
  for (const auto& input : program.inputs)
    if (input.kind == module::InputKind::user && input.fixed) fixed.push_back(plain_value(*input.fixed));
  return fixed;
}

json argument_json(const std::variant<int, int64_t, double>& argument, const std::string& type) {
  if (const int* buffer = std::get_if<int>(&argument)) return {{"buffer", *buffer}};
  if (const double* real = std::get_if<double>(&argument)) return {{"type", type}, {"value", *real}};
  return {{"type", type}, {"value", std::get<int64_t>(argument)}};
}

json launch_rows(const std::vector<kernel::BoundPlan::BoundLaunch>& launches) {
  json rows = json::array();
  for (const auto& launch : launches) {
    json args = json::array();
    for (size_t i = 0; i < launch.args.size(); ++i)
      args.push_back(argument_json(launch.args[i], launch.arg_types.at(i)));
    rows.push_back({{"kernel", launch.kernel}, {"args", args}, {"groups", launch.groups}, {"group", launch.group}});
  }
  return rows;
}

/// A bound Plan: buffers by number, launches in order, repeats unrolled.
json launches_json(const kernel::BoundPlan& bound) {
  static constexpr const char* roles[] = {"input", "parameter", "state", "prepared", "scratch", "output"};
  json buffers = json::array();
  for (const auto& buffer : bound.buffers)
    buffers.push_back({{"role", roles[static_cast<int>(buffer.role)]},
                       {"index", buffer.index},
                       {"name", buffer.parameter},
                       {"dtype", std::string(name_of(buffer.dtype))},
                       {"shape", buffer.shape}});
  return {{"format", "kernelwright-launches/1"},
          {"buffers", buffers},
          {"prepare", launch_rows(bound.prepare)},
          {"steps", launch_rows(bound.steps)}};
}

class Packer {
 public:
  Packer(const PackRequest& request, const std::string& path)
      : request_(request), zip_(path), signature_(kernel::signature_of(request.problem->graph)) {}

  Status write();

 private:
  Status add(const std::string& name, std::string_view content, uint64_t* offset = nullptr);
  Status add_archive();
  Status add_problem();
  Status add_weights();
  Status add_weight(const module::ProgramInput& input, const Tensor& tensor);
  Status add_variant(size_t number);
  Status add_metal_variant(const kernel::Candidate& candidate, const kernel::Plan& plan,
                           const kernel::BoundPlan& bound);
  bool is_metal() const { return request_.target->facts().target == "metal"; }
  json manifest() const;

  const PackRequest& request_;
  ZipWriter zip_;
  kernel::Signature signature_;
  runtime::Index index_;
  std::shared_ptr<MappedFile> archive_;
  uint64_t archive_offset_ = 0;
  json problem_ = json::object(), weights_ = json::array(), variants_ = json::array();
  bool has_dynamic_ = false;
};

Status Packer::add(const std::string& name, std::string_view content, uint64_t* offset) {
  auto at = zip_.add(name, content);
  if (!at) return at.failure();
  if (offset) *offset = *at;
  return ok_status();
}

/// The exported module, whose stored weights serve the kernels too, and its twin with free dimensions.
Status Packer::add_archive() {
  auto mapped = MappedFile::open(request_.problem->pt2_path);
  if (!mapped) return mapped.failure();
  archive_ = *mapped;
  if (Status status = add("model.pt2", text_of(archive_->bytes()), &archive_offset_); !status.ok()) return status;
  const fs::path dynamic = fs::path(request_.problem->pt2_path).parent_path() / "fallback.pt2";
  if (!fs::exists(dynamic)) return ok_status();
  auto twin = MappedFile::open(dynamic);
  if (!twin) return twin.failure();
  has_dynamic_ = true;
  return add("fallback.pt2", text_of((*twin)->bytes()));
}

/// problem.json and as many draws of the inputs as are small, so that `verify` and `bench` need nothing else.
Status Packer::add_problem() {
  const fs::path folder = fs::path(request_.problem->pt2_path).parent_path();
  if (auto text = read_file(folder / "problem.json"); text) problem_ = json::parse(*text, nullptr, false);
  if (!problem_.is_object()) problem_ = json::object();
  json kept = json::array();
  size_t bytes = 0;
  for (const json& draw : problem_.value("draws", json::array())) {
    std::vector<std::string> contents;
    for (const json& name : draw) {
      auto content = read_file(folder / "draws" / name.get<std::string>());
      if (!content) return content.failure();
      bytes += content->size();
      contents.push_back(std::move(*content));
    }
    if (bytes > draws_limit_bytes) break;
    kept.push_back(draw);
    for (size_t i = 0; i < contents.size(); ++i)
      if (Status status = add("draws/" + draw[i].get<std::string>(), contents[i]); !status.ok()) return status;
  }
  problem_["draws"] = kept;
  return add("problem.json", problem_.dump(1));
}

Status Packer::add_weight(const module::ProgramInput& input, const Tensor& tensor) {
  static constexpr const char* kinds[] = {"user", "parameter", "buffer", "constant"};
  const size_t bytes = tensor.bytes();
  const auto& known = request_.problem->loaded->weights.file_offsets;
  const auto at = known.find(input.fqn);
  uint64_t offset = 0;
  const bool inside = at != known.end() && at->second + bytes <= archive_->bytes().size() &&
                      std::memcmp(archive_->bytes().data() + at->second, tensor.data, bytes) == 0;
  if (inside) {
    offset = archive_offset_ + at->second;
  } else {
    const std::string_view content(reinterpret_cast<const char*>(tensor.data), bytes);
    if (Status status = add(fmt::format("weights/{}", weights_.size()), content, &offset); !status.ok()) return status;
  }
  const auto& states = signature_.states;
  const bool state = std::find(states.begin(), states.end(), input.fqn) != states.end();
  const std::string dtype(name_of(tensor.dtype));
  index_.weights.push_back({input.fqn, dtype, state, tensor.shape, {offset, bytes}});
  weights_.push_back({{"name", input.fqn},
                      {"dtype", dtype},
                      {"shape", tensor.shape},
                      {"kind", kinds[static_cast<int>(input.kind)]},
                      {"persistent", input.persistent},
                      {"offset", offset},
                      {"bytes", bytes}});
  return ok_status();
}

Status Packer::add_weights() {
  const auto& loaded = *request_.problem->loaded;
  for (const auto& input : loaded.program.inputs) {
    if (input.kind == module::InputKind::user) continue;
    const auto at = loaded.weights.tensors.find(input.fqn);
    const bool seen =
        std::any_of(index_.weights.begin(), index_.weights.end(), [&](const auto& w) { return w.name == input.fqn; });
    if (at == loaded.weights.tensors.end() || seen) continue;
    if (!at->second.data && at->second.bytes() > 0)
      return Failure{"package.weights", "a module without weights cannot be packed",
                     "export it with its parameters' data"};
    if (Status status = add_weight(input, at->second); !status.ok()) return status;
  }
  return ok_status();
}

Status Packer::add_variant(size_t number) {
  const kernel::Candidate& candidate = request_.variants[number];
  auto plan = kernel::parse_plan(candidate.plan_json);
  if (!plan) return plan.failure();
  auto bound = kernel::bind_plan(*plan, signature_, request_.target->limits());
  if (!bound) return bound.failure();
  kernel::resolve_dtypes(*plan, *bound);
  auto compiled = request_.target->compile(candidate.source, *plan);
  if (!compiled) return compiled.failure();
  if (is_metal()) return add_metal_variant(candidate, *plan, *bound);
  auto binary = read_file(compiled->binary_path);
  if (!binary) return binary.failure();
  const std::string program = runtime::encode(target::program_of(*bound));
  const std::string stem = "kernels/" + compiled->isa;
  runtime::Variant variant{compiled->isa, {0, program.size()}, {0, binary->size()}};
  for (const Status& status :
       {add(stem + ".cpp", candidate.source), add(stem + ".plan.json", candidate.plan_json),
        add(stem + ".program", program, &variant.program.offset), add(stem + ".so", *binary, &variant.binary.offset)})
    if (!status.ok()) return status;
  index_.variants.push_back(variant);
  variants_.push_back({{"isa", compiled->isa},
                       {"source", stem + ".cpp"},
                       {"plan", stem + ".plan.json"},
                       {"program", stem + ".program"},
                       {"binary", stem + ".so"},
                       {"author", candidate.author},
                       {"notes", candidate.notes},
                       {"guards", plan->guards}});
  return ok_status();
}

/// Metal's source is canonical; the launches come with their sizes worked out, so that a loader needs no arithmetic.
Status Packer::add_metal_variant(const kernel::Candidate& candidate, const kernel::Plan& plan,
                                 const kernel::BoundPlan& bound) {
  const std::string stem = "kernels/msl";
  for (const Status& status : {add(stem + ".metal", candidate.source), add(stem + ".plan.json", candidate.plan_json),
                               add(stem + ".launches.json", launches_json(bound).dump(1))})
    if (!status.ok()) return status;
  variants_.push_back({{"isa", "msl"},
                       {"source", stem + ".metal"},
                       {"plan", stem + ".plan.json"},
                       {"launches", stem + ".launches.json"},
                       {"author", candidate.author},
                       {"notes", candidate.notes},
                       {"guards", plan.guards}});
  return ok_status();
}

json Packer::manifest() const {
  const graph::Problem& problem = *request_.problem;
  json out = {{"format", "kernelwright-package/1"},
              {"kernelwright", "0.1.0"},
              {"name", problem.name},
              {"target", request_.target->facts().target},
              {"verdict", request_.verdict},
              {"mode", problem.mode == graph::Mode::train ? "train" : "eval"},
              {"threads", request_.threads},
              {"inputs", shape_rows(signature_.inputs)},
              {"outputs", shape_rows(signature_.outputs)},
              {"weights", weights_},
              {"states", signature_.states},
              {"fixed_inputs", fixed_inputs(problem.loaded->program)},
              {"output_slots", output_slots(problem.loaded->program)},
              {"fallback", "model.pt2"},
              {"problem", problem_},
              {"variants", variants_},
              {"files", zip_.hashes()}};
  out["fallback_dynamic"] = has_dynamic_ ? json("fallback.pt2") : json(nullptr);
  const json result = json::parse(request_.result_json.empty() ? "{}" : request_.result_json, nullptr, false);
  out["result"] = result.is_object() ? result : json::object();
  return out;
}

Status Packer::write() {
  for (Status (Packer::*part)() : {&Packer::add_archive, &Packer::add_problem, &Packer::add_weights})
    if (Status status = (this->*part)(); !status.ok()) return status;
  for (size_t i = 0; i < request_.variants.size(); ++i)
    if (Status status = add_variant(i); !status.ok()) return status;
  index_.threads = request_.threads;
  for (const graph::IndexLimit& limit : graph::index_limits(request_.problem->graph))
    index_.limits.push_back({limit.input, limit.lowest, limit.below});
  for (const Status& status : {add(std::string(runtime::index_name), runtime::encode_index(index_)),
                               add("kernelwright.h", c_header()), add("run_package.c", c_example()),
                               add("certificate.json", request_.certificate.empty() ? "{}" : request_.certificate)})
    if (!status.ok()) return status;
  if (Status status = add("README.md", readme_text(manifest().dump())); !status.ok()) return status;
  if (Status status = add("manifest.json", manifest().dump(1)); !status.ok()) return status;
  return zip_.finish();
}

}  // namespace

Status pack(const PackRequest& request, const std::string& path) {
  if (Status status = check_writable(path); !status.ok()) return status;
  return Packer(request, path).write();
}

Status check_writable(const std::string& path) {
  const fs::path folder = fs::absolute(path).parent_path();
  std::error_code error;
  const bool blocked = fs::is_directory(path, error) || (fs::exists(path, error) && ::access(path.c_str(), W_OK) != 0);
  if (!blocked && fs::is_directory(folder, error) && ::access(folder.c_str(), W_OK) == 0) return ok_status();
  return Failure{"package.write", fmt::format("the package `{}` cannot be written", path),
                 "choose a folder that exists and that you may write to"};
}

}  // namespace kw::package
