#pragma once
#include <cstddef>

/// Switching between stacks on one operating-system thread.
namespace kw::emulator {

/// Bytes at the upper end of a stack that prepare_stack() and the first frame use.
constexpr size_t stack_head_bytes = 128;

/// Makes a stack, whose upper end is `top` (16-byte aligned), start in `main` on the first switch to it.
/// Returns what to hand to switch_stack(). `main` must never return.
void* prepare_stack(char* top, void (*main)());

}  // namespace kw::emulator

/// Saves the running stack in *from and goes on with `to`.
extern "C" void kw_emu_switch_stack(void** from, void* to);
