#include "emulator/front/dialect.h"

#include <algorithm>

namespace kw::emulator {
namespace {

constexpr const char* metal_defines[] = {"__METAL__=1",
                                         "__METAL_VERSION__=320",
                                         "__METAL_MACOS__=1",
                                         "__HAVE_BFLOAT__=1",
                                         "__HAVE_SIMDGROUP_MATRIX__=1",
                                         "__METAL_FAST_MATH__=1",
                                         "__METAL_PRECISE_MATH__=0",
                                         "__METAL_MAYBE_FAST_MATH__=0"};
// As nvcc 13 says when it compiles for a Hopper chip.
constexpr const char* cuda_defines[] = {"__CUDACC__=1",
                                        "__NVCC__=1",
                                        "__CUDA_ARCH__=900",
                                        "__CUDA_ARCH_LIST__=900",
                                        "__CUDACC_VER_MAJOR__=13",
                                        "__CUDACC_VER_MINOR__=0",
                                        "__CUDACC_VER_BUILD__=0",
                                        "CUDART_VERSION=13000",
                                        "CUDA_VERSION=13000"};
constexpr std::string_view metal_extensions[] = {".metal"}, cuda_extensions[] = {".cu", ".cuh"};

constexpr DialectRow rows[] = {
    {Dialect::metal, "metal", "Metal", "msl", "Apple's compiler would refuse", "kernel", "metal.h", "macros.h",
     "shadow", "c++17", metal_defines, metal_extensions, metal_words},
    {Dialect::cuda, "cuda", "CUDA", "cuda", "the emulator refuses", "__global__", "cuda/cuda.h", "cuda/macros.h",
     "shadow-cuda", "c++17", cuda_defines, cuda_extensions, cuda_words},
};

}  // namespace

std::span<const DialectRow> dialects() { return rows; }

const DialectRow& row_of(Dialect dialect) { return rows[static_cast<size_t>(dialect)]; }

std::optional<Dialect> dialect_named(std::string_view name) {
  for (const DialectRow& row : rows)
    if (row.name == name) return row.dialect;
  return std::nullopt;
}

std::optional<Dialect> dialect_of_file(const std::filesystem::path& file) {
  const std::string extension = file.extension().string();
  for (const DialectRow& row : rows)
    if (std::find(row.extensions.begin(), row.extensions.end(), extension) != row.extensions.end()) return row.dialect;
  return std::nullopt;
}

}  // namespace kw::emulator
