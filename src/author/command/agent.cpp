#include <toml++/toml.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "author/command/command.h"
#include "author/llm/embedded.h"
#include "base/file.h"

namespace kw::author {
namespace {

constexpr const char* kBuiltIn[] = {"claude-code", "codex", "opencode"};
constexpr std::string_view kKeys[] = {"argv",      "stdin", "reply",     "reply_path",
                                      "cost_path", "env",   "timeout_s", "max_usd"};

/// Thrown inside the reader only.
struct Fault {
  std::string words;
};

std::vector<std::string> strings(const toml::table& table, std::string_view key) {
  std::vector<std::string> values;
  if (const toml::array* list = table[key].as_array())
    for (const toml::node& node : *list) {
      if (!node.is_string()) throw Fault{fmt::format("`{}` must be a list of strings", key)};
      values.push_back(node.value_or(std::string()));
    }
  return values;
}

std::string one_of(const toml::table& table, std::string_view key, std::initializer_list<std::string_view> known) {
  std::string value = table[key].value_or(std::string(*known.begin()));
  if (std::find(known.begin(), known.end(), value) != known.end()) return value;
  throw Fault{fmt::format("`{}` is `{}`; known are {}", key, value, fmt::join(known, ", "))};
}

Agent read_agent(const toml::table& table) {
  for (const auto& [key, value] : table)
    if (std::find(std::begin(kKeys), std::end(kKeys), key.str()) == std::end(kKeys))
      throw Fault{fmt::format("unknown key `{}`", key.str())};
  Agent agent;
  agent.argv = strings(table, "argv");
  agent.stdin_text = one_of(table, "stdin", {"prompt", "brief", "none"});
  agent.reply = one_of(table, "reply", {"stdout", "file", "json"});
  agent.reply_path = table["reply_path"].value_or(std::string());
  agent.cost_path = table["cost_path"].value_or(std::string());
  agent.env = strings(table, "env");
  agent.timeout_s = table["timeout_s"].value_or(agent.timeout_s);
  agent.max_usd = table["max_usd"].value_or(0.0);
  if (agent.argv.empty()) throw Fault{"`argv` names no program"};
  if (agent.reply == "json" && agent.reply_path.empty()) throw Fault{"`reply = \"json\"` needs `reply_path`"};
  if (!(agent.max_usd >= 0 && agent.max_usd < 1000)) throw Fault{"`max_usd` must be between 0 and 1000"};
  return agent;
}

}  // namespace

std::vector<std::string> agent_names() { return {std::begin(kBuiltIn), std::end(kBuiltIn)}; }

Result<Agent> load_agent(const std::string& name) {
  std::string text(find_embedded("agents/" + name + ".toml"));
  if (text.empty() && !name.ends_with(".toml"))
    return Failure{"agent.unknown", "no agent is called `" + name + "`",
                   fmt::format("known: {}; or give a file, agent:FILE.toml", fmt::join(agent_names(), ", "))};
  if (text.empty()) {
    auto read = read_file(name, 1u << 16);
    if (!read) return read.failure();
    text = std::move(*read);
  }
  const auto fault = [&](const std::string& words) {
    return Failure{"agent.toml", "`" + name + "`: " + words, "see docs/authors.md, \"Coding agents\""};
  };
  try {
    Agent agent = read_agent(toml::parse(text));
    agent.name = "agent:" + name;
    return agent;
  } catch (const toml::parse_error& error) {
    return fault(fmt::format("line {}: {}", error.source().begin.line, error.description()));
  } catch (const Fault& wrong) {
    return fault(wrong.words);
  }
}

}  // namespace kw::author
