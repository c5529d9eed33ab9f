#include "package/zip_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include "base/hash.h"

namespace kw::package {
namespace {

constexpr uint64_t alignment = 64;
constexpr uint64_t local_bytes = 30, padding_header_bytes = 4;
constexpr uint16_t padding_id = 0x574b, version = 20, dos_date = 0x21;  // 1980-01-01: equal content, equal file

void little(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

/// What local header and central entry have in common, from the version needed to the name's length.
std::string common_fields(uint32_t crc, uint32_t bytes, size_t name_bytes) {
  std::string out;
  little(out, version, 2);
  little(out, 0, 2);  // flags
  little(out, 0, 2);  // stored
  little(out, 0, 2);  // time
  little(out, dos_date, 2);
  little(out, crc, 4);
  little(out, bytes, 4);
  little(out, bytes, 4);
  little(out, name_bytes, 2);
  return out;
}

uint32_t checksum(std::string_view content) {
  return static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()));
}

}  // namespace

ZipWriter::ZipWriter(std::filesystem::path path)
    : path_(std::move(path)),
      partial_(path_.string() + fmt::format(".{}.partial", ::getpid())),
      file_(partial_, std::ios::binary) {}

ZipWriter::~ZipWriter() {
  if (finished_) return;
  file_.close();
  std::error_code ignored;
  std::filesystem::remove(partial_, ignored);
}

Failure ZipWriter::failed(std::string_view what) const {
  return {"package.write", fmt::format("the package `{}` cannot be written: {}", path_.string(), what),
          "choose a folder that you may write to, with enough space"};
}

void ZipWriter::put(std::string_view bytes) {
  file_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  at_ += bytes.size();
}

Result<uint64_t> ZipWriter::add(const std::string& name, std::string_view content) {
  constexpr uint64_t limit = 0xfffffff0u;
  if (content.size() > limit || at_ + content.size() + 4096 > limit || entries_.size() >= 65534)
    return Failure{"package.large", "a package holds at most 4 GiB", "a module of that size cannot be packed yet"};
  const Entry entry{name, checksum(content), static_cast<uint32_t>(content.size()), static_cast<uint32_t>(at_)};
  const uint64_t unpadded = at_ + local_bytes + name.size() + padding_header_bytes;
  const uint64_t padding = (alignment - unpadded % alignment) % alignment;
  std::string header;
  little(header, 0x04034b50, 4);
  header += common_fields(entry.crc, entry.bytes, name.size());
  little(header, padding_header_bytes + padding, 2);
  header += name;
  little(header, padding_id, 2);
  little(header, padding, 2);
  header.append(padding, '\0');
  put(header);
  const uint64_t offset = at_;
  put(content);
  if (!file_) return failed(std::generic_category().message(errno));
  entries_.push_back(entry);
  hashes_[name] = sha256(content);
  return offset;
}

Status ZipWriter::finish() {
  const uint64_t directory = at_;
  for (const Entry& entry : entries_) {
    std::string header;
    little(header, 0x02014b50, 4);
    little(header, version, 2);
    header += common_fields(entry.crc, entry.bytes, entry.name.size());
    little(header, 0, 2);  // extra
    little(header, 0, 2);  // comment
    little(header, 0, 2);  // disk
    little(header, 0, 2);  // internal attributes
    little(header, 0, 4);  // external attributes
    little(header, entry.offset, 4);
    put(header + entry.name);
  }
  std::string end;
  little(end, 0x06054b50, 4);
  little(end, 0, 4);
  little(end, entries_.size(), 2);
  little(end, entries_.size(), 2);
  little(end, at_ - directory, 4);
  little(end, directory, 4);
  little(end, 0, 2);
  put(end);
  file_.close();
  if (!file_) return failed(std::generic_category().message(errno));
  if (const int fd = ::open(partial_.c_str(), O_RDONLY); fd >= 0) {
    ::fsync(fd);
    ::close(fd);
  }
  std::error_code error;
  std::filesystem::rename(partial_, path_, error);
  if (error) return failed(error.message());
  finished_ = true;
  return ok_status();
}

}  // namespace kw::package
