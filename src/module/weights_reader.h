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

/// Reads parameters, buffers and constants: raw blobs with a JSON config, as torch 2.9 on writes them.
/// fails: pt2.schema, pt2.truncated, pt2.hostile, pt2.dtype
Result<WeightTable> read_weights(const OpenArchive& archive);

}  // namespace kw::module
