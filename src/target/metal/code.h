#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "emulator/front/compile.h"
#include "kernel/plan.h"

namespace kw::target {

/// One Metal source, built for the emulator in the ways that are asked for.
class MetalCode {
 public:
  MetalCode(emulator::HostToolchain toolchain, std::string source)
      : toolchain_(std::move(toolchain)), source_(std::move(source)) {}
  /// fails: compile.error (the source's lines and the compiler's words, or what Apple's compiler would refuse),
  /// compile.timeout, compile.missing
  Result<emulator::KernelModule> build(bool checked, bool profile = false);
  const emulator::HostToolchain& toolchain() const { return toolchain_; }

 private:
  emulator::HostToolchain toolchain_;
  std::string source_;
};

/// Whether every launch names a kernel of `reflection` and passes what it takes.
/// fails: plan.kernel (no such kernel; more or fewer arguments; another element type; a built-in that is not there)
Status check_launches(const kernel::Plan& plan, const emulator::Reflection& reflection);

/// The buffer arguments of a kernel in the order of their indices, which is the order of a launch's arguments.
std::vector<const emulator::ArgumentDescription*> buffer_arguments(const emulator::KernelDescription& kernel);

}  // namespace kw::target
