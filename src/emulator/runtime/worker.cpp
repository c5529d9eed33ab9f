#include "emulator/runtime/worker.h"

#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>

#include "base/child.h"
#include "base/parallel.h"
#include "base/sandbox.h"
#include "emulator/runtime/executor.h"
#include "emulator/runtime/scheduler.h"
#include "emulator/runtime/wire.h"

namespace kw::emulator {
namespace {

constexpr uint64_t request_limit_bytes = 64u << 20, address_space_bytes = uint64_t{1} << 40;
constexpr uint32_t dummy_bytes = 65536, gap_bytes = 64;

struct Module {
  const KwEmuModule* rows = nullptr;
  ModuleRange range;
  const KwEmuKernel* find(const std::string& name) const {
    for (uint32_t i = 0; i < rows->kernel_count; ++i)
      if (name == rows->kernels[i].name) return &rows->kernels[i];
    return nullptr;
  }
};

/// What the crash handler looks at; plain and global.
struct Running {
  const Module* module = nullptr;
  const char* kernel = "";
  char* arena = nullptr;
  const std::vector<wire::RegionSpec>* regions = nullptr;
} running;

/// Takes the file names out of the module's memory.
void add_reports(wire::Reply& reply, std::vector<RawReport> reports, const std::string& kernel) {
  for (RawReport& report : reports) {
    reply.report_files.emplace_back(report.site.file ? report.site.file : "",
                                    report.other_site.file ? report.other_site.file : "");
    reply.report_kernels.push_back(kernel);
    reply.reports.push_back(std::move(report));
  }
}

/// The buffer whose bytes or surroundings hold the address.
void name_memory(uintptr_t address, RawReport& report) {
  if (!running.regions) return;
  const uint64_t offset = address - reinterpret_cast<uintptr_t>(running.arena);
  int64_t nearest = INT64_MAX;
  for (const wire::RegionSpec& region : *running.regions) {
    const auto byte = static_cast<int64_t>(offset - region.begin);
    const int64_t far = byte < 0 ? -byte : std::max<int64_t>(0, byte - static_cast<int64_t>(region.bytes));
    if (far >= nearest || far > (int64_t{1} << 30)) continue;
    nearest = far;
    report.device = true;
    report.memory = region.name;
    report.byte = byte;
    report.memory_bytes = region.bytes;
  }
}

[[noreturn]] void end_with(const RawReport& report) {
  wire::Reply reply;
  reply.ended = true;
  add_reports(reply, {report}, running.kernel);
  send_message(Child::socket_fd, wire::encode(reply));
  ::_exit(0);
}

void crashed(int signal, siginfo_t* info, void* context) {
  static std::atomic<bool> answering{false};
  if (answering.exchange(true)) ::pause();
  RawReport report;
  report.fault = Fault::crash;
  report.count = static_cast<uint32_t>(signal);
  const uintptr_t pc = module_pc(context);
  report.pc = pc ? pc - running.module->range.begin + 1 : 0;
  if (kw_emu_current.thread) {
    std::copy_n(kw_emu_current.group->position, 3, report.group.begin());
    std::copy_n(kw_emu_current.thread->position, 3, report.thread.begin());
  }
  if (signal == SIGSEGV || signal == SIGBUS) name_memory(reinterpret_cast<uintptr_t>(info->si_addr), report);
  end_with(report);
}

void catch_crashes() {
  struct sigaction action {};
  action.sa_sigaction = crashed;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) ::sigaction(signal, &action, nullptr);
}

ModuleRange range_of(const void* inside) {
  struct Search {
    uintptr_t inside;
    ModuleRange range;
  } search{reinterpret_cast<uintptr_t>(inside), {}};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* context) {
        auto& wanted = *static_cast<Search*>(context);
        ModuleRange range{info->dlpi_addr, info->dlpi_addr};
        for (int i = 0; i < info->dlpi_phnum; ++i)
          if (info->dlpi_phdr[i].p_type == PT_LOAD)
            range.end = std::max(range.end, info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz);
        if (range.holds(wanted.inside)) wanted.range = range;
        return 0;
      },
      &search);
  return search.range;
}

std::string load(const char* path, Module& module) {
  void* handle = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) return std::string("the compiled kernels do not load: ") + ::dlerror();
  using Rows = const KwEmuModule* (*)();
  const auto rows = reinterpret_cast<Rows>(::dlsym(handle, "kw_emu_module"));
  if (!rows) return "the compiled kernels have no kw_emu_module";
  module.rows = rows();
  if (module.rows->abi_version != KW_EMU_ABI_VERSION) return "the compiled kernels are of another version";
  module.range = range_of(reinterpret_cast<void*>(rows));
  return "";
}

class Worker {
 public:
  explicit Worker(const Module& module) : module_(module), dummy_(dummy_bytes) {}
  wire::Reply answer(const wire::Request& request);

 private:
  std::string map(uint64_t bytes, const std::vector<wire::RegionSpec>& regions);
  std::string set_constants(const wire::Request& request);
  std::string dispatch(const wire::Request& request, const wire::DispatchSpec& spec, Memory* memory,
                       wire::Reply& reply);
  std::string bind(const wire::DispatchSpec& spec, const std::vector<wire::RegionSpec>& regions, Launch& launch);
  void note_unwritten(const wire::Request& request, Memory& memory, wire::Reply& reply);

  const Module& module_;
  std::vector<char> dummy_;
  char* arena_ = nullptr;
  uint64_t arena_bytes_ = 0;
};

/// The shared memory, with nothing accessible outside of the buffers.
std::string Worker::map(uint64_t bytes, const std::vector<wire::RegionSpec>& regions) {
  if (arena_) ::munmap(arena_, arena_bytes_);
  arena_bytes_ = bytes;
  void* mapped = ::mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, Child::memory_fd, 0);
  if (mapped == MAP_FAILED) return "the buffers do not fit into memory";
  arena_ = static_cast<char*>(mapped);
  for (const wire::RegionSpec& region : regions)
    if (region.bytes > 0 && ::mprotect(arena_ + region.begin, region.bytes, PROT_READ | PROT_WRITE) != 0)
      return "a buffer could not be mapped";
  return "";
}

std::string Worker::set_constants(const wire::Request& request) {
  for (uint32_t i = 0; i < module_.rows->constant_count; ++i) {
    const KwEmuConstant& constant = module_.rows->constants[i];
    std::memset(constant.storage, 0, constant.bytes);
    if (constant.defined) *constant.defined = 0;
    for (const wire::ConstantValue& value : request.constants) {
      if (value.index != constant.index) continue;
      if (value.bytes.size() != constant.bytes)
        return "function constant " + std::string(constant.name) + " has " + std::to_string(constant.bytes) +
               " bytes and was given " + std::to_string(value.bytes.size());
      std::memcpy(constant.storage, value.bytes.data(), constant.bytes);
      if (constant.defined) *constant.defined = 1;
    }
  }
  if (module_.rows->refresh_constants) module_.rows->refresh_constants();
  return "";
}

std::string Worker::bind(const wire::DispatchSpec& spec, const std::vector<wire::RegionSpec>& regions, Launch& launch) {
  launch.kernel = module_.find(spec.kernel);
  if (!launch.kernel) return "there is no kernel " + spec.kernel;
  std::fill(std::begin(launch.args.buffer), std::end(launch.args.buffer), dummy_.data());
  for (const wire::BoundBuffer& bound : spec.buffers) {
    if (bound.index >= std::size(launch.args.buffer) || bound.region >= regions.size()) return "no such buffer";
    launch.args.buffer[bound.index] = arena_ + regions[bound.region].begin + bound.offset;
  }
  return "";
}

/// Threadgroup arguments are offsets until a threadgroup's memory is known: Scheduler adds them.
std::string place_arguments(const wire::DispatchSpec& spec, Launch& launch) {
  for (const wire::GroupBytes& bytes : spec.threadgroup) {
    const KwEmuParam* param = nullptr;
    for (uint32_t i = 0; i < launch.kernel->param_count; ++i)
      if (launch.kernel->params[i].kind == KW_EMU_PARAM_THREADGROUP && launch.kernel->params[i].index == bytes.index)
        param = &launch.kernel->params[i];
    if (!param || bytes.index >= std::size(launch.args.threadgroup)) continue;
    const uint32_t offset =
        launch.arena->place(param->name, launch.kernel->file, param->line, bytes.bytes, 16, param->granule);
    if (offset == GroupArena::capacity_bytes) return "the threadgroup memory does not fit";
    launch.args.threadgroup[bytes.index] = reinterpret_cast<void*>(uintptr_t{offset} + 1);
  }
  return "";
}

uint64_t touched(const std::vector<uint64_t>& bits) {
  uint64_t bytes = 0;
  for (const uint64_t word : bits) bytes += static_cast<uint64_t>(__builtin_popcountll(word));
  return bytes;
}

void count_touched(Memory& memory, wire::DispatchCounts& counts) {
  for (Region& region : memory.regions()) {
    counts.least_read_bytes += touched(region.read_bits);
    counts.least_written_bytes += touched(region.written_bits);
    std::fill(region.read_bits.begin(), region.read_bits.end(), 0);
    std::fill(region.written_bits.begin(), region.written_bits.end(), 0);
  }
}

std::string Worker::dispatch(const wire::Request& request, const wire::DispatchSpec& spec, Memory* memory,
                             wire::Reply& reply) {
  const auto arena = std::make_unique<GroupArena>(memory ? gap_bytes : 0);
  Reports reports;
  Profile profile;
  Launch launch;
  launch.code_begin = module_.range.begin;
  launch.dim = spec.dim;
  launch.mode = request.mode;
  launch.seed = request.seed;
  launch.step_limit = request.step_limit;
  launch.only_groups = spec.only_groups;
  launch.memory = memory;
  launch.profile = &profile;
  launch.profile_on = request.mode == Mode::profile;
  launch.arena = arena.get();
  launch.reports = &reports;
  if (std::string why = bind(spec, request.regions, launch); !why.empty()) return why;
  if (std::string why = place_arguments(spec, launch); !why.empty()) return why;
  running.kernel = launch.kernel->name;
  if (memory) memory->prepare(*launch.kernel, launch.args, request.mode == Mode::profile);
  const Execution done = execute(launch, request.threads, request.timeout_s);
  if (done.endless) {
    RawReport report;
    report.fault = Fault::endless;
    report.pc = done.stuck_pc ? done.stuck_pc - module_.range.begin + 1 : 0;
    end_with(report);
  }
  if (memory) memory->settle();
  wire::DispatchCounts counts{done.seconds, arena->declared_bytes(), done.counts, profile.counts};
  if (request.mode == Mode::profile) count_touched(*memory, counts);
  arena->forget_slots();
  reply.dispatches.push_back(counts);
  add_reports(reply, reports.take(), spec.kernel);
  return launch.stop ? "stopped" : "";
}

void Worker::note_unwritten(const wire::Request& request, Memory& memory, wire::Reply& reply) {
  for (size_t i = 0; i < request.regions.size(); ++i) {
    const Region& region = memory.regions()[i];
    if (!request.regions[i].must_be_written || region.initialised) continue;
    wire::Unwritten missing{static_cast<uint32_t>(i), 0, 0};
    for (uint64_t byte = region.bytes; byte-- > 0;)
      if (!(region.bits[byte / 64] >> (byte % 64) & 1)) {
        ++missing.bytes;
        missing.first_byte = byte;
      }
    if (missing.bytes) reply.unwritten.push_back(missing);
  }
}

wire::Reply Worker::answer(const wire::Request& request) {
  wire::Reply reply;
  reply.failure = map(request.memory_bytes, request.regions);
  if (reply.failure.empty()) reply.failure = set_constants(request);
  if (!reply.failure.empty()) return reply;
  running.arena = arena_;
  running.regions = &request.regions;
  std::unique_ptr<Memory> memory;
  if (request.mode != Mode::plain) {
    std::vector<Region> regions;
    for (const wire::RegionSpec& spec : request.regions) {
      Region region;
      region.name = spec.name;
      region.begin = spec.begin;
      region.bytes = spec.bytes;
      region.initialised = spec.initialised;
      region.counted = spec.counted;
      regions.push_back(std::move(region));
    }
    memory = std::make_unique<Memory>(arena_, arena_bytes_, std::move(regions));
  }
  for (const wire::DispatchSpec& spec : request.dispatches) {
    const std::string why = dispatch(request, spec, memory.get(), reply);
    if (why == "stopped") return reply;
    if (!why.empty()) {
      reply.failure = why;
      return reply;
    }
  }
  if (memory) note_unwritten(request, *memory, reply);
  return reply;
}

}  // namespace

int worker_main(int argc, char** argv) {
  if (argc < 2) return 2;
#ifdef M_ARENA_MAX
  ::mallopt(M_ARENA_MAX, 1);  // more of them read files: the number of cores, how memory may be given back
#endif
  Module module;
  const std::string why = load(argv[1], module);
  wire::Reply loaded;
  loaded.failure = why;
  std::string text;
  if (!receive_message(Child::socket_fd, text, request_limit_bytes)) return 2;  // the parent's greeting
  if (why.empty()) {
    running.module = &module;
    watch_module(module.range);
    catch_crashes();
    std::thread([] {}).join();  // the first thread makes libc install a signal handler, which is forbidden later
    const auto cores = static_cast<uint64_t>(usable_cores());
    lock_down({address_space_bytes, 24 * 3600 * cores, 64 + 2 * cores});  // each launch has its own time limit
  }
  send_message(Child::socket_fd, wire::encode(loaded));
  if (!why.empty()) return 1;
  Worker worker(module);
  while (receive_message(Child::socket_fd, text, request_limit_bytes)) {
    wire::Request request;
    wire::Reply reply;
    if (wire::decode(text, request))
      reply = worker.answer(request);
    else
      reply.failure = "the request is not understood";
    send_message(Child::socket_fd, wire::encode(reply));
  }
  ::_exit(0);
}

}  // namespace kw::emulator
