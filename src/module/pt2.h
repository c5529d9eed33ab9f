#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"
#include "module/program.h"

namespace kw::module {

/// Reads a `.pt2` archive written by torch 2.8 to 2.14 (schema major 8), without libtorch. Pickled members
/// (torch 2.8 pickled the weights) may hold tensors and plain values; nothing is called.
/// fails: pt2.missing, pt2.not_zip, pt2.not_pt2, pt2.truncated, pt2.hostile (bomb, escape, overlap, range),
///        pt2.schema, pt2.dynamic_shape, pt2.dtype, pt2.higher_order
Result<LoadedModule> load_pt2(const std::filesystem::path& path);

/// The same from memory; `owner` keeps `bytes` alive, and the loaded tensors share it.
Result<LoadedModule> load_pt2(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner);

}  // namespace kw::module
