#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kw::module {

struct ZipMember {
  std::string name;
  bool deflated = false;
  uint32_t crc32 = 0;
  size_t packed_bytes = 0;
  size_t size_bytes = 0;
  size_t header_offset = 0;
  size_t data_offset = 0;
};

/// Reads a zip archive from memory that the caller keeps alive. Nothing is trusted: names stay inside the archive,
/// members neither overlap nor leave the file, declared sizes are possible and their sum is bounded.
class ZipArchive {
 public:
  /// fails: pt2.not_zip, pt2.truncated, pt2.hostile
  static Result<ZipArchive> open(std::span<const std::byte> bytes);

  const std::vector<ZipMember>& members() const { return members_; }
  /// The member of that exact name, or null.
  const ZipMember* find(std::string_view name) const;
  /// The bytes as they stand in the file; of a stored member that is its content.
  std::span<const std::byte> packed(const ZipMember& member) const;
  /// Writes the content of `member` to `out` (size_bytes long). fails: pt2.hostile
  Status unpack(const ZipMember& member, std::byte* out) const;
  /// The content as text, its checksum compared. fails: pt2.hostile (larger than limit_bytes), pt2.truncated (checksum)
  Result<std::string> read_text(const ZipMember& member, size_t limit_bytes) const;

 private:
  std::span<const std::byte> bytes_;
  std::vector<ZipMember> members_;  // sorted by name
};

}  // namespace kw::module
