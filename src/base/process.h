#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kw {

struct ProcessOptions {
  double timeout_s = 60;  // wall clock; then the whole process group is killed
  std::string stdin_text;
  std::vector<std::pair<std::string, std::string>> env;  // added to (or replacing in) the parent's
  bool clean_environment = false;                        // of the parent's only PATH, HOME, USER, LANG, TMPDIR and TERM
  std::string working_directory;
  size_t output_limit_bytes = 8u << 20;                       // more is cut and `output_cut` set
  std::function<void(std::string_view line)> on_stderr_line;  // may be empty
  std::function<void(std::string_view line)> on_stdout_line;  // may be empty; called as lines come
  std::function<bool()> give_up;  // asked several times a second; true ends it as the timeout does; may be empty
};

struct ProcessReply {
  int exit_code = -1;  // 128 + signal when killed
  bool timed_out = false;
  bool output_cut = false;
  std::string out;
  std::string err;
};

/// Runs argv[0] (looked up on PATH) to its end. Fails only when it cannot start.
Result<ProcessReply> run_process(const std::vector<std::string>& argv, const ProcessOptions& options = {});

/// The program that runs, links resolved; empty where the system does not tell.
std::filesystem::path own_executable();

/// Set by SIGINT/SIGTERM; long work polls it and stops at the next safe point.
bool interrupted();
void install_interrupt_handler();

}  // namespace kw
