#include "target/cpu/crash.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "target/cpu/layout.h"
#include "target/cpu/wire.h"

#ifdef __linux__
#include <ucontext.h>
#endif

namespace kw::target {
namespace {

using runtime::Engine;

// The handler can be handed nothing, so what it looks at is plain and global.
const std::vector<Place>* crash_places = nullptr;
std::atomic<Engine*> crash_engine{nullptr};
int crash_socket = -1;

/// Which buffer's region (guard pages included) holds the address.
void locate(const char* address, Reply& reply) {
  if (!crash_places) return;
  const uint64_t page = page_bytes();
  for (size_t i = 0; i < crash_places->size(); ++i) {
    const Place& place = (*crash_places)[i];
    if (address < place.region - page || address >= place.region + place.region_bytes + page) continue;
    reply.buffer = static_cast<int32_t>(i);
    reply.distance = address - place.data;
  }
}

void on_crash(int number, siginfo_t* info, void* context) {
  Reply reply;
  reply.outcome = Outcome::crashed;
  reply.signal = number;
  if (Engine* engine = crash_engine.load()) reply.launch = engine->current();
  if (number == SIGSEGV || number == SIGBUS) locate(static_cast<const char*>(info->si_addr), reply);
#if defined(__linux__) && defined(__x86_64__)
  // Bit 1 of the page fault's error code: it was a write.
  reply.write = (static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
  (void)context;
#endif
  send_all(crash_socket, &reply, sizeof reply);
  ::_exit(128 + number);
}

}  // namespace

void report_crashes(int socket, const std::vector<Place>& places) {
  crash_socket = socket;
  crash_places = &places;
  constexpr size_t stack_bytes = 64 << 10;
  stack_t stack{};
  stack.ss_sp = std::malloc(stack_bytes);
  stack.ss_size = stack_bytes;
  ::sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP}) ::sigaction(number, &action, nullptr);
}

void blame_crashes_on(Engine* engine) { crash_engine = engine; }

}  // namespace kw::target
