#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kw {

Result<std::string> read_file(const std::filesystem::path& path, size_t limit_bytes = size_t{1} << 32);
/// Writes to a temporary beside `path`, syncs, renames: a reader sees the old file or the whole new one.
Status write_file_atomic(const std::filesystem::path& path, std::string_view content);

/// A read-only, private mapping of a whole file.
class MappedFile {
 public:
  static Result<std::shared_ptr<MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }

 private:
  MappedFile(const std::byte* data, size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  const std::byte* data_;
  size_t size_bytes_;
};

/// A directory under $TMPDIR, removed with its content on destruction.
class TempDir {
 public:
  explicit TempDir(std::string_view prefix = "kernelwright");
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace kw
