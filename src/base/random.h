#pragma once
#include <cstdint>

namespace kw {

/// Counter-free splitmix64 stream; the same seed gives the same values on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  double uniform();                         // [0, 1)
  double normal();                          // N(0, 1)
  int64_t integer(int64_t lo, int64_t hi);  // inclusive

 private:
  uint64_t state_;
};

/// From the operating system's entropy.
uint64_t secret_seed();

}  // namespace kw
