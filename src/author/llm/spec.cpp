#include "author/llm/spec.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "base/secret.h"

namespace kw::author {
namespace {

/// Levenshtein's distance, for "did you mean".
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

std::string nearest(const std::string& name, const Catalogue& catalogue) {
  std::string best, known;
  for (const ProviderRow& row : catalogue.providers()) {
    known += (known.empty() ? "" : ", ") + row.name;
    if (best.empty() || distance(name, row.name) < distance(name, best)) best = row.name;
  }
  if (!best.empty() && distance(name, best) <= 3) return "did you mean `" + best + "`?";
  return "known: search, command:PROGRAM, agent:NAME, and PROVIDER/MODEL with " + known;
}

Failure bad(const std::string& text, const std::string& why, const std::string& hint) {
  return {"author.spec", "the author `" + text + "` " + why, hint};
}

/// Scheme and host of a URL; "" for anything else.
std::string host_of(const std::string& url) {
  for (const std::string scheme : {"http://", "https://"}) {
    if (!url.starts_with(scheme)) continue;
    std::string host = url.substr(scheme.size());
    host = host.substr(0, host.find_first_of("/?#"));
    if (host.find('@') != std::string::npos) return "";  // a password in a URL would reach logs
    if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
    return host.substr(0, host.find(':'));
  }
  return "";
}

std::string without_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

std::string base_url_of(const AuthorSpec& spec, const ProviderRow& provider) {
  if (!spec.url.empty()) return without_slash(spec.url);
  if (!provider.base_url_env.empty())
    if (const char* set = std::getenv(provider.base_url_env.c_str()); set && *set) return without_slash(set);
  return without_slash(provider.base_url);
}

Status check_url(const std::string& name, const std::string& url, const std::string& key) {
  if (host_of(url).empty())
    return Failure{"author.url", "`" + name + "` has no usable address (`" + redact(url) + "`)",
                   "write PROVIDER/MODEL@http://HOST:PORT/v1, without a password in it"};
  if (!key.empty() && url.starts_with("http://") && !is_loopback(url))
    return Failure{"author.url", "the key of `" + name + "` would leave this machine unencrypted",
                   "use https, or an address on this machine"};
  return ok_status();
}

}  // namespace

bool is_loopback(const std::string& url) {
  const std::string host = host_of(url);
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

std::string key_from(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (const char* set = std::getenv(name.c_str()); set && *set) return set;
  return "";
}

Result<AuthorSpec> parse_author(const std::string& text, const Catalogue& catalogue) {
  if (text == "search") return AuthorSpec{AuthorSpec::Kind::search, text, "", "", ""};
  for (const auto& [prefix, kind] : {std::pair{std::string("command:"), AuthorSpec::Kind::command},
                                     {std::string("agent:"), AuthorSpec::Kind::agent}})
    if (text.starts_with(prefix)) {
      if (text.size() == prefix.size()) return bad(text, "names no program", "write " + prefix + "NAME");
      return AuthorSpec{kind, text, "", text.substr(prefix.size()), ""};
    }
  const size_t slash = text.find('/');
  if (slash == std::string::npos || slash + 1 == text.size())
    return bad(text, "is unknown", nearest(text.substr(0, slash), catalogue));
  AuthorSpec spec{AuthorSpec::Kind::model, text, text.substr(0, slash), text.substr(slash + 1), ""};
  if (catalogue.provider(spec.provider) == nullptr)
    return bad(text, "names an unknown provider", nearest(spec.provider, catalogue));
  if (const size_t at = spec.model.find("@http"); at != std::string::npos) {
    spec.url = spec.model.substr(at + 1);
    spec.model.resize(at);
  }
  if (spec.model.empty()) return bad(text, "names no model", "write " + spec.provider + "/MODEL");
  return spec;
}

Result<std::unique_ptr<LlmAuthor>> open_model(const AuthorSpec& spec, const Catalogue& catalogue,
                                              const ClientSetup& setup) {
  const ProviderRow& provider = *catalogue.provider(spec.provider);
  const Wire* wire = find_wire(provider.wire);
  if (wire == nullptr)
    return Failure{"models.toml", "provider `" + provider.name + "` names the unknown wire `" + provider.wire + "`",
                   "openai-responses, openai-chat, anthropic-messages, gemini-generate"};
  const std::string key = key_from(provider.key_envs);
  register_secret(key);
  if (key.empty() && provider.key_required)
    return Failure{"author.key", "no key for `" + spec.text + "`: " + provider.key_envs.front() + " is not set",
                   "export " + provider.key_envs.front() + "=..., or choose another author"};
  const std::string url = base_url_of(spec, provider);
  if (Status status = check_url(spec.text, url, key); !status) return status.failure();
  ModelRow model = catalogue.model(provider, spec.model);
  // A server on this machine bills nobody, whatever the provider's row says of others.
  if (!model.prices && is_loopback(url)) model.prices = Prices{};
  if (!model.prices)
    return Failure{"llm.price", "no price is known for `" + spec.text + "`, so no budget can hold",
                   "add a row with its prices to models.toml, see docs/authors.md"};
  return std::make_unique<LlmAuthor>(spec.text, *wire, Endpoint{url, key, "kernelwright"}, std::move(model),
                                     provider.requests_per_minute, setup);
}

}  // namespace kw::author
