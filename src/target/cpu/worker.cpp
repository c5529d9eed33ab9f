#include "target/cpu/worker.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "base/sandbox.h"
#include "runtime/engine.h"
#include "target/cpu/crash.h"
#include "target/cpu/isolate.h"
#include "target/cpu/layout.h"
#include "target/cpu/wire.h"

namespace kw::target {
namespace {

using runtime::BufferSpec;
using runtime::Engine;
using runtime::Entry;
using runtime::Program;
using runtime::Role;

constexpr uint64_t rotation_bytes = 64u << 20;  // inputs of a timed run cycle through about this much
constexpr int max_rotation = 8;
constexpr unsigned char canary = 0xa5;
constexpr uint64_t guard_bytes = 1 << 20;  // on both sides of a buffer: a stride or two past its end is still caught

void fill(char* begin, uint64_t bytes, uint32_t pattern) {
  uint64_t i = 0;
  for (; i + 4 <= bytes; i += 4) std::memcpy(begin + i, &pattern, 4);
  std::memcpy(begin + i, &pattern, bytes - i);
}

bool all_canary(const char* begin, const char* end) {
  return std::all_of(begin, end, [](char c) { return static_cast<unsigned char>(c) == canary; });
}

/// Page-aligned anonymous memory that lives as long as the worker.
char* pages(uint64_t bytes) {
  void* memory =
      ::mmap(nullptr, std::max<uint64_t>(bytes, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
}

class Worker {
 public:
  Worker(int socket, int memory_fd) : socket_(socket), memory_fd_(memory_fd) {}

  bool load(const char* binary, const std::string& text, int threads);
  void serve();
  std::string error;

 private:
  bool map_regions();
  bool resolve(void* library);
  void place(uint64_t shift_bytes);
  void poison(bool prepared, uint32_t pattern);
  void protect_prepared(int rights);
  bool intact();
  bool bind(const Request& request);
  bool run(const Request& request);
  bool run_isolated();
  bool time(const Request& request, std::vector<double>& times);
  bool build_timed(int threads);
  std::vector<double> medians(std::vector<std::vector<double>>& samples) const;
  void handle(const Request& request);

  int socket_, memory_fd_;
  Program program_;
  Layout layout_;
  std::vector<Entry> entries_;
  std::vector<Place> places_;
  std::unique_ptr<Engine> engine_, timed_;
  std::vector<std::vector<char*>> rotation_;  // sets of input and output bases, by buffer
};

/// Each region between two stretches that nobody may touch; inputs and parameters cannot be written at all.
bool Worker::map_regions() {
  for (size_t i = 0; i < program_.buffers.size(); ++i) {
    const Layout::Region& region = layout_.regions[i];
    const BufferSpec& buffer = program_.buffers[i];
    void* whole =
        ::mmap(nullptr, region.bytes + 2 * guard_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (whole == MAP_FAILED) return false;
    char* inside = static_cast<char*>(whole) + guard_bytes;
    const bool constant = buffer.role == Role::input || buffer.role == Role::parameter;
    const int rights = constant ? PROT_READ : PROT_READ | PROT_WRITE;
    const int flags = MAP_FIXED | (region.shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
    const int fd = region.shared ? memory_fd_ : -1;
    const auto offset = static_cast<off_t>(region.shared ? region.offset : 0);
    if (::mmap(inside, region.bytes, rights, flags, fd, offset) == MAP_FAILED) return false;
    places_.push_back({inside, region.bytes, inside, buffer.bytes});
  }
  return true;
}

bool Worker::resolve(void* library) {
  for (const std::string& kernel : program_.kernels) {
    void* symbol = ::dlsym(library, ("kw_entry_" + kernel).c_str());
    if (!symbol) {
      error = "the binary has no kernel " + kernel;
      return false;
    }
    entries_.push_back(reinterpret_cast<Entry>(symbol));
  }
  return true;
}

bool Worker::load(const char* binary, const std::string& text, int threads) {
  if (!runtime::decode(text, program_, error)) return false;
  layout_ = layout_of(program_);
  void* library = ::dlopen(binary, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    error = std::string("the binary does not load: ") + ::dlerror();
    return false;
  }
  if (!resolve(library)) return false;
  if (!map_regions()) {
    error = "the buffers do not fit into memory";
    return false;
  }
  place(0);
  engine_ = std::make_unique<Engine>(program_, entries_, threads);
  report_crashes(socket_, places_);
  return true;
}

void Worker::place(uint64_t shift_bytes) {
  for (size_t i = 0; i < places_.size(); ++i) {
    places_[i].data = places_[i].region + data_offset(program_.buffers[i], layout_.regions[i], shift_bytes);
    if (engine_) engine_->set_buffer(static_cast<int>(i), places_[i].data);
  }
}

/// Fills outputs and scratch (or prepared) with the pattern and their margins with the canary.
void Worker::poison(bool prepared, uint32_t pattern) {
  for (size_t i = 0; i < places_.size(); ++i) {
    const Role role = program_.buffers[i].role;
    const Place& place = places_[i];
    const bool wanted =
        prepared ? role == Role::prepared || role == Role::scratch : role == Role::output || role == Role::scratch;
    const bool margins = wanted || (role == Role::state && !prepared);
    if (margins) {
      std::memset(place.region, canary, static_cast<size_t>(place.data - place.region));
      char* end = place.data + place.bytes;
      std::memset(end, canary, static_cast<size_t>(place.region + place.region_bytes - end));
    }
    if (wanted) fill(place.data, place.bytes, pattern);
  }
}

/// What `prepare` left may only be read by the steps: else a kernel could count its calls there, or keep an answer.
void Worker::protect_prepared(int rights) {
  for (size_t i = 0; i < places_.size(); ++i)
    if (program_.buffers[i].role == Role::prepared) ::mprotect(places_[i].region, places_[i].region_bytes, rights);
}

bool Worker::intact() {
  for (size_t i = 0; i < places_.size(); ++i) {
    const Role role = program_.buffers[i].role;
    const Place& place = places_[i];
    if (role == Role::input || role == Role::parameter) continue;
    if (role == Role::prepared && program_.prepare.empty()) continue;
    const char* end = place.data + place.bytes;
    if (all_canary(place.region, place.data) && all_canary(end, place.region + place.region_bytes)) continue;
    error = "a kernel wrote outside the buffer " + program_.buffers[i].name;
    return false;
  }
  return true;
}

bool Worker::bind(const Request& request) {
  timed_.reset();
  place(0);
  protect_prepared(PROT_READ | PROT_WRITE);
  poison(true, request.fill_bits);
  poison(false, request.fill_bits);
  engine_->set_threads(request.threads);
  blame_crashes_on(engine_.get());
  engine_->prepare();
  blame_crashes_on(nullptr);
  protect_prepared(PROT_READ);
  return intact();
}

bool Worker::run_isolated() {
  std::string fault;
  for (size_t step = 0; step < program_.steps.size() && fault.empty(); ++step) {
    const runtime::Launch& launch = program_.steps[step];
    fault = isolate(program_, launch, entries_[static_cast<size_t>(launch.kernel)], places_);
  }
  if (!fault.empty()) error = fault;
  return fault.empty();
}

bool Worker::run(const Request& request) {
  place(request.shift_bytes);
  poison(false, request.fill_bits);
  engine_->set_threads(request.threads);
  blame_crashes_on(engine_.get());
  const bool good = !request.isolated || run_isolated();
  if (!request.isolated) engine_->run();
  blame_crashes_on(nullptr);
  return good && intact();
}

/// Buffers as a package has them: arenas, aligned inputs, several sets in turn so that no input stays in cache by luck.
bool Worker::build_timed(int threads) {
  timed_ = std::make_unique<Engine>(program_, entries_, threads);
  char* workspace = pages(program_.workspace_bytes);
  char* prepared = pages(program_.prepared_bytes);
  if (!workspace || !prepared) return false;
  timed_->set_workspace(workspace);
  timed_->set_prepared(prepared);
  uint64_t moving_bytes = 1;
  for (const BufferSpec& b : program_.buffers)
    if (b.role == Role::input || b.role == Role::output) moving_bytes += b.bytes;
  const int sets = static_cast<int>(std::clamp<uint64_t>(rotation_bytes / moving_bytes, 2, max_rotation));
  rotation_.assign(static_cast<size_t>(sets), std::vector<char*>(program_.buffers.size(), nullptr));
  for (size_t i = 0; i < program_.buffers.size(); ++i) {
    const BufferSpec& b = program_.buffers[i];
    if (b.role == Role::parameter || b.role == Role::state) {
      char* copy = pages(b.bytes);
      if (!copy) return false;
      std::memcpy(copy, places_[i].data, b.bytes);
      timed_->set_buffer(static_cast<int>(i), copy);
    }
    if (b.role != Role::input && b.role != Role::output) continue;
    for (auto& set : rotation_) {
      if (!(set[i] = pages(b.bytes))) return false;
      if (b.role == Role::input) std::memcpy(set[i], places_[i].data, b.bytes);
    }
  }
  blame_crashes_on(timed_.get());
  timed_->prepare();
  ::mprotect(prepared, std::max<uint64_t>(program_.prepared_bytes, 1), PROT_READ);
  return true;
}

std::vector<double> Worker::medians(std::vector<std::vector<double>>& samples) const {
  std::vector<double> out;
  for (size_t step = 0; step < engine_->step_count(); ++step) {
    std::vector<double> column;
    for (const auto& sample : samples) column.push_back(sample[step]);
    std::nth_element(column.begin(), column.begin() + static_cast<long>(column.size() / 2), column.end());
    out.push_back(column[column.size() / 2]);
  }
  return out;
}

bool Worker::time(const Request& request, std::vector<double>& times) {
  place(0);
  if (!timed_ && !build_timed(request.threads)) {
    error = "the buffers do not fit into memory";
    return false;
  }
  timed_->set_threads(request.threads);
  blame_crashes_on(timed_.get());
  std::vector<std::vector<double>> samples;
  std::vector<double> steps(timed_->step_count());
  for (int call = -request.warmup; call < request.calls; ++call) {
    const auto& set = rotation_[static_cast<size_t>(call + request.warmup) % rotation_.size()];
    for (size_t i = 0; i < set.size(); ++i)
      if (set[i]) timed_->set_buffer(static_cast<int>(i), set[i]);
    const int64_t start_ns = runtime::now_ns();
    if (request.by_step)
      timed_->run_timed(steps.data());
    else
      timed_->run();
    const int64_t end_ns = runtime::now_ns();
    if (call < 0) continue;
    times.push_back(static_cast<double>(end_ns - start_ns) * 1e-9);
    if (request.by_step) samples.push_back(steps);
  }
  blame_crashes_on(nullptr);
  if (!samples.empty()) {
    const std::vector<double> middle = medians(samples);
    times.insert(times.end(), middle.begin(), middle.end());
  }
  return true;
}

void Worker::handle(const Request& request) {
  error.clear();
  std::vector<double> times;
  bool good = false;
  switch (request.command) {
    case Command::bind:
      good = bind(request);
      break;
    case Command::run:
      good = run(request);
      break;
    case Command::time:
      good = time(request, times);
      break;
    case Command::load:
      error = "already loaded";
      break;
  }
  Reply reply;
  reply.outcome = good ? Outcome::done : Outcome::failed;
  reply.text_bytes = error.size();
  reply.doubles = times.size();
  send_all(socket_, &reply, sizeof reply);
  send_all(socket_, error.data(), error.size());
  send_all(socket_, times.data(), times.size() * sizeof(double));
}

void Worker::serve() {
  Request request;
  while (receive_all(socket_, &request, sizeof request)) handle(request);
}

uint64_t address_space(const Program& program, const Layout& layout) {
  uint64_t bytes = layout.shared_bytes + program.workspace_bytes + program.prepared_bytes;
  for (const Layout::Region& region : layout.regions) bytes += region.bytes + guard_bytes;
  return 4 * bytes + (uint64_t{4} << 30);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

void answer(int socket, bool good, const std::string& text) {
  Reply reply;
  reply.outcome = good ? Outcome::done : Outcome::failed;
  reply.text_bytes = text.size();
  send_all(socket, &reply, sizeof reply);
  send_all(socket, text.data(), text.size());
}

}  // namespace

int worker_main(int argc, char** argv) {
  if (argc < 5) return 2;
  const int socket = std::atoi(argv[3]), memory = std::atoi(argv[4]);
  Request request;
  if (!receive_all(socket, &request, sizeof request) || request.text_bytes > (uint64_t{1} << 30)) return 2;
  std::string text(request.text_bytes, '\0');
  if (!receive_all(socket, text.data(), text.size())) return 2;
  Worker worker(socket, memory);
  const bool loaded = worker.load(argv[2], text, request.threads);
  if (!loaded) {
    answer(socket, false, worker.error);
    return 1;
  }
  Program program;
  std::string why;
  runtime::decode(text, program, why);
  const auto threads = static_cast<uint64_t>(std::max(1, request.threads));
  const std::vector<std::string> layers =
      lock_down({address_space(program, layout_of(program)), 3600 * threads, 64 + 2 * threads});
  answer(socket, true, joined(layers));
  worker.serve();
  ::_exit(0);
}

}  // namespace kw::target
