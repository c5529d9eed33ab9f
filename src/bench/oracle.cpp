#include "bench/oracle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/parallel.h"
#include "base/process.h"
#include "module/export.h"

extern char** environ;

namespace kw::bench {

namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::vector<std::string> child_environment() {
  std::vector<std::string> all;
  const auto changed = python_environment();
  for (char** entry = environ; *entry; ++entry) {
    const bool replaced = !changed.empty() && std::string_view(*entry).starts_with("PYTHONPATH=");
    if (!replaced) all.emplace_back(*entry);
  }
  for (const auto& [name, value] : changed) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

Result<Json> write_tensor(const fs::path& path, const Tensor& tensor) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wb"), std::fclose);
  const Failure failure{"oracle.run", "cannot write " + path.string(), "check the free space of its disk"};
  if (!file) return failure;
  if (std::fwrite(tensor.data, 1, tensor.bytes(), file.get()) != tensor.bytes() || std::fflush(file.get()) != 0)
    return failure;
  return Json{{"file", path.string()}, {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}};
}

Result<Tensor> read_tensor(const Json& json) {
  const auto dtype = dtype_from_name(json.at("dtype").get<std::string>());
  if (!dtype) return Failure{"oracle.run", "PyTorch gave an output of an unknown type", ""};
  Tensor tensor = Tensor::zeros(*dtype, json.at("shape").get<Shape>());
  const Result<std::string> bytes = read_file(json.at("file").get<std::string>());
  if (!bytes) return bytes.failure();
  if (bytes->size() != tensor.bytes()) return Failure{"oracle.run", "PyTorch gave an output of another size", ""};
  std::memcpy(tensor.data, bytes->data(), bytes->size());
  return tensor;
}

}  // namespace

/// The process with a pipe each way: one JSON line out, one JSON line back. It leads a process group of its own.
class PythonOracle::Child {
 public:
  static std::unique_ptr<Child> start(std::vector<std::string> argv) {
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) != 0) return nullptr;
    if (pipe2(from, O_CLOEXEC) != 0) {
      close(to[0]);
      close(to[1]);
      return nullptr;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    std::vector<std::string> environment = child_environment();
    pid_t pid = -1;
    const int failed =
        posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes, pointers(argv).data(), pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(to[0]);
    close(from[1]);
    auto child = std::unique_ptr<Child>(new Child(failed ? -1 : pid, to[1], from[0]));
    return failed ? nullptr : std::move(child);
  }

  ~Child() {
    close(to_);
    close(from_);
    if (pid_ <= 0) return;
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  /// The reply. fails: oracle.gone, oracle.timeout, interrupted
  Result<std::string> ask(const std::string& line, double limit_s) {
    const auto deadline = Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(1000 * limit_s));
    const std::string text = line + "\n";
    for (size_t done = 0; done < text.size();) {
      if (auto ready = wait(to_, POLLOUT, deadline, limit_s); !ready.ok()) return ready.failure();
      const ssize_t wrote = write(to_, text.data() + done, text.size() - done);
      if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (wrote <= 0) return gone();
      done += static_cast<size_t>(wrote);
    }
    for (size_t end; (end = unread_.find('\n')) == std::string::npos;) {
      if (auto ready = wait(from_, POLLIN, deadline, limit_s); !ready.ok()) return ready.failure();
      char block[4096];
      const ssize_t got = read(from_, block, sizeof block);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got <= 0) return gone();
      unread_.append(block, static_cast<size_t>(got));
    }
    const size_t end = unread_.find('\n');
    std::string reply = unread_.substr(0, end);
    unread_.erase(0, end + 1);
    return reply;
  }

  const TempDir& files() const { return files_; }

 private:
  using Clock = std::chrono::steady_clock;

  Child(pid_t pid, int to, int from) : pid_(pid), to_(to), from_(from) { fcntl(to_, F_SETFL, O_NONBLOCK); }

  static Failure gone() { return {"oracle.gone", "PyTorch's process ended while it measured its own error", ""}; }

  static Status wait(int fd, short event, Clock::time_point deadline, double limit_s) {
    while (true) {
      const double left_s = std::chrono::duration<double>(deadline - Clock::now()).count();
      if (interrupted()) return Failure{"interrupted", "interrupted", ""};
      if (left_s <= 0)
        return Failure{"oracle.timeout",
                       fmt::format("PyTorch did not answer within {:.0f} s about its own error", limit_s),
                       "give it more --time"};
      pollfd polled{fd, event, 0};
      if (poll(&polled, 1, static_cast<int>(std::min(left_s, 0.2) * 1000) + 1) > 0) return ok_status();
    }
  }

  pid_t pid_;
  int to_, from_;
  std::string unread_;
  TempDir files_{"kernelwright-oracle"};
};

PythonOracle::PythonOracle(BenchRequest request) : request_(std::move(request)) {}
PythonOracle::~PythonOracle() = default;

void PythonOracle::start() {
  signal(SIGPIPE, SIG_IGN);  // a child that died shows as a failed write
  const std::string python = request_.python.empty() ? module::find_python().string() : request_.python;
  const int threads = request_.threads > 0 ? request_.threads : usable_cores();
  child_ = Child::start({python, "-m", "kernelwright.oracle", request_.folder, std::to_string(threads)});
  gone_ = {"oracle.start", "PyTorch could not be started to measure its own error: `" + python + "`",
           "run `kernelwright doctor`"};
}

Result<judge::FrameworkReply> PythonOracle::run(const std::vector<Tensor>& inputs,
                                                const std::map<std::string, Tensor>& params) {
  if (!child_ && gone_.id.empty()) start();
  if (!child_) return gone_;
  const fs::path folder = child_->files().path();
  Json ask = {{"inputs", Json::array()}, {"params", Json::object()}, {"out", folder.string()}};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Result<Json> entry = write_tensor(folder / ("in" + std::to_string(i)), inputs[i]);
    if (!entry) return entry.failure();
    ask["inputs"].push_back(*entry);
  }
  int number = 0;
  for (const auto& [name, tensor] : params) {
    const auto held = sent_.find(name);
    const bool known = held != sent_.end() && held->second.data == tensor.data;
    const fs::path path = folder / ("param" + std::to_string(number++));
    if (known || tensor.data == nullptr) continue;
    const Result<Json> entry = write_tensor(path, tensor);
    if (!entry) return entry.failure();
    ask["params"][name] = *entry;
    sent_[name] = tensor;
  }
  const Result<std::string> reply = child_->ask(ask.dump(), request_.oracle_limit_s);
  if (!reply) {
    child_.reset();
    gone_ = reply.failure();
    return gone_;
  }
  try {
    const Json json = Json::parse(*reply);
    if (json.contains("error")) return Failure{"oracle.run", json.at("error").get<std::string>(), ""};
    judge::FrameworkReply told;
    for (const Json& entry : json.at("outputs")) {
      Result<Tensor> tensor = read_tensor(entry);
      if (!tensor) return tensor.failure();
      if (entry.contains("state"))
        told.states.emplace(entry.at("state").get<std::string>(), std::move(*tensor));
      else
        told.outputs.push_back(std::move(*tensor));
    }
    return told;
  } catch (const std::exception& error) {
    return Failure{"oracle.run", std::string("PyTorch's reply cannot be read: ") + error.what(), ""};
  }
}

}  // namespace kw::bench
