#include "emulator/runtime/switch.h"

#include <cstdint>

#if !defined(__x86_64__) && !defined(__aarch64__)
#define KW_PORTABLE_SWITCH 1
#endif
#ifdef KW_PORTABLE_SWITCH
#include <ucontext.h>

#include <new>
#endif

namespace kw::emulator {

#ifdef KW_PORTABLE_SWITCH

namespace {
void (*portable_main)();
void start() { portable_main(); }
}  // namespace

void* prepare_stack(char* top, void (*main)()) {
  portable_main = main;
  auto* context = new (top - stack_head_bytes - sizeof(ucontext_t)) ucontext_t;
  constexpr size_t usable_bytes = 8192;  // makecontext only derives the stack's top from it
  ::getcontext(context);
  context->uc_stack.ss_sp = reinterpret_cast<char*>(context) - usable_bytes;
  context->uc_stack.ss_size = usable_bytes;
  context->uc_link = nullptr;
  ::makecontext(context, start, 0);
  return context;
}

#elif defined(__x86_64__)

// Saved from the stack pointer up: r15 r14 r13 r12 rbx rbp, return address. A zero rbp ends the chain of frames.
void* prepare_stack(char* top, void (*main)()) {
  auto** at = reinterpret_cast<void**>(top - stack_head_bytes);
  *--at = nullptr;  // where main would return to; leaves the stack as a call leaves it
  *--at = reinterpret_cast<void*>(main);
  for (int saved = 0; saved < 6; ++saved) *--at = nullptr;
  return at;
}

#else

// Saved from the stack pointer up: x19..x30, d8..d15. A zero x29 ends the chain of frames.
void* prepare_stack(char* top, void (*main)()) {
  auto** at = reinterpret_cast<void**>(top - stack_head_bytes) - 20;
  for (int saved = 0; saved < 20; ++saved) at[saved] = nullptr;
  at[11] = reinterpret_cast<void*>(main);  // x30
  return at;
}

#endif

}  // namespace kw::emulator

#ifdef KW_PORTABLE_SWITCH

extern "C" void kw_emu_switch_stack(void** from, void* to) {
  ucontext_t self;
  *from = &self;
  ::swapcontext(&self, static_cast<ucontext_t*>(to));
}

#elif defined(__x86_64__)

asm(R"(
.text
.globl kw_emu_switch_stack
.type kw_emu_switch_stack,@function
kw_emu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size kw_emu_switch_stack, .-kw_emu_switch_stack
)");

#else

asm(R"(
.text
.globl kw_emu_switch_stack
.type kw_emu_switch_stack,%function
kw_emu_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size kw_emu_switch_stack, .-kw_emu_switch_stack
)");

#endif
