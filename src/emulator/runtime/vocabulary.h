#pragma once
#include <cstdint>

namespace kw::emulator {

/// How a dialect's people call what the runtime reports on, and what its devices allow.
struct Vocabulary {
  const char* group = "threadgroup";
  const char* group_memory = "threadgroup memory";
  uint32_t group_bytes = 32768;  // of one launch, most
};

constexpr Vocabulary metal_words{};
constexpr Vocabulary cuda_words{"block", "shared memory", 232448};

}  // namespace kw::emulator
