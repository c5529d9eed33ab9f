#pragma once
#include <memory>
#include <string>
#include <vector>

#include "author/correspondent.h"

namespace kw::author {

/// How a program is asked: `command:PROGRAM` in its simplest form, or a coding agent described in TOML.
struct Agent {
  std::string name;               // as it is shown
  std::vector<std::string> argv;  // {prompt_file}, {brief_file}, {reply_file}, {workdir}, {budget_usd} are filled in
  std::string stdin_text;         // "brief", "prompt" or "none"
  std::string reply;              // "stdout", "file" or "json": the last JSON line of stdout that has `reply_path`
  std::string reply_path;         // dotted, for "json"
  std::string cost_path;          // dotted, USD, in the same JSON lines; "" for none
  std::vector<std::string> env;   // variables that it gets beside PATH, HOME and the like
  bool clean_environment = true;
  double timeout_s = 900;
  double max_usd = 0;  // the most that one call costs; also what {budget_usd} becomes
};

/// `agent:NAME` (built in) or `agent:FILE.toml`. fails: agent.unknown, agent.toml, file.missing
Result<Agent> load_agent(const std::string& name_or_path);
/// The built-in descriptions.
std::vector<std::string> agent_names();
/// `command:PROGRAM ARGS`: run by the shell, Brief as JSON on stdin, reply on stdout.
Agent command_agent(const std::string& program);

/// fails when asked: command.missing (cannot start), command.failed (exit code), command.output (empty, too long, no
/// UTF-8), command.timeout
std::unique_ptr<Correspondent> make_command_author(Agent agent);

}  // namespace kw::author
