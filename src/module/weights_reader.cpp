#include "module/weights_reader.h"

#include <fmt/format.h>

#include <cstring>

#include "module/json_cursor.h"
#include "module/meta_reader.h"
#include "module/pickle_reader.h"

namespace kw::module {
namespace {

constexpr size_t max_config_bytes = size_t{64} << 20;

/// A storage's bytes and what keeps them alive.
struct Blob {
  std::shared_ptr<std::byte[]> owner;
  std::span<const std::byte> bytes;
  std::optional<size_t> file_offset;  // when it lies uncompressed in the file
};

Failure out_of_range(const std::string& fqn) {
  return {"pt2.hostile", fmt::format("the tensor `{}` reaches beyond its stored bytes", fqn),
          "torch.export.save never writes such an archive; do not trust this file"};
}

/// Copies a strided view into row-major order.
void copy_dense(const TensorMeta& meta, const std::byte* storage, std::byte* out) {
  const size_t width = size_bytes(meta.dtype);
  const auto count = static_cast<size_t>(element_count(meta.shape));
  Shape index(meta.shape.size(), 0);
  int64_t at = meta.storage_offset;
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(out + i * width, storage + static_cast<size_t>(at) * width, width);
    for (size_t axis = index.size(); axis-- > 0;) {
      at += meta.strides[axis];
      if (++index[axis] < meta.shape[axis]) break;
      at -= meta.strides[axis] * meta.shape[axis];
      index[axis] = 0;
    }
  }
}

class WeightsReader {
 public:
  explicit WeightsReader(const OpenArchive& archive)
      : archive_(archive), dense_budget_bytes_((size_t{64} << 20) + 4 * archive.bytes.size()) {}

  Result<WeightTable> read() {
    read_group("data/weights/", {"_weights_config.json", "_model_param_config.json"});
    read_group("data/constants/", {"_constants_config.json"});
    if (!faults_.ok()) return faults_.failure();
    return std::move(table_);
  }

 private:
  void read_group(const std::string& folder, std::initializer_list<const char*> config_suffixes) {
    const ZipMember* pickled = archive_.zip.find(archive_.root + folder + archive_.model + ".pt");
    if (pickled) return read_pickled(*pickled);
    for (const char* suffix : config_suffixes) {
      const ZipMember* config = archive_.zip.find(archive_.root + folder + archive_.model + suffix);
      if (config && faults_.ok()) return read_config(*config, folder);
    }
  }

  /// torch 2.8: one torch.save archive inside the archive; its storages are members data/0, data/1, ...
  void read_pickled(const ZipMember& member) {
    if (member.size_bytes == 0) return;  // nothing to store
    faults_.place = "the member `" + member.name + "`";
    auto inner = open_saved(archive_.zip, member);
    if (!inner) return faults_.fail(inner.failure());
    const auto tensors = read_pickled_tensors(inner->pickle);
    if (!tensors) return faults_.fail(tensors.failure());
    for (const auto& [fqn, tensor] : *tensors) {
      table_.metas.emplace(fqn, tensor.meta);
      if (tensor.on_meta) {
        table_.tensors.emplace(fqn, Tensor{tensor.meta.dtype, tensor.meta.shape, nullptr, nullptr});
        continue;
      }
      const ZipMember* storage = inner->zip.find(inner->root + "data/" + tensor.storage);
      if (!storage || storage->deflated)
        return faults_.fail_schema(fmt::format("names the bytes of `{}`, which the archive lacks", fqn));
      Blob blob{nullptr, inner->zip.packed(*storage), {}};
      if (inner->owner)
        blob.owner = inner->owner;
      else
        blob.owner = {std::const_pointer_cast<void>(archive_.owner), const_cast<std::byte*>(archive_.bytes.data())};
      if (!inner->owner) blob.file_offset = member.data_offset + storage->data_offset;
      add_tensor(fqn, tensor.meta, blob);
    }
  }

  void read_config(const ZipMember& member, const std::string& folder) {
    faults_.place = "the member `" + member.name + "`";
    const auto text = archive_.zip.read_text(member, max_config_bytes);
    if (!text) return faults_.fail(text.failure());
    const auto json = parse_json(*text);
    if (!json) return faults_.fail_schema("is not JSON");
    for (const auto& [fqn, entry] : JsonCursor(*json, faults_).at("config").fields()) {
      if (!faults_.ok()) return;
      if (entry.has("tensor_meta") && entry.at("tensor_meta").is_null()) continue;  // an object, not a tensor
      read_entry(fqn, entry, folder);
    }
  }

  void read_entry(const std::string& fqn, const JsonCursor& entry, const std::string& folder) {
    const TensorMeta meta = read_tensor_meta(entry.at("tensor_meta"), fmt::format("parameter `{}`", fqn));
    const std::string path = archive_.root + folder + entry.at("path_name").text();
    const bool pickled = entry.at("use_pickle").boolean();
    const JsonCursor device = entry.at("tensor_meta").at("device");
    const bool on_meta = device.at("type").text() == "meta";
    if (!faults_.ok()) return;
    if (pickled)
      return faults_.fail({"pt2.schema", fmt::format("the parameter `{}` is stored as a pickled tensor subclass", fqn),
                           "export a module whose parameters are plain tensors"});
    table_.metas.emplace(fqn, meta);
    if (on_meta) {
      table_.tensors.emplace(fqn, Tensor{meta.dtype, meta.shape, nullptr, nullptr});
    } else if (const Blob* blob = find_blob(path, fqn)) {
      add_tensor(fqn, meta, *blob);
    }
  }

  /// The blob of a storage; several tensors may share one.
  const Blob* find_blob(const std::string& path, const std::string& fqn) {
    if (const auto known = blobs_.find(path); known != blobs_.end()) return &known->second;
    const ZipMember* member = archive_.zip.find(path);
    if (!member) {
      faults_.fail_schema(fmt::format("names the bytes of `{}`, which the archive lacks", fqn));
      return nullptr;
    }
    Blob blob;
    if (member->deflated) {
      blob.owner = Tensor::zeros(DType::u8, {static_cast<int64_t>(member->size_bytes)}).owner;
      if (auto done = archive_.zip.unpack(*member, blob.owner.get()); !done) {
        faults_.fail(done.failure());
        return nullptr;
      }
      blob.bytes = {blob.owner.get(), member->size_bytes};
    } else {
      blob.bytes = archive_.zip.packed(*member);
      const auto owner = std::const_pointer_cast<void>(archive_.owner);
      blob.owner = {owner, const_cast<std::byte*>(archive_.bytes.data())};
      blob.file_offset = member->data_offset;
    }
    return &blobs_.emplace(path, std::move(blob)).first->second;
  }

  /// A view of the blob where it is dense and aligned, else a dense copy.
  void add_tensor(const std::string& fqn, const TensorMeta& meta, const Blob& blob) {
    const size_t reach = reach_bytes(meta), width = size_bytes(meta.dtype);
    if (reach > blob.bytes.size()) return faults_.fail(out_of_range(fqn));
    const size_t start = static_cast<size_t>(meta.storage_offset) * width;
    const bool aligned = reinterpret_cast<uintptr_t>(blob.bytes.data()) % width == 0;
    Tensor tensor{meta.dtype, meta.shape, blob.owner, nullptr};
    if (reach > 0 && is_contiguous(meta) && aligned) {
      tensor.data = const_cast<std::byte*>(blob.bytes.data()) + start;
      if (blob.file_offset) table_.file_offsets.emplace(fqn, *blob.file_offset + start);
    } else {
      if (tensor.bytes() > dense_budget_bytes_) return faults_.fail(out_of_range(fqn));
      dense_budget_bytes_ -= tensor.bytes();
      tensor = Tensor::zeros(meta.dtype, meta.shape);
      copy_dense(meta, blob.bytes.data(), tensor.data);
    }
    table_.tensors.emplace(fqn, std::move(tensor));
  }

  const OpenArchive& archive_;
  size_t dense_budget_bytes_;  // expanded tensors must not blow a small file up
  FaultKeeper faults_;
  WeightTable table_;
  std::map<std::string, Blob> blobs_;
};

}  // namespace

Result<SavedArchive> open_saved(const ZipArchive& outer, const ZipMember& member) {
  SavedArchive saved;
  std::span<const std::byte> bytes = outer.packed(member);
  if (member.deflated) {
    saved.owner = Tensor::zeros(DType::u8, {static_cast<int64_t>(member.size_bytes)}).owner;
    if (auto done = outer.unpack(member, saved.owner.get()); !done) return done.failure();
    bytes = {saved.owner.get(), member.size_bytes};
  }
  const Failure strange{"pt2.hostile", fmt::format("the member `{}` is no archive of torch.save", member.name),
                        "torch.export.save never writes such an archive; do not trust this file"};
  auto zip = ZipArchive::open(bytes);
  if (!zip) return strange;
  saved.zip = std::move(*zip);
  constexpr std::string_view name = "data.pkl";
  for (const ZipMember& inner : saved.zip.members()) {
    if (!inner.name.ends_with(name) || inner.size_bytes > max_config_bytes) continue;
    const size_t root_length = inner.name.size() - name.size();
    if (root_length > 0 && inner.name.find('/') != root_length - 1) continue;
    auto text = saved.zip.read_text(inner, max_config_bytes);
    if (!text) return text.failure();
    saved.text = std::make_shared<std::string>(std::move(*text));
    saved.pickle = std::as_bytes(std::span(*saved.text));
    saved.root = inner.name.substr(0, root_length);
    return saved;
  }
  return strange;
}

Status check_pickles(const ZipArchive& zip) {
  for (const ZipMember& member : zip.members()) {
    const bool pickled = member.name.ends_with(".pt") || member.name.ends_with(".pkl");
    if (!pickled || member.size_bytes == 0) continue;
    const auto saved = open_saved(zip, member);
    if (!saved) return saved.failure();
    if (auto good = check_pickle(saved->pickle); !good) return good.failure();
  }
  return ok_status();
}

Result<WeightTable> read_weights(const OpenArchive& archive) { return WeightsReader(archive).read(); }

}  // namespace kw::module
