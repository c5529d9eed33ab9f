#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// A package file as the runtime sees it: mapped, with a text index that says where everything lies.
namespace kw::runtime {

/// A private, writable mapping of a whole file: states change in place without touching the file.
class FileMap {
 public:
  FileMap() = default;
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;
  bool open(const char* path, std::string& why);
  char* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  bool holds(uint64_t offset, uint64_t length) const { return offset <= bytes_ && length <= bytes_ - offset; }

 private:
  char* data_ = nullptr;
  uint64_t bytes_ = 0;
};

/// Finds a stored member of a zip archive by name. Trusts nothing. An empty view when there is none.
std::string_view find_stored(std::string_view zip, std::string_view name);

struct Extent {
  uint64_t offset = 0, bytes = 0;
};
struct Weight {
  std::string name, dtype;
  bool state = false;
  std::vector<int64_t> shape;
  Extent place;
};
/// Input number `input` holds indices: the kernels take [lowest, below) and would bring others into it unseen.
struct IndexLimit {
  int input = 0;
  int64_t lowest = 0, below = 0;
};
struct Variant {
  std::string isa;
  Extent program, binary;
};

/// The member kernels/index: what the runtime needs of a package, with offsets from the file's start.
struct Index {
  int threads = 0;
  std::vector<Weight> weights;
  std::vector<IndexLimit> limits;
  std::vector<Variant> variants;  // best first
};

constexpr std::string_view index_name = "kernels/index";
std::string encode_index(const Index& index);
/// Strict; every extent must lie inside a file of `file_bytes`.
bool decode_index(std::string_view text, uint64_t file_bytes, Index& index);

}  // namespace kw::runtime
