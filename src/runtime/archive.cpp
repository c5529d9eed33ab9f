#include "runtime/archive.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/program.h"

namespace kw::runtime {
namespace {

constexpr uint32_t end_signature = 0x06054b50, entry_signature = 0x02014b50, local_signature = 0x04034b50;
constexpr size_t end_bytes = 22, entry_bytes = 46, local_bytes = 30;

template <class T>
T number_at(std::string_view bytes, uint64_t offset) {
  T value{};
  if (offset <= bytes.size() && sizeof value <= bytes.size() - offset)
    std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// The end record: our packer writes no comment, so it is the file's last bytes.
bool central_directory(std::string_view zip, uint64_t& offset, int& entries) {
  if (zip.size() < end_bytes || number_at<uint32_t>(zip, zip.size() - end_bytes) != end_signature) return false;
  const uint64_t at = zip.size() - end_bytes;
  entries = number_at<uint16_t>(zip, at + 10);
  offset = number_at<uint32_t>(zip, at + 16);
  return offset < at;
}

std::string_view member_content(std::string_view zip, uint64_t entry) {
  const uint16_t method = number_at<uint16_t>(zip, entry + 10);
  const uint64_t bytes = number_at<uint32_t>(zip, entry + 24), local = number_at<uint32_t>(zip, entry + 42);
  if (method != 0 || number_at<uint32_t>(zip, local) != local_signature) return {};
  const uint64_t data =
      local + local_bytes + number_at<uint16_t>(zip, local + 26) + number_at<uint16_t>(zip, local + 28);
  if (data > zip.size() || bytes > zip.size() - data) return {};
  return zip.substr(data, bytes);
}

void put(std::string& out, const Extent& extent) {
  out += std::to_string(extent.offset) + " " + std::to_string(extent.bytes) + " ";
}

bool read_extent(Fields& in, uint64_t file_bytes, Extent& extent) {
  return in.size(extent.offset, file_bytes) && in.size(extent.bytes, file_bytes - extent.offset);
}

bool read_weight(Fields& in, uint64_t file_bytes, Weight& weight) {
  std::string_view dtype, kind;
  uint64_t rank = 0;
  if (!in.name(weight.name) || !in.word(dtype) || !in.word(kind) || !read_extent(in, file_bytes, weight.place))
    return false;
  uint64_t bytes = dtype_bytes(dtype);
  if (bytes == 0 || (kind != "weight" && kind != "state") || !in.size(rank, 64)) return false;
  weight.dtype = dtype;
  weight.state = kind == "state";
  for (uint64_t i = 0; i < rank; ++i) {
    uint64_t extent = 0;
    if (!in.size(extent, file_bytes) || __builtin_mul_overflow(bytes, extent, &bytes)) return false;
    weight.shape.push_back(static_cast<int64_t>(extent));
  }
  return bytes == weight.place.bytes && in.end_line();
}

bool read_limit(Fields& in, IndexLimit& limit) {
  uint64_t input = 0;
  if (!in.size(input, 4096) || !in.number(limit.lowest) || !in.number(limit.below)) return false;
  limit.input = static_cast<int>(input);
  return in.end_line();
}

bool read_variant(Fields& in, uint64_t file_bytes, Variant& variant) {
  return in.name(variant.isa) && read_extent(in, file_bytes, variant.program) &&
         read_extent(in, file_bytes, variant.binary) && in.end_line();
}

}  // namespace

FileMap::~FileMap() {
  if (data_) ::munmap(data_, bytes_);
}

bool FileMap::open(const char* path, std::string& why) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) {
    why = fd < 0 ? std::strerror(errno) : "it is no regular file or empty";
    if (fd >= 0) ::close(fd);
    return false;
  }
  bytes_ = static_cast<uint64_t>(status.st_size);
  void* mapped = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (mapped == MAP_FAILED) {
    why = std::strerror(errno);
    return false;
  }
  data_ = static_cast<char*>(mapped);
  return true;
}

std::string_view find_stored(std::string_view zip, std::string_view name) {
  uint64_t at = 0;
  int entries = 0;
  if (!central_directory(zip, at, entries)) return {};
  for (int i = 0; i < entries; ++i) {
    if (number_at<uint32_t>(zip, at) != entry_signature) return {};
    const uint64_t name_bytes = number_at<uint16_t>(zip, at + 28);
    if (at + entry_bytes + name_bytes > zip.size()) return {};
    if (zip.substr(at + entry_bytes, name_bytes) == name) return member_content(zip, at);
    at += entry_bytes + name_bytes + number_at<uint16_t>(zip, at + 30) + number_at<uint16_t>(zip, at + 32);
  }
  return {};
}

std::string encode_index(const Index& index) {
  std::string out = "kernelwright-index 1 " + std::to_string(index.threads) + "\n";
  out += "weights " + std::to_string(index.weights.size()) + "\n";
  for (const Weight& weight : index.weights) {
    out += escape(weight.name) + " " + weight.dtype + (weight.state ? " state " : " weight ");
    put(out, weight.place);
    out += std::to_string(weight.shape.size());
    for (int64_t extent : weight.shape) out += " " + std::to_string(extent);
    out += "\n";
  }
  out += "limits " + std::to_string(index.limits.size()) + "\n";
  for (const IndexLimit& limit : index.limits)
    out += std::to_string(limit.input) + " " + std::to_string(limit.lowest) + " " + std::to_string(limit.below) + "\n";
  out += "variants " + std::to_string(index.variants.size()) + "\n";
  for (const Variant& variant : index.variants) {
    out += escape(variant.isa) + " ";
    put(out, variant.program);
    put(out, variant.binary);
    out.back() = '\n';
  }
  return out + "end\n";
}

bool decode_index(std::string_view text, uint64_t file_bytes, Index& index) {
  Fields in(text);
  int64_t version = 0;
  uint64_t threads = 0, count = 0;
  if (!in.expect("kernelwright-index") || !in.number(version) || version != 1) return false;
  if (!in.size(threads, 1024) || !in.end_line()) return false;
  index.threads = static_cast<int>(threads);
  if (!in.expect("weights") || !in.size(count, 1 << 20) || !in.end_line()) return false;
  for (uint64_t i = 0; i < count; ++i) {
    index.weights.emplace_back();
    if (!read_weight(in, file_bytes, index.weights.back())) return false;
  }
  if (!in.expect("limits") || !in.size(count, 4096) || !in.end_line()) return false;
  for (uint64_t i = 0; i < count; ++i) {
    index.limits.emplace_back();
    if (!read_limit(in, index.limits.back())) return false;
  }
  if (!in.expect("variants") || !in.size(count, 16) || !in.end_line()) return false;
  for (uint64_t i = 0; i < count; ++i) {
    index.variants.emplace_back();
    if (!read_variant(in, file_bytes, index.variants.back())) return false;
  }
  return in.expect("end") && in.end_line() && in.at_end();
}

}  // namespace kw::runtime
