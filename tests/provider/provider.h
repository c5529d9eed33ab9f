#pragma once
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

extern char** environ;

/// The scripted provider server, running as long as this object lives.
namespace kw::testing {

class Provider {
 public:
  explicit Provider(const nlohmann::json& scenario) {
    const auto path = folder_.path() / "scenario.json";
    std::ofstream(path) << scenario.dump();
    int in[2], out[2];
    check(::pipe(in) == 0 && ::pipe(out) == 0, "no pipe for the provider");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    for (const int end : {in[0], in[1], out[0], out[1]}) posix_spawn_file_actions_addclose(&actions, end);
    const char* python = std::getenv("KERNELWRIGHT_PYTHON");
    std::vector<std::string> words = {python ? python : "python3", "tests/provider/server.py", path.string(), "--log",
                                      log_path().string()};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    check(::posix_spawnp(&child_, argv[0], &actions, nullptr, argv.data(), environ) == 0, "python3 does not start");
    posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]), ::close(out[1]);
    stdin_ = in[1];
    read_port(out[0]);
  }
  ~Provider() { stop(); }
  Provider(const Provider&) = delete;
  Provider& operator=(const Provider&) = delete;

  void stop() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    ::close(stdin_);
    child_ = -1;
  }
  std::string url(const std::string& path = "") const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  std::filesystem::path log_path() const { return folder_.path() / "requests.jsonl"; }
  /// What was asked so far, one object a request.
  std::vector<nlohmann::json> requests() const {
    std::vector<nlohmann::json> rows;
    std::ifstream in(log_path());
    for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
    return rows;
  }

 private:
  void read_port(int fd) {
    std::string text;
    for (char c = 0; ::read(fd, &c, 1) == 1 && c != '\n';) text += c;
    ::close(fd);
    check(!text.empty(), "the provider server did not start");
    port_ = std::atoi(text.c_str());
  }

  TempDir folder_{"kw-provider"};
  pid_t child_ = -1;
  int stdin_ = -1, port_ = 0;
};

}  // namespace kw::testing
