#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kw::package {

/// Writes a zip archive whose members are stored, each starting at a multiple of 64 bytes, so that a mapped file can be
/// used where it lies. The archive appears under its name only when finish() succeeds.
class ZipWriter {
 public:
  explicit ZipWriter(std::filesystem::path path);
  ~ZipWriter();
  ZipWriter(const ZipWriter&) = delete;
  ZipWriter& operator=(const ZipWriter&) = delete;

  /// Returns the offset of the content from the file's start.
  /// fails: package.write (disk full, no right), package.large (4 GiB, or 65535 members)
  Result<uint64_t> add(const std::string& name, std::string_view content);
  Status finish();
  /// SHA-256 of every member added so far.
  const std::map<std::string, std::string>& hashes() const { return hashes_; }

 private:
  struct Entry {
    std::string name;
    uint32_t crc = 0, bytes = 0, offset = 0;
  };
  Failure failed(std::string_view what) const;
  void put(std::string_view bytes);

  std::filesystem::path path_, partial_;
  std::ofstream file_;
  uint64_t at_ = 0;
  std::vector<Entry> entries_;
  std::map<std::string, std::string> hashes_;
  bool finished_ = false;
};

}  // namespace kw::package
