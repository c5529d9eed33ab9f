#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "target/cpu/toolchain.h"
#include "work.h"

namespace kw::redteam {

/// One candidate's kernels in a library that it shares with others; nothing where they do not compile.
struct Built {
  target::Compiled compiled;
  std::string prefix;  // of its kernels' names in the library
};

/// Compiles all of them as one unit, each in a namespace of its own; where that fails, in halves.
std::vector<std::optional<Built>> build(const target::Toolchain& toolchain, const std::vector<const Work*>& batch,
                                        const std::string& isa);

/// The target for one candidate of a batch: the source gate as ever, the compiler's work done before.
std::unique_ptr<target::Target> target_for(const Built& built, target::Target& inner);

}  // namespace kw::redteam
