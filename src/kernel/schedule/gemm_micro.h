#pragma once
#include <string>

#include "base/dtype.h"

/// The innermost parts of matrix kernels as C++ text: register tile and panel transpose. They are functions of their
/// own, never inlined, because a compiler keeps the accumulators in registers only when it sees nothing else.
namespace kw::kernel::schedule {

/// A register tile of mr rows (broadcast from memory) by nv vectors.
struct MicroShape {
  int mr = 8, nv = 3;
  int lanes = 16;
  DType dtype = DType::f32;
  int width() const { return nv * lanes; }
};

/// Vectors that fit beside each other for `mr` rows: accumulators, one line of columns and one broadcast in registers.
int widest_nv(int mr, int vector_registers);

/// void NAME(const T* a, i64 ao, const T* b, i64 bo, T* t, i64 to, i64 kc, i64 k0):
/// t[to + i*width + j] = sum over k < kc of a[ao + k*mr + i] * b[bo + k*width + j], added to what is there if k0 > 0.
std::string micro_text(const std::string& name, const MicroShape& shape);

/// void NAME(const T* from, T* to, i64 base): to[base + k*width + i] = from[i*lanes + k] for k < lanes, i < width.
std::string transpose_text(const std::string& name, int width, int lanes, DType dtype);

}  // namespace kw::kernel::schedule
