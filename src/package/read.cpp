#include "package/read.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "graph/load_problem.h"
#include "module/zip.h"
#include "package/readme.h"
#include "runtime/archive.h"

namespace kw::package {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t text_limit_bytes = 64u << 20;
constexpr const char* format_prefix = "kernelwright-package/";

Failure damaged(const std::string& path, std::string_view what) {
  return {"package.damaged", fmt::format("`{}` is no package, or is damaged: {}", path, what),
          "make it again with `kernelwright optimize`"};
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Every listed member is there with its hash, and nothing else is.
Status check_members(const std::string& path, const module::ZipArchive& zip, const json& files) {
  for (const auto& member : zip.members()) {
    if (member.name == "manifest.json") continue;
    if (!files.contains(member.name)) return damaged(path, fmt::format("{} is not in the manifest", member.name));
    const json& hash = files[member.name];
    if (member.deflated || !hash.is_string() || sha256(zip.packed(member)) != hash.get<std::string>())
      return damaged(path, fmt::format("{} was changed", member.name));
  }
  for (const auto& [name, hash] : files.items())
    if (!zip.find(name)) return damaged(path, fmt::format("{} is missing", name));
  return ok_status();
}

std::string stored_text(const module::ZipArchive& zip, const std::string& name) {
  const auto* member = zip.find(name);
  return member ? std::string(text_of(zip.packed(*member))) : "";
}

bool has_type(const json& object, const char* key, json::value_t type) {
  return object.contains(key) && object[key].type() == type;
}

Status check_manifest(const std::string& path, const json& manifest) {
  if (!manifest.is_object() || !has_type(manifest, "format", json::value_t::string))
    return damaged(path, "its manifest cannot be read");
  const auto format = manifest["format"].get<std::string>();
  if (format.rfind(format_prefix, 0) != 0) return damaged(path, "its manifest is of another kind");
  if (format != "kernelwright-package/1")
    return Failure{"package.format", fmt::format("`{}` has the format {}, and this version reads 1", path, format),
                   "use a newer kernelwright"};
  for (const char* key : {"verdict", "name", "mode"})
    if (!has_type(manifest, key, json::value_t::string))
      return damaged(path, fmt::format("its manifest has no {}", key));
  for (const char* key : {"variants", "weights", "inputs", "outputs"})
    if (!has_type(manifest, key, json::value_t::array))
      return damaged(path, fmt::format("its manifest has no {}", key));
  if (!has_type(manifest, "files", json::value_t::object)) return damaged(path, "its manifest has no files");
  return ok_status();
}

Result<OpenedPackage::Variant> read_variant(const std::string& path, const module::ZipArchive& zip, const json& row) {
  for (const char* key : {"isa", "source", "plan"})
    if (!row.is_object() || !has_type(row, key, json::value_t::string)) return damaged(path, "a variant is incomplete");
  return OpenedPackage::Variant{row["isa"], stored_text(zip, row["source"]), stored_text(zip, row["plan"])};
}

Status check_index(const std::string& path, const module::ZipArchive& zip, size_t file_bytes) {
  runtime::Index index;
  if (!runtime::decode_index(stored_text(zip, std::string(runtime::index_name)), file_bytes, index))
    return damaged(path, "its index of kernels cannot be read");
  return ok_status();
}

Status write_members(const module::ZipArchive& zip, const fs::path& folder) {
  for (const auto& member : zip.members()) {
    const bool wanted = member.name == "model.pt2" || member.name == "fallback.pt2" || member.name == "problem.json" ||
                        member.name.rfind("draws/", 0) == 0;
    if (!wanted) continue;
    std::error_code ignored;
    fs::create_directories((folder / member.name).parent_path(), ignored);
    if (Status status = write_file_atomic(folder / member.name, text_of(zip.packed(member))); !status.ok())
      return status;
  }
  return ok_status();
}

}  // namespace

Result<OpenedPackage> open_package(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored))
    return Failure{"package.missing", fmt::format("cannot find the package `{}`", path), "check the path"};
  auto file = MappedFile::open(path);
  if (!file) return file.failure();
  auto zip = module::ZipArchive::open((*file)->bytes());
  if (!zip) return damaged(path, zip.failure().message);
  const auto* member = zip->find("manifest.json");
  if (!member) return damaged(path, "it has no manifest");
  auto text = zip->read_text(*member, text_limit_bytes);
  if (!text) return damaged(path, text.failure().message);
  const json manifest = json::parse(*text, nullptr, false);
  if (Status status = check_manifest(path, manifest); !status.ok()) return status.failure();
  if (Status status = check_members(path, *zip, manifest["files"]); !status.ok()) return status.failure();
  if (Status status = check_index(path, *zip, (*file)->bytes().size()); !status.ok()) return status.failure();
  const std::string target = has_type(manifest, "target", json::value_t::string) ? manifest["target"] : json("cpu");
  OpenedPackage opened{
      path, manifest["name"], manifest["verdict"], target, *text, stored_text(*zip, "certificate.json"), {}, *file};
  for (const json& row : manifest["variants"]) {
    auto variant = read_variant(path, *zip, row);
    if (!variant) return variant.failure();
    opened.variants.push_back(std::move(*variant));
  }
  return opened;
}

Result<graph::Problem> restore_problem(const OpenedPackage& opened, const fs::path& folder) {
  auto zip = module::ZipArchive::open(opened.file->bytes());
  if (!zip) return zip.failure();
  if (Status status = write_members(*zip, folder); !status.ok()) return status.failure();
  return graph::load_problem(folder);
}

std::string describe(const OpenedPackage& opened) { return readme_text(opened.manifest_json); }

}  // namespace kw::package
