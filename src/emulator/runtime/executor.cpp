#include "emulator/runtime/executor.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "emulator/runtime/scheduler.h"

namespace kw::emulator {
namespace {

using Time = std::chrono::steady_clock;

ModuleRange module_range;
std::atomic<uintptr_t> stuck_pc{0};

struct Crew {
  std::mutex mutex;
  std::condition_variable ended;
  int running = 0;
  Counts counts;
};

/// Notes where the thread is and holds it there; the process ends soon.
void park(int, siginfo_t*, void* context) {
  if (const uintptr_t pc = module_pc(context)) stuck_pc = pc;
  for (;;) {
    const timespec while_s{1, 0};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &while_s, nullptr);
  }
}

void work(Launch& launch, Crew& crew) {
  alignas(16) static thread_local char signal_stack[64 * 1024];
  const stack_t alternative{signal_stack, 0, sizeof signal_stack};
  ::sigaltstack(&alternative, nullptr);
  Scheduler scheduler(launch);
  scheduler.run();
  const std::lock_guard lock(crew.mutex);
  crew.counts.add(scheduler.counts());
  --crew.running;
  crew.ended.notify_all();
}

/// Where the threads are that do not end; they stay there.
uintptr_t find_stuck(std::vector<std::thread>& threads) {
  for (std::thread& thread : threads) ::pthread_kill(thread.native_handle(), SIGUSR1);
  for (int wait = 0; wait < 100 && !stuck_pc; ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return stuck_pc;
}

}  // namespace

void watch_module(const ModuleRange& range) {
  module_range = range;
  struct sigaction action {};
  action.sa_sigaction = park;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigaction(SIGUSR1, &action, nullptr);
}

uintptr_t module_pc(const void* context) {
  uintptr_t pc = 0, frame = 0;
#if defined(__x86_64__)
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  pc = static_cast<uintptr_t>(registers[REG_RIP]);
  frame = static_cast<uintptr_t>(registers[REG_RBP]);
#elif defined(__aarch64__)
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
  pc = machine.pc;
  frame = machine.regs[29];
#endif
  if (module_range.holds(pc)) return pc;
  // In a function of ours or of the C library: walk the frames, which all lie on one small stack.
  const uintptr_t first = frame;
  for (int depth = 0; depth < 16 && frame >= first && frame - first < Stacks::stack_bytes && frame % 8 == 0; ++depth) {
    const auto* words = reinterpret_cast<const uintptr_t*>(frame);
    if (first < 4096 || words[1] == 0) return 0;
    if (module_range.holds(words[1])) return words[1] - 1;
    frame = words[0];
  }
  return 0;
}

Execution execute(Launch& launch, int threads, double timeout_s) {
  const auto start = Time::now();
  const auto count = static_cast<int>(std::clamp<uint64_t>(launch.group_count(), 1, static_cast<uint64_t>(threads)));
  Crew crew;
  crew.running = count;
  std::vector<std::thread> crew_threads;
  for (int i = 0; i < count; ++i) crew_threads.emplace_back([&] { work(launch, crew); });
  Execution done;
  {
    std::unique_lock lock(crew.mutex);
    const auto limit = std::chrono::duration_cast<Time::duration>(std::chrono::duration<double>(timeout_s));
    done.endless = !crew.ended.wait_until(lock, start + limit, [&] { return crew.running == 0; });
  }
  done.seconds = std::chrono::duration<double>(Time::now() - start).count();
  if (done.endless) {
    launch.stop = true;
    done.stuck_pc = find_stuck(crew_threads);
    for (std::thread& thread : crew_threads) thread.detach();
    return done;
  }
  for (std::thread& thread : crew_threads) thread.join();
  done.counts = crew.counts;
  return done;
}

}  // namespace kw::emulator
