#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

extern char** environ;

namespace kw {
namespace {

std::atomic<int> interrupt_count{0};

void on_interrupt(int) {
  // A second Ctrl-C does not wait for a safe point.
  if (interrupt_count.fetch_add(1) >= 1) ::_exit(130);
}

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) == 0) read_end = ends[0], write_end = ends[1];
  }
  ~Pipe() { close_read(), close_write(); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_read() { close(read_end); }
  void close_write() { close(write_end); }
  static void close(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

bool passes_on(std::string_view entry, bool clean) {
  if (!clean) return true;
  for (const std::string_view kept : {"PATH=", "HOME=", "USER=", "LANG=", "TMPDIR=", "TERM="})
    if (entry.starts_with(kept)) return true;
  return false;
}

std::vector<std::string> merged_environment(const ProcessOptions& options) {
  std::vector<std::string> merged;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry = *at;
    bool replaced = !passes_on(entry, options.clean_environment);
    for (const auto& [key, value] : options.env)
      replaced = replaced || (entry.substr(0, key.size()) == key && entry.substr(key.size(), 1) == "=");
    if (!replaced) merged.emplace_back(entry);
  }
  for (const auto& [key, value] : options.env) merged.push_back(key + "=" + value);
  return merged;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

/// Starts argv in its own process group with the three pipes; -1 and errno when it cannot.
pid_t spawn(const std::vector<std::string>& argv, const ProcessOptions& options, Pipe& in, Pipe& out, Pipe& err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.read_end, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write_end, 1);
  posix_spawn_file_actions_adddup2(&actions, err.write_end, 2);
  if (!options.working_directory.empty())
    posix_spawn_file_actions_addchdir_np(&actions, options.working_directory.c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  const std::vector<std::string> environment = merged_environment(options);
  pid_t pid = -1;
  const int error =
      ::posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes, pointers(argv).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  errno = error;
  return error == 0 ? pid : -1;
}

/// Gives whole lines to a listener and keeps what is begun.
struct Lines {
  const std::function<void(std::string_view)>& listener;
  std::string pending;

  void add(std::string_view more) {
    if (!listener) return;
    pending.append(more);
    for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1))
      listener(std::string_view(pending).substr(0, end));
  }
};

/// Reads what is there; closes the end on end-of-file.
std::string_view drain(int& fd, std::string& into, size_t limit, bool& cut, char* block, size_t block_bytes) {
  const ssize_t got = ::read(fd, block, block_bytes);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (got <= 0) {
    Pipe::close(fd);
    return {};
  }
  const std::string_view chunk(block, static_cast<size_t>(got));
  const size_t room = limit > into.size() ? limit - into.size() : 0;
  into.append(chunk.substr(0, room));
  cut = cut || chunk.size() > room;
  return chunk;
}

void feed(Pipe& in, const std::string& text, size_t& sent) {
  const ssize_t wrote = ::write(in.write_end, text.data() + sent, text.size() - sent);
  if (wrote > 0) sent += static_cast<size_t>(wrote);
  const bool broken = wrote < 0 && errno != EINTR && errno != EAGAIN;
  if (broken || sent == text.size()) in.close_write();
}

/// Moves bytes until both outputs end, the deadline passes or the user interrupts. True unless killed.
bool pump(ProcessReply& reply, const ProcessOptions& options, Pipe& in, Pipe& out, Pipe& err) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::duration<double>(options.timeout_s);
  ::fcntl(in.write_end, F_SETFL, O_NONBLOCK);
  size_t sent = 0;
  if (options.stdin_text.empty()) in.close_write();
  Lines out_lines{options.on_stdout_line, {}}, err_lines{options.on_stderr_line, {}};
  char block[1 << 16];
  while (out.read_end >= 0 || err.read_end >= 0) {
    const double left_s = std::chrono::duration<double>(deadline - Clock::now()).count();
    if (left_s <= 0 || interrupted() || (options.give_up && options.give_up())) return false;
    pollfd polled[3] = {{out.read_end, POLLIN, 0}, {err.read_end, POLLIN, 0}, {in.write_end, POLLOUT, 0}};
    const int wait_ms = static_cast<int>(std::min(left_s, 0.2) * 1000) + 1;
    if (::poll(polled, 3, wait_ms) <= 0) continue;
    const auto read = [&](int& fd, std::string& into) {
      return drain(fd, into, options.output_limit_bytes, reply.output_cut, block, sizeof block);
    };
    if (polled[0].revents) out_lines.add(read(out.read_end, reply.out));
    if (polled[1].revents) err_lines.add(read(err.read_end, reply.err));
    if (in.write_end >= 0 && polled[2].revents) feed(in, options.stdin_text, sent);
  }
  return true;
}

/// Waits for the exit, killing the group when the pump ended early or the child outlives its closed outputs.
void reap(pid_t pid, bool finished, double grace_s, ProcessReply& reply) {
  int status = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(grace_s);
  while (finished && ::waitpid(pid, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) finished = false;
    ::usleep(500);
  }
  if (!finished) {
    ::kill(-pid, SIGKILL);
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    reply.timed_out = !interrupted();
  }
  ::kill(-pid, SIGKILL);  // grandchildren that were left behind
  reply.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result<ProcessReply> run_process(const std::vector<std::string>& argv, const ProcessOptions& options) {
  check(!argv.empty(), "run_process: no program");
  ::signal(SIGPIPE, SIG_IGN);
  Pipe in, out, err;
  if (in.write_end < 0 || out.write_end < 0 || err.write_end < 0)
    return Failure{"process.pipe", std::string("cannot make a pipe: ") + std::strerror(errno), "close some programs"};
  const pid_t pid = spawn(argv, options, in, out, err);
  if (pid < 0)
    return Failure{"process.start", "cannot start `" + argv[0] + "`: " + std::strerror(errno),
                   "check that it is installed"};
  in.close_read(), out.close_write(), err.close_write();
  ProcessReply reply;
  const bool finished = pump(reply, options, in, out, err);
  reap(pid, finished, 2.0, reply);
  return reply;
}

std::filesystem::path own_executable() {
#ifdef __APPLE__
  char name[4096];
  uint32_t size = sizeof name;
  const std::filesystem::path link = _NSGetExecutablePath(name, &size) == 0 ? name : "";
#else
  const std::filesystem::path link = "/proc/self/exe";
#endif
  std::error_code ignored;
  return std::filesystem::canonical(link, ignored);
}

bool interrupted() { return interrupt_count.load() > 0; }

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace kw
