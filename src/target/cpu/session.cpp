#include "target/cpu/session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/process.h"
#include "base/sandbox.h"
#include "target/cpu/layout.h"
#include "target/cpu/program_of.h"
#include "target/cpu/wire.h"

extern char** environ;

namespace kw::target {
namespace {

using runtime::BufferSpec;
using runtime::Program;
using runtime::Role;
using Clock = std::chrono::steady_clock;

constexpr int child_socket = 3, child_memory = 4;
constexpr double load_timeout_s = 20, bind_timeout_s = 120;
constexpr uint64_t max_doubles = 1u << 24, max_text = 1u << 16;
constexpr uint32_t prepare_fill = 0x7fc00000;

struct Fd {
  int number = -1;
  explicit Fd(int fd = -1) : number(fd) {}
  ~Fd() { close(); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  void close() {
    if (number >= 0) ::close(number);
    number = -1;
  }
};

int shared_memory(uint64_t bytes) {
#ifdef __linux__
  const int fd = ::memfd_create("kernelwright", MFD_CLOEXEC);
#else
  std::string name = (std::filesystem::temp_directory_path() / "kw-memory-XXXXXX").string();
  const int fd = ::mkstemp(name.data());
  ::unlink(name.c_str());
#endif
  if (fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) return -1;
  return fd;
}

/// The child leads a process group of its own, so that one kill ends it and whatever holds it.
pid_t spawn(const std::vector<std::string>& argv, int socket, int memory) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, socket, 30);
  posix_spawn_file_actions_adddup2(&actions, memory, 31);
  posix_spawn_file_actions_adddup2(&actions, 30, child_socket);
  posix_spawn_file_actions_adddup2(&actions, 31, child_memory);
  posix_spawn_file_actions_addclose(&actions, 30);
  posix_spawn_file_actions_addclose(&actions, 31);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return failed ? -1 : pid;
}

struct Answer {
  Reply reply;
  std::string text;
  std::vector<double> doubles;
};

class CpuSession final : public Session {
 public:
  CpuSession(Program program, int threads)
      : program_(std::move(program)), layout_(layout_of(program_)), threads_(threads) {}
  ~CpuSession() override {
    kill();
    if (memory_) ::munmap(memory_, layout_.shared_bytes);
  }

  Status start(const std::string& binary, const std::string& worker);
  Status bind(const std::map<std::string, Tensor>& params) override;
  Result<RunReply> run(const std::vector<Tensor>& inputs, const RunOptions& options) override;
  Result<TimeReply> time(const std::vector<Tensor>& inputs, int warmup, int calls, bool by_step,
                         const RunOptions& options) override;

 private:
  void kill();
  char* data(size_t buffer, uint64_t shift) const {
    return memory_ + layout_.regions[buffer].offset +
           data_offset(program_.buffers[buffer], layout_.regions[buffer], shift);
  }
  Status put(size_t buffer, const Tensor& tensor, uint64_t shift);
  Status put_inputs(const std::vector<Tensor>& inputs, uint64_t shift);
  Status restore_states();
  Tensor take(size_t buffer, uint64_t shift) const;
  bool inputs_intact(const std::vector<Tensor>& inputs, uint64_t shift) const;
  Result<Answer> ask(Request request, const std::string& text, double timeout_s);
  bool receive(void* into, uint64_t bytes, Clock::time_point deadline, bool& late);
  Failure lost(bool late, double timeout_s);
  Failure crash(const Reply& reply) const;

  Program program_;
  Layout layout_;
  int threads_;
  Fd socket_, memory_fd_;
  pid_t child_ = -1;
  char* memory_ = nullptr;
  std::map<std::string, Tensor> params_;
};

void CpuSession::kill() {
  if (child_ <= 0) return;
  ::kill(-child_, SIGKILL);
  ::kill(child_, SIGKILL);
  int status = 0;
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
}

Status CpuSession::start(const std::string& binary, const std::string& worker) {
  memory_fd_.number = shared_memory(layout_.shared_bytes);
  void* mapped = memory_fd_.number < 0
                     ? MAP_FAILED
                     : ::mmap(nullptr, layout_.shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd_.number, 0);
  if (mapped == MAP_FAILED) return Failure{"run.memory", "the candidate's buffers do not fit into memory", ""};
  memory_ = static_cast<char*>(mapped);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return Failure{"run.sandbox", "no socket could be made", ""};
  socket_.number = ends[0];
  Fd theirs(ends[1]);
  const auto argv =
      contained({worker, "--kw-worker", binary, std::to_string(child_socket), std::to_string(child_memory)},
                {worker, binary}, {});
  child_ = spawn(argv, theirs.number, memory_fd_.number);
  if (child_ < 0) return Failure{"run.sandbox", "the worker process could not be started", ""};
  theirs.close();
  Request request;
  request.threads = threads_;
  const auto answer = ask(request, runtime::encode(program_), load_timeout_s);
  if (!answer && answer.failure().id == "run.crash")
    return Failure{"run.sandbox", "the worker process ended while it was loading the kernels",
                   "run `kernelwright doctor` to see which sandbox layers work here"};
  if (!answer) return answer.failure();
  return ok_status();
}

bool CpuSession::receive(void* into, uint64_t bytes, Clock::time_point deadline, bool& late) {
  auto* at = static_cast<char*>(into);
  while (bytes > 0) {
    const double left_s = std::chrono::duration<double>(deadline - Clock::now()).count();
    late = left_s <= 0;
    if (late || interrupted()) return false;
    pollfd polled{socket_.number, POLLIN, 0};
    if (::poll(&polled, 1, static_cast<int>(std::min(left_s, 0.2) * 1000) + 1) <= 0) continue;
    const ssize_t got = ::read(socket_.number, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<uint64_t>(got);
  }
  return true;
}

Failure CpuSession::lost(bool late, double timeout_s) {
  ::kill(-child_, late ? SIGKILL : 0);
  int status = 0;
  if (late) {
    kill();
    return {"run.timeout", fmt::format("the candidate did not finish within {:.0f} s", timeout_s), ""};
  }
  if (interrupted()) return {"interrupted", "interrupted", ""};
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
  const int code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) > 128 ? WEXITSTATUS(status) - 128 : 0;
  if (code == SIGSYS) return {"run.crash", "the candidate made a system call that kernels may not make", ""};
  return {"run.crash",
          code ? fmt::format("the candidate ended by signal {} ({})", code, strsignal(code))
               : "the candidate's process ended",
          ""};
}

Failure CpuSession::crash(const Reply& reply) const {
  const auto& launches = reply.launch < 0 ? program_.prepare : program_.steps;
  const auto number = static_cast<size_t>(reply.launch < 0 ? -1 - reply.launch : reply.launch);
  std::string where = "outside any launch";
  if (number < launches.size())
    where = fmt::format("in {} {} ({})", reply.launch < 0 ? "prepare launch" : "step", number,
                        program_.kernels[static_cast<size_t>(launches[number].kernel)]);
  std::string what = fmt::format("signal {} ({})", reply.signal, strsignal(reply.signal));
  if (reply.buffer >= 0 && static_cast<size_t>(reply.buffer) < program_.buffers.size()) {
    const BufferSpec& buffer = program_.buffers[static_cast<size_t>(reply.buffer)];
    const auto bytes = static_cast<int64_t>(buffer.bytes);
    const char* verb = reply.write ? "write" : "read";
    if (reply.distance >= 0 && reply.distance < bytes)
      what += fmt::format(": a {} at byte {} of {}, which is read-only", verb, reply.distance, buffer.name);
    else
      what += reply.distance < 0
                  ? fmt::format(": a {} {} bytes before the start of {}", verb, -reply.distance, buffer.name)
                  : fmt::format(": a {} {} bytes past the end of {}", verb, reply.distance - bytes, buffer.name);
  }
  return {"run.crash", fmt::format("the candidate crashed {}: {}", where, what), ""};
}

Result<Answer> CpuSession::ask(Request request, const std::string& text, double timeout_s) {
  if (child_ <= 0) return Failure{"run.dead", "the candidate's process has already ended", ""};
  request.text_bytes = text.size();
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout_s));
  bool late = false;
  Answer answer;
  // A child that died early breaks the socket: then receive() says so.
  ::send(socket_.number, &request, sizeof request, MSG_NOSIGNAL);
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t more = ::send(socket_.number, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (more <= 0) break;
    sent += static_cast<size_t>(more);
  }
  if (!receive(&answer.reply, sizeof answer.reply, deadline, late)) return lost(late, timeout_s);
  if (answer.reply.outcome == Outcome::crashed) {
    kill();
    return crash(answer.reply);
  }
  if (answer.reply.text_bytes > max_text || answer.reply.doubles > max_doubles) {
    kill();
    return Failure{"run.crash", "the candidate's process answered nonsense", ""};
  }
  answer.text.resize(answer.reply.text_bytes);
  answer.doubles.resize(answer.reply.doubles);
  if (!receive(answer.text.data(), answer.text.size(), deadline, late) ||
      !receive(answer.doubles.data(), answer.doubles.size() * sizeof(double), deadline, late))
    return lost(late, timeout_s);
  if (answer.reply.outcome != Outcome::done) return Failure{"run.overrun", answer.text, ""};
  return answer;
}

Status CpuSession::put(size_t buffer, const Tensor& tensor, uint64_t shift) {
  const BufferSpec& spec = program_.buffers[buffer];
  if (tensor.bytes() != spec.bytes || name_of(tensor.dtype) != spec.dtype)
    return Failure{"run.shape",
                   fmt::format("{} needs {} bytes of {} and was given {} of {}", spec.name, spec.bytes, spec.dtype,
                               tensor.bytes(), name_of(tensor.dtype)),
                   ""};
  if (spec.bytes > 0) std::memcpy(data(buffer, shift), tensor.data, spec.bytes);
  return ok_status();
}

Status CpuSession::bind(const std::map<std::string, Tensor>& params) {
  params_.clear();
  for (size_t i = 0; i < program_.buffers.size(); ++i) {
    const BufferSpec& spec = program_.buffers[i];
    if (spec.role != Role::parameter && spec.role != Role::state) continue;
    const auto at = params.find(spec.name);
    if (at == params.end()) return Failure{"run.shape", fmt::format("no value for the parameter {}", spec.name), ""};
    if (Status status = put(i, at->second, 0); !status.ok()) return status;
    params_[spec.name] = at->second;
  }
  Request request;
  request.command = Command::bind;
  request.threads = threads_;
  request.fill_bits = prepare_fill;
  const auto answer = ask(request, "", bind_timeout_s);
  return answer ? ok_status() : Status(answer.failure());
}

Status CpuSession::put_inputs(const std::vector<Tensor>& inputs, uint64_t shift) {
  for (size_t i = 0; i < program_.buffers.size(); ++i) {
    const BufferSpec& spec = program_.buffers[i];
    if (spec.role != Role::input) continue;
    if (static_cast<size_t>(spec.index) >= inputs.size())
      return Failure{"run.shape", fmt::format("input {} is missing", spec.index), ""};
    if (Status status = put(i, inputs[static_cast<size_t>(spec.index)], shift); !status.ok()) return status;
  }
  return ok_status();
}

Status CpuSession::restore_states() {
  for (size_t i = 0; i < program_.buffers.size(); ++i)
    if (program_.buffers[i].role == Role::state) {
      const auto at = params_.find(program_.buffers[i].name);
      if (at == params_.end()) return Failure{"run.order", "bind() must come before run()", ""};
      if (Status status = put(i, at->second, 0); !status.ok()) return status;
    }
  return ok_status();
}

Tensor CpuSession::take(size_t buffer, uint64_t shift) const {
  const BufferSpec& spec = program_.buffers[buffer];
  Tensor tensor = Tensor::zeros(*dtype_from_name(spec.dtype), spec.shape);
  if (spec.bytes > 0) std::memcpy(tensor.data, data(buffer, shift), spec.bytes);
  return tensor;
}

bool CpuSession::inputs_intact(const std::vector<Tensor>& inputs, uint64_t shift) const {
  for (size_t i = 0; i < program_.buffers.size(); ++i) {
    const BufferSpec& spec = program_.buffers[i];
    const Tensor* original = nullptr;
    if (spec.role == Role::input) original = &inputs[static_cast<size_t>(spec.index)];
    if (spec.role == Role::parameter) original = &params_.at(spec.name);
    if (original && spec.bytes > 0 &&
        std::memcmp(original->data, data(i, spec.role == Role::input ? shift : 0), spec.bytes) != 0)
      return false;
  }
  return true;
}

Result<RunReply> CpuSession::run(const std::vector<Tensor>& inputs, const RunOptions& options) {
  const auto shift = static_cast<uint64_t>(options.base_offset_bytes);
  if (Status status = put_inputs(inputs, shift); !status.ok()) return status.failure();
  if (Status status = restore_states(); !status.ok()) return status.failure();
  Request request;
  request.command = Command::run;
  request.threads = options.threads > 0 ? options.threads : threads_;
  request.fill_bits = static_cast<uint32_t>(options.fill_bits);
  request.shift_bytes = shift;
  request.isolated = options.isolated;
  const auto answer = ask(request, "", options.timeout_s);
  if (!answer) return answer.failure();
  RunReply reply;
  for (size_t i = 0; i < program_.buffers.size(); ++i) {
    const BufferSpec& spec = program_.buffers[i];
    if (spec.role == Role::state) reply.states[spec.name] = take(i, 0);
    if (spec.role != Role::output) continue;
    reply.outputs.resize(std::max(reply.outputs.size(), static_cast<size_t>(spec.index) + 1));
    reply.outputs[static_cast<size_t>(spec.index)] = take(i, shift);
  }
  reply.inputs_intact = inputs_intact(inputs, shift);
  return reply;
}

Result<TimeReply> CpuSession::time(const std::vector<Tensor>& inputs, int warmup, int calls, bool by_step,
                                   const RunOptions& options) {
  if (Status status = put_inputs(inputs, 0); !status.ok()) return status.failure();
  if (Status status = restore_states(); !status.ok()) return status.failure();
  Request request;
  request.command = Command::time;
  request.threads = options.threads > 0 ? options.threads : threads_;
  request.warmup = warmup;
  request.calls = calls;
  request.by_step = by_step;
  auto answer = ask(request, "", options.timeout_s);
  if (!answer) return answer.failure();
  const auto count = static_cast<size_t>(calls);
  if (answer->doubles.size() != count + (by_step ? program_.steps.size() : 0))
    return Failure{"run.crash", "the candidate's process answered nonsense", ""};
  const auto middle = answer->doubles.begin() + static_cast<long>(count);
  return TimeReply{{answer->doubles.begin(), middle}, {middle, answer->doubles.end()}};
}

}  // namespace

std::string default_worker() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return "kernelwright";
  for (const auto& folder :
       {self.parent_path(), self.parent_path().parent_path(), self.parent_path().parent_path().parent_path()})
    if (std::filesystem::exists(folder / "kw_worker")) return (folder / "kw_worker").string();
  return self.string();
}

Result<std::unique_ptr<Session>> open_session(const Compiled& compiled, const kernel::BoundPlan& plan,
                                              const std::string& worker, int threads) {
  auto session = std::make_unique<CpuSession>(program_of(plan), threads);
  const std::string binary = std::filesystem::absolute(compiled.binary_path).string();
  if (Status status = session->start(binary, worker); !status.ok()) return status.failure();
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace kw::target
