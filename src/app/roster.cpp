#include "app/roster.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "app/output.h"
#include "base/process.h"

namespace kw::app {
namespace {

using nlohmann::json;

author::ClientSetup setup_of(Roster& roster) {
  return {.transport = roster.transport.get(), .clock = &system_clock(), .buckets = roster.buckets.get()};
}

Roster empty_roster() {
  Roster roster;
  roster.catalogue = std::move(author::Catalogue::load().value_or_throw());
  roster.transport = author::make_curl_transport();
  roster.buckets = std::make_unique<author::Buckets>(system_clock());
  return roster;
}

Result<std::unique_ptr<author::Correspondent>> open_voice(const author::AuthorSpec& spec, Roster& roster) {
  using Kind = author::AuthorSpec::Kind;
  if (spec.kind == Kind::command) return author::make_command_author(author::command_agent(spec.model));
  if (spec.kind == Kind::agent) {
    auto agent = author::load_agent(spec.model);
    if (!agent) return agent.failure();
    return author::make_command_author(std::move(*agent));
  }
  auto model = author::open_model(spec, roster.catalogue, setup_of(roster));
  if (!model) return model.failure();
  return std::unique_ptr<author::Correspondent>(std::move(*model));
}

void check_offline(const author::AuthorSpec& spec, const Roster& roster) {
  const bool local =
      spec.kind == author::AuthorSpec::Kind::model &&
      (author::is_loopback(spec.url) || (spec.url.empty() && roster.catalogue.provider(spec.provider)->local));
  if (spec.kind == author::AuthorSpec::Kind::search || spec.kind == author::AuthorSpec::Kind::command || local) return;
  throw UserError({"author.offline", "`" + spec.text + "` needs the network, which --offline forbids",
                   "leave out --offline, or use search or a local model"});
}

/// Is somebody there? A GET of the list of models costs nothing, and takes no key along. Each server is asked once.
class Reach {
 public:
  explicit Reach(author::HttpTransport& transport) : transport_(transport) {}
  std::string operator()(const std::string& base_url) {
    const auto [known, fresh] = words_.try_emplace(base_url);
    if (fresh) known->second = ask(base_url);
    return known->second;
  }

 private:
  std::string ask(const std::string& base_url) {
    author::HttpRequest request{.url = base_url + "/models", .timeout_s = 5};
    const auto reply = transport_.send(
        request, [](int, std::string_view) { return true; }, interrupted);
    return reply ? "reachable" : "not reachable";
  }
  author::HttpTransport& transport_;
  std::map<std::string, std::string> words_;
};

struct Line {
  std::string author, state, price;
};

Line line_of_model(const author::ModelRow& row, Roster& roster, Reach* reach) {
  const author::ProviderRow& provider = *roster.catalogue.provider(row.provider);
  const std::string name = row.provider + "/" + row.name, price = author::describe_prices(row);
  if (provider.key_required && author::key_from(provider.key_envs).empty())
    return {name, fmt::format("{} is not set", fmt::join(provider.key_envs, " or ")), price};
  const author::AuthorSpec spec{author::AuthorSpec::Kind::model, name, row.provider, row.name, ""};
  const auto opened = author::open_model(spec, roster.catalogue, setup_of(roster));
  if (!opened) return {name, opened.failure().message, price};
  const std::string state = provider.key_required ? "key is set" : "needs no key";
  return {name, reach ? state + ", " + (*reach)((*opened)->endpoint().base_url) : state, price};
}

Line line_of_provider(const author::ProviderRow& row, Reach* reach) {
  if (row.base_url.empty())
    return {row.name + "/MODEL@URL", "any server that speaks " + row.wire, "free on this machine, else by models.toml"};
  const char* set = row.base_url_env.empty() ? nullptr : std::getenv(row.base_url_env.c_str());
  const std::string url = set && *set ? set : row.base_url;
  return {row.name + "/MODEL", url + (reach ? ", " + (*reach)(url) : ""), "free"};
}

Line line_of_agent(const std::string& name) {
  const auto agent = author::load_agent(name).value_or_throw();
  const auto found = run_process({"/bin/sh", "-c", "command -v " + agent.argv[0]}, {.timeout_s = 5});
  const bool there = found && found->exit_code == 0;
  return {"agent:" + name, there ? "installed" : "`" + agent.argv[0] + "` is not installed",
          fmt::format("at most ${:g} a call", agent.max_usd)};
}

}  // namespace

std::vector<author::Correspondent*> Roster::pointers() const {
  std::vector<author::Correspondent*> all;
  for (const auto& voice : voices) all.push_back(voice.get());
  return all;
}

Roster open_roster(const std::vector<std::string>& authors, const CommonOptions& common) {
  Roster roster = empty_roster();
  std::vector<std::string> seen;
  for (const std::string& text : authors) {
    if (std::find(seen.begin(), seen.end(), text) != seen.end())
      throw UserError({"author.twice", "the author `" + text + "` is named twice", "name each author once"});
    seen.push_back(text);
    const author::AuthorSpec spec = author::parse_author(text, roster.catalogue).value_or_throw();
    if (common.offline) check_offline(spec, roster);
    if (spec.kind == author::AuthorSpec::Kind::search)
      roster.search = true;
    else
      roster.voices.push_back(std::move(open_voice(spec, roster).value_or_throw()));
  }
  return roster;
}

int run_authors(const CommonOptions& common) {
  Roster roster = empty_roster();
  std::vector<Line> lines{{"search", "built in", "free"}};
  Reach asking(*roster.transport);
  Reach* reach = common.offline ? nullptr : &asking;
  for (const author::ModelRow& row : roster.catalogue.models()) lines.push_back(line_of_model(row, roster, reach));
  for (const author::ProviderRow& row : roster.catalogue.providers())
    if (row.local || row.base_url.empty()) lines.push_back(line_of_provider(row, reach));
  lines.push_back({"command:PROGRAM", "any program", "not metered"});
  for (const std::string& name : author::agent_names()) lines.push_back(line_of_agent(name));
  Output out(common);
  json list = json::array();
  std::vector<std::vector<std::string>> rows{{"author", "state", "price"}};
  for (const Line& line : lines) {
    list.push_back({{"author", line.author}, {"state", line.state}, {"price", line.price}});
    rows.push_back({line.author, line.state, line.price});
  }
  out.object({{"type", "result"}, {"schema_version", 1}, {"authors", list}});
  out.text(table_text(rows));
  return 0;
}

}  // namespace kw::app
