#pragma once
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "module/program.h"
#include "module/zip.h"

namespace kw::module {

/// A `.pt2` archive's place in memory.
struct OpenArchive {
  std::shared_ptr<const void> owner;  // keeps bytes alive
  std::span<const std::byte> bytes;
  ZipArchive zip;
  std::string root;   // common folder of all members, with its slash
  std::string model;  // name of the program in it
};

/// An archive of torch.save inside an archive.
struct SavedArchive {
  std::shared_ptr<std::byte[]> owner;  // of its bytes where they had to be unpacked
  ZipArchive zip;
  std::string root;  // folder of data.pkl, with its slash
  std::shared_ptr<std::string> text;
  std::span<const std::byte> pickle;  // of data.pkl, a view of `text`
};
/// fails: pt2.hostile, pt2.truncated
Result<SavedArchive> open_saved(const ZipArchive& outer, const ZipMember& member);

/// PyTorch unpickles the weights, constants and sample inputs that are pickled, which may run anything: each must
/// hold tensors and plain values alone. fails: pt2.hostile, pt2.truncated
Status check_pickles(const ZipArchive& zip);

/// Reads parameters, buffers and constants: raw blobs with a JSON config, as torch 2.9 on writes them, or pickled, as
/// torch 2.8 did.
/// fails: pt2.schema, pt2.truncated, pt2.hostile, pt2.dtype
Result<WeightTable> read_weights(const OpenArchive& archive);

}  // namespace kw::module
