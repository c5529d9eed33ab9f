#pragma once
#include "emulator/runtime/launch.h"

/// Runs a launch on several operating-system threads and watches the clock.
namespace kw::emulator {

struct Execution {
  Counts counts;
  double seconds = 0;
  bool endless = false;   // stopped by the clock: the threads are still somewhere, the process must end
  uint64_t stuck_pc = 0;  // where one of them was, absolute; 0 unknown
};

/// Where a signal handler may look.
struct ModuleRange {
  uintptr_t begin = 0, end = 0;
  bool holds(uintptr_t pc) const { return pc >= begin && pc < end; }
};

/// Call once, before execute(): the range of the loaded module's code, for the watchdog.
void watch_module(const ModuleRange& range);
/// The innermost address in the module of an interrupted thread (`context` is a ucontext_t), or 0.
uintptr_t module_pc(const void* context);

Execution execute(Launch& launch, int threads, double timeout_s);

}  // namespace kw::emulator
