#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "author/llm/usage.h"
#include "base/result.h"

namespace kw::author {

/// Where a family of models lives and which protocol it speaks.
struct ProviderRow {
  std::string name;      // "anthropic"
  std::string wire;      // row of the wire table: "openai-responses", ...
  std::string base_url;  // without a slash at its end
  std::string base_url_env;
  std::vector<std::string> key_envs;  // the first that is set is used
  bool key_required = true;
  bool local = false;               // runs on the user's machine: costs nothing
  double requests_per_minute = 60;  // of one key, until told otherwise
  int64_t max_output = 16384;       // for models without a row
  int64_t context = 131072;
};

/// What is known of one model. Nothing is inferred from its name.
struct ModelRow {
  std::string provider, name;
  int64_t context = 131072, max_output = 16384;
  int64_t ask_output = 16384;         // output tokens asked for, reasoning included
  std::vector<std::string> sampling;  // parameters that the model accepts: "temperature", "seed"
  std::vector<std::string> efforts;   // accepted reasoning efforts, low to high
  std::string effort;                 // the one to ask for; "" leaves it to the provider
  std::optional<Prices> prices;       // none: unknown
  std::string priced_on;              // date of the price list
};

/// Providers and models: the data that ships, then the user's files, whose rows replace equal ones.
class Catalogue {
 public:
  /// The shipped models.toml, then $KERNELWRIGHT_MODELS or ~/.config/kernelwright/models.toml, then ./kernelwright
  /// .models.toml. fails: models.toml (a fault in a file, with its line)
  static Result<Catalogue> load();
  static Result<Catalogue> parse(std::string_view toml, const std::string& name);
  Status add(std::string_view toml, const std::string& name);

  const ProviderRow* provider(const std::string& name) const;
  /// The row, or one made of the provider's defaults: no price unless the provider is local.
  ModelRow model(const ProviderRow& provider, const std::string& name) const;
  bool lists(const std::string& provider, const std::string& name) const;
  const std::vector<ModelRow>& models() const { return models_; }
  const std::vector<ProviderRow>& providers() const { return providers_; }

 private:
  std::vector<ProviderRow> providers_;
  std::vector<ModelRow> models_;
};

}  // namespace kw::author
