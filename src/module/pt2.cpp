#include "module/pt2.h"

#include <fmt/format.h>

#include "base/file.h"
#include "module/program_reader.h"
#include "module/weights_reader.h"

namespace kw::module {
namespace {

constexpr size_t max_program_bytes = size_t{512} << 20;

Failure not_pt2(std::string message) {
  return {"pt2.not_pt2", std::move(message), "give a file that torch.export.save wrote (torch 2.8 to 2.14)"};
}

Failure bad_program(std::string message) {
  return {"pt2.schema", std::move(message), "export it again with torch 2.8 to 2.14"};
}

/// The programs in the archive: members "<root>models/<name>.json".
std::vector<std::pair<std::string, std::string>> find_programs(const ZipArchive& zip) {
  std::vector<std::pair<std::string, std::string>> found;
  constexpr std::string_view folder = "models/", suffix = ".json";
  for (const ZipMember& member : zip.members()) {
    const std::string& name = member.name;
    const size_t slash = name.rfind('/');
    if (slash == name.npos || !name.ends_with(suffix)) continue;
    const std::string parent = name.substr(0, slash + 1);
    if (!parent.ends_with(folder)) continue;
    const std::string root = parent.substr(0, parent.size() - folder.size());
    const bool at_root = root.empty() || root.find('/') == root.size() - 1;
    if (at_root) found.emplace_back(root, name.substr(slash + 1, name.size() - slash - 1 - suffix.size()));
  }
  return found;
}

Failure explain_no_program(const ZipArchive& zip) {
  for (const ZipMember& member : zip.members()) {
    if (member.name.ends_with("serialized_exported_program.json"))
      return bad_program("the archive was written by torch 2.7 or older");
    if (member.name.ends_with("archive/data.pkl") || member.name.ends_with("/data.pkl"))
      return not_pt2("the file is a torch.save or TorchScript archive, no exported program");
  }
  return not_pt2("the zip archive holds no exported program");
}

/// Chooses the program: the only one, or the one named "model".
Result<OpenArchive> open_archive(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner) {
  auto zip = ZipArchive::open(bytes);
  if (!zip) return zip.failure();
  const auto programs = find_programs(*zip);
  if (programs.empty()) return explain_no_program(*zip);
  auto chosen = programs.front();
  for (const auto& program : programs)
    if (program.second == "model") chosen = program;
  if (programs.size() > 1 && chosen.second != "model")
    return not_pt2("the archive holds several programs and none is named `model`");
  return OpenArchive{owner, bytes, std::move(*zip), chosen.first, chosen.second};
}

Status check_byte_order(const OpenArchive& archive) {
  const ZipMember* member = archive.zip.find(archive.root + "byteorder");
  if (!member) return ok_status();
  const auto order = archive.zip.read_text(*member, 16);
  if (!order) return order.failure();
  return *order == "little" ? ok_status() : Status(bad_program("the archive's numbers are not little-endian"));
}

Result<Program> read_model_json(const OpenArchive& archive) {
  const std::string name = archive.root + "models/" + archive.model + ".json";
  const auto text = archive.zip.read_text(*archive.zip.find(name), max_program_bytes);
  if (!text) return text.failure();
  const auto json = parse_json(*text);
  if (!json) return bad_program(fmt::format("the member `{}` is not JSON", name));
  return read_program(*json);
}

/// Each parameter, buffer and constant of the program is stored, with the shape that the program states.
Status check_agreement(const Program& program, const WeightTable& weights) {
  for (const ProgramInput& input : program.inputs) {
    if (input.kind == InputKind::user) continue;
    const auto stored = weights.metas.find(input.fqn);
    if (stored == weights.metas.end())
      return bad_program(fmt::format("the archive lacks the values of `{}`", input.fqn));
    const TensorMeta& stated = program.tensors.at(input.tensor);
    if (stored->second.dtype != stated.dtype || stored->second.shape != stated.shape)
      return bad_program(fmt::format("the program and the archive disagree about the shape of `{}`", input.fqn));
  }
  return ok_status();
}

}  // namespace

Result<LoadedModule> load_pt2(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  if (!file) return Failure{"pt2.missing", file.failure().message, file.failure().hint};
  return load_pt2((*file)->bytes(), *file);
}

Result<LoadedModule> load_pt2(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner) {
  const auto archive = open_archive(bytes, owner);
  if (!archive) return archive.failure();
  if (auto order = check_byte_order(*archive); !order) return order.failure();
  if (auto pickles = check_pickles(archive->zip); !pickles) return pickles.failure();
  auto program = read_model_json(*archive);
  if (!program) return program.failure();
  auto weights = read_weights(*archive);
  if (!weights) return weights.failure();
  if (auto agree = check_agreement(*program, *weights); !agree) return agree.failure();
  return LoadedModule{std::move(*program), std::move(*weights)};
}

}  // namespace kw::module
