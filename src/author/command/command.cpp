#include "author/command/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/process.h"
#include "base/secret.h"
#include "base/utf8.h"

namespace kw::author {
namespace {

using nlohmann::json;

constexpr size_t kReplyBytes = 2u << 20;

/// What the dotted path leads to; null where it leads nowhere.
json at_path(const json& value, const std::string& path) {
  const json* at = &value;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    if (!at->is_object() || !at->contains(path.substr(begin, end - begin))) return nullptr;
    at = &(*at)[path.substr(begin, end - begin)];
    begin = end + 1;
  }
  return *at;
}

/// The last line of `out` that is an object with something at `path`.
json last_with(const std::string& out, const std::string& path) {
  json found;
  for (size_t begin = 0; begin < out.size();) {
    const size_t end = std::min(out.find('\n', begin), out.size());
    const json line = json::parse(out.begin() + static_cast<std::ptrdiff_t>(begin),
                                  out.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (line.is_object())
      if (const json value = at_path(line, path); !value.is_null()) found = value;
    begin = end + 1;
  }
  return found;
}

std::string filled(std::string word, const std::map<std::string, std::string>& values) {
  for (const auto& [name, value] : values)
    for (size_t at = 0; (at = word.find("{" + name + "}", at)) != std::string::npos; at += value.size())
      word.replace(at, name.size() + 2, value);
  return word;
}

class CommandAuthor final : public Correspondent {
 public:
  explicit CommandAuthor(Agent agent) : agent_(std::move(agent)) {}
  std::string name() const override { return agent_.name; }
  Picodollars bound(const Prompt&) const override { return from_usd(agent_.max_usd); }
  std::string describe() const override {
    return agent_.max_usd > 0 ? fmt::format("at most ${:g} a call", agent_.max_usd) : "not metered";
  }
  Result<std::string> ask(const Letter& letter, Payments& payments) override;

 private:
  Result<ProcessReply> run(const Letter& letter, const TempDir& folder) const;
  Result<std::string> reply_of(const ProcessReply& reply, const TempDir& folder) const;
  Picodollars cost_of_call(const ProcessReply& reply) const;
  Agent agent_;
};

Result<ProcessReply> CommandAuthor::run(const Letter& letter, const TempDir& folder) const {
  const std::string prompt = letter.prompt.system + "\n\n" + letter.prompt.problem + "\n\n" + letter.prompt.history;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  if (Status kept = write_file_atomic(path("PROBLEM.md"), prompt); !kept) return kept.failure();
  if (Status kept = write_file_atomic(path("brief.json"), letter.brief_json); !kept) return kept.failure();
  const std::map<std::string, std::string> values{{"prompt_file", path("PROBLEM.md")},
                                                  {"brief_file", path("brief.json")},
                                                  {"reply_file", path("reply.md")},
                                                  {"workdir", folder.path().string()},
                                                  {"budget_usd", fmt::format("{:.4f}", agent_.max_usd)}};
  std::vector<std::string> argv;
  for (const std::string& word : agent_.argv) argv.push_back(filled(word, values));
  ProcessOptions options;
  options.timeout_s = std::min(agent_.timeout_s, letter.time_left_s);
  options.clean_environment = agent_.clean_environment;
  if (agent_.clean_environment) options.working_directory = folder.path().string();
  options.output_limit_bytes = 4 * kReplyBytes;
  if (agent_.stdin_text == "brief") options.stdin_text = letter.brief_json;
  if (agent_.stdin_text == "prompt") options.stdin_text = prompt;
  for (const std::string& name : agent_.env)
    if (const char* value = std::getenv(name.c_str())) {
      register_secret(value);
      options.env.emplace_back(name, value);
    }
  return run_process(argv, options);
}

Result<std::string> CommandAuthor::reply_of(const ProcessReply& reply, const TempDir& folder) const {
  if (reply.timed_out) return Failure{"command.timeout", "`" + agent_.name + "` took too long", ""};
  if (reply.exit_code != 0) {
    const std::string words = redact(as_utf8(cut_utf8(reply.err, 400)));
    return Failure{reply.exit_code == 127 ? "command.missing" : "command.failed",
                   fmt::format("`{}` ended with exit code {}: {}", agent_.name, reply.exit_code,
                               words.substr(0, words.find('\n'))),
                   ""};
  }
  std::string text = reply.out;
  if (agent_.reply == "json") {
    const json value = last_with(reply.out, agent_.reply_path);
    text = value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
  }
  if (agent_.reply == "file") {
    const auto read = read_file(folder.path() / "reply.md", kReplyBytes);
    if (!read) return Failure{"command.output", "`" + agent_.name + "` left no reply.md", ""};
    text = *read;
  }
  if (text.empty()) return Failure{"command.output", "`" + agent_.name + "` wrote no reply", ""};
  if (reply.output_cut || text.size() > kReplyBytes)
    return Failure{"command.output", "the reply of `" + agent_.name + "` is longer than 2 MiB", ""};
  if (!valid_utf8(text)) return Failure{"command.output", "the reply of `" + agent_.name + "` is not valid UTF-8", ""};
  return redact(text);
}

/// What it says it cost; where it says nothing, the most that it may have.
Picodollars CommandAuthor::cost_of_call(const ProcessReply& reply) const {
  const Picodollars most = from_usd(agent_.max_usd);
  if (agent_.cost_path.empty()) return most;
  const json value = last_with(reply.out, agent_.cost_path);
  return value.is_number() && value.get<double>() >= 0 ? from_usd(value.get<double>()) : most;
}

Result<std::string> CommandAuthor::ask(const Letter& letter, Payments& payments) {
  const Picodollars most = from_usd(agent_.max_usd);
  const auto reserved = payments.reserve(most, most);
  if (!reserved) return reserved.failure();
  const TempDir folder("kw-agent");
  const auto ran = run(letter, folder);
  if (!ran) {
    if (Status kept = payments.settle({}); !kept) return kept.failure();
    return Failure{"command.missing", ran.failure().message, ran.failure().hint};
  }
  auto text = reply_of(*ran, folder);
  const Picodollars cost = cost_of_call(*ran);
  if (Status kept = payments.settle({cost, {}, false, text ? *text : ""}); !kept) return kept.failure();
  if (cost > *reserved)
    return Failure{"llm.overbilled", "`" + agent_.name + "` charged more than its own limit", "raise max_usd"};
  return text;
}

}  // namespace

Agent command_agent(const std::string& program) {
  Agent agent;
  agent.name = "command:" + program;
  agent.argv = {"/bin/sh", "-c", program};
  agent.stdin_text = "brief";
  agent.reply = "stdout";
  agent.clean_environment = false;  // the user's own program, in the user's own environment
  return agent;
}

std::unique_ptr<Correspondent> make_command_author(Agent agent) {
  return std::make_unique<CommandAuthor>(std::move(agent));
}

}  // namespace kw::author
