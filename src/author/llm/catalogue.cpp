#include "author/llm/catalogue.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cstdlib>

#include "author/llm/embedded.h"
#include "base/file.h"

namespace kw::author {
namespace {

namespace fs = std::filesystem;

constexpr double kTokensPerPrice = 1e6;  // lists name the price of a million

/// Thrown inside the reader only.
struct Fault {
  std::string words;
};

std::vector<std::string> strings_of(const toml::table& table, std::string_view key) {
  std::vector<std::string> values;
  if (const toml::array* list = table[key].as_array())
    for (const toml::node& node : *list) {
      if (!node.is_string()) throw Fault{fmt::format("`{}` must be a list of strings", key)};
      values.push_back(node.value_or(std::string()));
    }
  return values;
}

void only_keys(const toml::table& table, const std::string& where, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : table)
    if (std::find(known.begin(), known.end(), key.str()) == known.end())
      throw Fault{fmt::format("{} has the unknown key `{}`", where, key.str())};
}

double positive(const toml::table& table, std::string_view key, double otherwise) {
  const double value = table[key].value_or(otherwise);
  if (!(value >= 0 && value < 1e12)) throw Fault{fmt::format("`{}` must not be negative", key)};
  return value;
}

Picodollars price(const toml::table& table, std::string_view key, double otherwise) {
  return from_usd(positive(table, key, otherwise) / kTokensPerPrice);
}

/// Cache prices that a list does not name count as plain input: never too low.
std::optional<Prices> prices_of(const toml::table& model, const std::string& where) {
  const toml::table* table = model["usd_per_million"].as_table();
  if (table == nullptr) return std::nullopt;
  only_keys(*table, where + ".usd_per_million", {"input", "cache_read", "cache_write", "output"});
  if (!table->contains("input") || !table->contains("output"))
    throw Fault{where + ".usd_per_million needs `input` and `output`"};
  const double input = positive(*table, "input", 0);
  return Prices{price(*table, "input", 0), price(*table, "cache_read", input), price(*table, "cache_write", input),
                price(*table, "output", 0)};
}

ProviderRow provider_of(const std::string& name, const toml::table& t) {
  only_keys(t, "provider." + name,
            {"wire", "base_url", "base_url_env", "key_envs", "key_required", "local", "requests_per_minute",
             "max_output", "context"});
  ProviderRow row;
  row.name = name;
  row.wire = t["wire"].value_or(std::string());
  row.base_url = t["base_url"].value_or(std::string());
  row.base_url_env = t["base_url_env"].value_or(std::string());
  row.key_envs = strings_of(t, "key_envs");
  row.key_required = t["key_required"].value_or(true);
  row.local = t["local"].value_or(false);
  row.requests_per_minute = positive(t, "requests_per_minute", row.requests_per_minute);
  row.max_output = t["max_output"].value_or(row.max_output);
  row.context = t["context"].value_or(row.context);
  return row;
}

ModelRow model_of(const toml::table& t) {
  ModelRow row;
  row.provider = t["provider"].value_or(std::string());
  row.name = t["name"].value_or(std::string());
  const std::string where = "model " + row.provider + "/" + row.name;
  if (row.provider.empty() || row.name.empty()) throw Fault{"a model needs `provider` and `name`"};
  only_keys(t, where,
            {"provider", "name", "context", "max_output", "ask_output", "sampling", "efforts", "effort",
             "usd_per_million", "priced_on"});
  row.context = t["context"].value_or(row.context);
  row.max_output = t["max_output"].value_or(row.max_output);
  row.ask_output = std::min(t["ask_output"].value_or(row.ask_output), row.max_output);
  row.sampling = strings_of(t, "sampling");
  row.efforts = strings_of(t, "efforts");
  row.effort = t["effort"].value_or(std::string());
  row.prices = prices_of(t, where);
  row.priced_on = t["priced_on"].value_or(std::string());
  if (row.context < 1024 || row.ask_output < 16) throw Fault{where + " has limits too small for any reply"};
  return row;
}

template <class Row, class Same>
void put(std::vector<Row>& rows, Row row, Same same) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return same(r, row); });
  if (found != rows.end())
    *found = std::move(row);
  else
    rows.push_back(std::move(row));
}

std::vector<fs::path> user_files() {
  std::vector<fs::path> files;
  if (const char* chosen = std::getenv("KERNELWRIGHT_MODELS"); chosen && *chosen)
    files.emplace_back(chosen);
  else if (const char* home = std::getenv("HOME"); home && *home)
    files.push_back(fs::path(home) / ".config" / "kernelwright" / "models.toml");
  files.emplace_back("kernelwright.models.toml");
  return files;
}

}  // namespace

Result<Catalogue> Catalogue::parse(std::string_view toml, const std::string& name) {
  Catalogue catalogue;
  if (Status status = catalogue.add(toml, name); !status) return status.failure();
  return catalogue;
}

Status Catalogue::add(std::string_view text, const std::string& name) {
  const auto fault = [&](const std::string& words) {
    return Failure{"models.toml", "`" + name + "`: " + words, "see docs/authors.md, \"Models\""};
  };
  try {
    const toml::table root = toml::parse(text, name);
    only_keys(root, "the file", {"provider", "model"});
    if (const toml::table* table = root["provider"].as_table())
      for (const auto& [key, node] : *table) {
        if (!node.is_table()) throw Fault{"provider must be a table"};
        put(providers_, provider_of(std::string(key.str()), *node.as_table()),
            [](const auto& a, const auto& b) { return a.name == b.name; });
      }
    if (const toml::array* list = root["model"].as_array())
      for (const toml::node& node : *list) {
        if (!node.is_table()) throw Fault{"model must be a list of tables"};
        put(models_, model_of(*node.as_table()),
            [](const auto& a, const auto& b) { return a.provider == b.provider && a.name == b.name; });
      }
  } catch (const toml::parse_error& error) {
    return fault(fmt::format("line {}: {}", error.source().begin.line, error.description()));
  } catch (const Fault& wrong) {
    return fault(wrong.words);
  }
  return ok_status();
}

Result<Catalogue> Catalogue::load() {
  auto catalogue = parse(embedded_text("models.toml"), "models.toml");
  if (!catalogue) return catalogue;
  for (const fs::path& path : user_files()) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) continue;
    const auto text = read_file(path, 1u << 20);
    if (!text) return text.failure();
    if (Status status = catalogue->add(*text, path.string()); !status) return status.failure();
  }
  return catalogue;
}

const ProviderRow* Catalogue::provider(const std::string& name) const {
  for (const ProviderRow& row : providers_)
    if (row.name == name) return &row;
  return nullptr;
}

bool Catalogue::lists(const std::string& provider, const std::string& name) const {
  return std::any_of(models_.begin(), models_.end(),
                     [&](const ModelRow& row) { return row.provider == provider && row.name == name; });
}

ModelRow Catalogue::model(const ProviderRow& provider, const std::string& name) const {
  for (const ModelRow& row : models_)
    if (row.provider == provider.name && row.name == name) return row;
  ModelRow row;
  row.provider = provider.name;
  row.name = name;
  row.context = provider.context;
  row.max_output = row.ask_output = provider.max_output;
  if (provider.local) row.prices = Prices{};
  return row;
}

}  // namespace kw::author
