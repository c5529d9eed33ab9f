#include "base/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/process.h"

extern char** environ;

namespace kw {
namespace {

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int shared_memory() {
#ifdef __linux__
  return ::memfd_create("kernelwright", MFD_CLOEXEC);
#else
  std::string name = (std::filesystem::temp_directory_path() / "kw-memory-XXXXXX").string();
  const int fd = ::mkstemp(name.data());
  ::unlink(name.c_str());
  return fd;
#endif
}

/// The child leads a process group of its own, so that one kill ends it and whatever holds it.
pid_t spawn(const std::vector<std::string>& argv, int socket, int memory) {
  constexpr int spare_socket = 30, spare_memory = 31;  // the sources may already be 3 and 4
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  for (const auto& [from, to] : {std::pair{socket, spare_socket},
                                 {memory, spare_memory},
                                 {spare_socket, Child::socket_fd},
                                 {spare_memory, Child::memory_fd}})
    posix_spawn_file_actions_adddup2(&actions, from, to);
  posix_spawn_file_actions_addclose(&actions, spare_socket);
  posix_spawn_file_actions_addclose(&actions, spare_memory);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, words[0], &actions, &attributes, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error == 0 ? pid : -1;
}

bool send_bytes(int fd, const void* data, uint64_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = ::write(fd, at, bytes);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    bytes -= static_cast<uint64_t>(sent);
  }
  return true;
}

bool receive_bytes(int fd, void* data, uint64_t bytes) {
  auto* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::read(fd, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<uint64_t>(got);
  }
  return true;
}

}  // namespace

bool send_message(int fd, std::string_view message) {
  const uint64_t bytes = message.size();
  return send_bytes(fd, &bytes, sizeof bytes) && send_bytes(fd, message.data(), bytes);
}

bool receive_message(int fd, std::string& message, uint64_t limit_bytes) {
  uint64_t bytes = 0;
  if (!receive_bytes(fd, &bytes, sizeof bytes) || bytes > limit_bytes) return false;
  message.resize(bytes);
  return receive_bytes(fd, message.data(), bytes);
}

Result<std::unique_ptr<Child>> Child::start(const std::vector<std::string>& argv, uint64_t shared_bytes) {
  std::unique_ptr<Child> child(new Child);
  child->memory_file_ = shared_memory();
  if (child->memory_file_ < 0) return Failure{"run.memory", "no shared memory could be made", ""};
  if (Status status = child->resize(shared_bytes); !status.ok()) return status.failure();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return Failure{"run.sandbox", "no socket could be made", ""};
  child->socket_ = ends[0];
  child->pid_ = spawn(argv, ends[1], child->memory_file_);
  ::close(ends[1]);
  if (child->pid_ < 0) return Failure{"run.sandbox", "the worker process could not be started", ""};
  return child;
}

Child::~Child() {
  kill();
  if (memory_) ::munmap(memory_, memory_bytes_);
  if (socket_ >= 0) ::close(socket_);
  if (memory_file_ >= 0) ::close(memory_file_);
}

Status Child::resize(uint64_t shared_bytes) {
  const Failure full{"run.memory", "the buffers do not fit into memory", ""};
  if (::ftruncate(memory_file_, static_cast<off_t>(shared_bytes)) != 0) return full;
  if (memory_) ::munmap(std::exchange(memory_, nullptr), memory_bytes_);
  memory_bytes_ = shared_bytes;
  if (shared_bytes == 0) return ok_status();
  void* mapped = ::mmap(nullptr, shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_file_, 0);
  if (mapped == MAP_FAILED) return full;
  memory_ = static_cast<char*>(mapped);
  return ok_status();
}

void Child::kill() {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

bool Child::receive(void* into, uint64_t bytes, double deadline_s, bool& late) {
  auto* at = static_cast<char*>(into);
  while (bytes > 0) {
    const double left_s = deadline_s - now_s();
    late = left_s <= 0;
    if (late || interrupted()) return false;
    pollfd polled{socket_, POLLIN, 0};
    if (::poll(&polled, 1, static_cast<int>(std::min(left_s, 0.2) * 1000) + 1) <= 0) continue;
    const ssize_t got = ::read(socket_, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<uint64_t>(got);
  }
  return true;
}

Failure Child::lost(bool late, double timeout_s) {
  if (interrupted()) return {"interrupted", "interrupted", ""};
  if (late) {
    kill();
    return {"run.timeout", "no answer within " + std::to_string(static_cast<int>(timeout_s)) + " s", ""};
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  ::kill(-pid_, SIGKILL);
  pid_ = -1;
  const int code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) > 128 ? WEXITSTATUS(status) - 128 : 0;
  if (code == SIGSYS) return {"run.crash", "a system call was made that kernels may not make", ""};
  if (code) return {"run.crash", std::string("the process ended by signal ") + ::strsignal(code), ""};
  return {"run.crash", "the process ended", ""};
}

Result<std::string> Child::ask(std::string_view message, double timeout_s, uint64_t limit_bytes) {
  if (!alive()) return Failure{"run.dead", "the process has already ended", ""};
  const double deadline_s = now_s() + timeout_s;
  // A child that died early breaks the socket: then receive() says so.
  const uint64_t bytes = message.size();
  ::send(socket_, &bytes, sizeof bytes, MSG_NOSIGNAL);
  for (size_t sent = 0; sent < message.size();) {
    const ssize_t more = ::send(socket_, message.data() + sent, message.size() - sent, MSG_NOSIGNAL);
    if (more <= 0) break;
    sent += static_cast<size_t>(more);
  }
  bool late = false;
  uint64_t answer_bytes = 0;
  if (!receive(&answer_bytes, sizeof answer_bytes, deadline_s, late)) return lost(late, timeout_s);
  if (answer_bytes > limit_bytes) {
    kill();
    return Failure{"run.protocol", "the process answered nonsense", ""};
  }
  std::string answer(answer_bytes, '\0');
  if (!receive(answer.data(), answer.size(), deadline_s, late)) return lost(late, timeout_s);
  return answer;
}

}  // namespace kw
