#pragma once
#include <string>
#include <vector>

#include "emulator/front/reflect.h"
#include "emulator/front/reflection.h"

namespace kw::emulator {

struct RewriteOptions {
  std::vector<std::string> kernels;  // host names to compile; empty: all of them
};

struct Rewritten {
  std::string text;  // C++ that stands on the dialect's host library, with the user's line markers
  Reflection reflection;
};

/// Turns preprocessed source into C++ for the host: address spaces are erased (what then is declared twice goes),
/// attributes become tables, threadgroup variables become slots of the group's memory, function constants become
/// variables. Tokens stay on their lines, so that a compiler's messages point into the user's file.
/// fails: *.syntax, *.kernel
Result<Rewritten> rewrite(const Lexed& lexed, const std::vector<Declaration>& declarations,
                          const std::vector<Kernel>& kernels, const RewriteOptions& options);

/// The same for CUDA C++ (rewrite_cuda.cpp).
Result<Rewritten> rewrite_cuda(const Lexed& lexed, const std::vector<Declaration>& declarations,
                               const std::vector<Kernel>& kernels, const RewriteOptions& options);

}  // namespace kw::emulator
