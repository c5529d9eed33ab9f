#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "author/llm/client.h"

namespace kw::author {

/// What the user wrote after --author, taken apart: `openai/MODEL`, `openai-compatible/MODEL@URL`, `command:PROGRAM`,
/// `agent:NAME` or `agent:FILE.toml`, `search`.
struct AuthorSpec {
  enum class Kind : uint8_t { search, model, command, agent };
  Kind kind = Kind::search;
  std::string text;      // as written
  std::string provider;  // for a model
  std::string model;     // or the program, or the description
  std::string url;       // "": the provider's own
};

/// fails: author.spec (with the nearest known provider as a hint)
Result<AuthorSpec> parse_author(const std::string& text, const Catalogue& catalogue);

/// Opens a model author: endpoint, key from the environment, prices.
/// fails: author.key (none is set), author.url, llm.price (a remote model without a price)
Result<std::unique_ptr<LlmAuthor>> open_model(const AuthorSpec& spec, const Catalogue& catalogue,
                                              const ClientSetup& setup);

/// The first of these environment variables that is set; "" when none is.
std::string key_from(const std::vector<std::string>& names);
bool is_loopback(const std::string& url);

}  // namespace kw::author
