#include "author/llm/catalogue.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "author/llm/bucket.h"
#include "author/llm/embedded.h"
#include "author/llm/spec.h"
#include "base/secret.h"

using namespace kw;
using namespace kw::author;

namespace {

Catalogue shipped() { return *Catalogue::parse(embedded_text("models.toml"), "models.toml"); }

struct Environment {
  std::string name;
  Environment(std::string n, const std::string& value) : name(std::move(n)) { setenv(name.c_str(), value.c_str(), 1); }
  ~Environment() { unsetenv(name.c_str()); }
};

struct Setup {
  std::unique_ptr<HttpTransport> transport = make_curl_transport();
  Buckets buckets{system_clock()};
  ClientSetup setup{transport.get(), &system_clock(), &buckets};
};

Failure open_failure(const std::string& text) {
  Setup s;
  const Catalogue catalogue = shipped();
  const auto spec = parse_author(text, catalogue);
  if (!spec) return spec.failure();
  const auto opened = open_model(*spec, catalogue, s.setup);
  REQUIRE_FALSE(opened.ok());
  return opened.failure();
}

}  // namespace

TEST_CASE("every shipped model names a provider whose wire exists, and costs something") {
  const Catalogue catalogue = shipped();
  CHECK(catalogue.models().size() >= 5);
  for (const ProviderRow& row : catalogue.providers()) CHECK_MESSAGE(find_wire(row.wire) != nullptr, row.name);
  for (const ModelRow& row : catalogue.models()) {
    CAPTURE(row.name);
    CHECK(catalogue.provider(row.provider) != nullptr);
    REQUIRE(row.prices);
    CHECK(row.prices->output > row.prices->input);
    CHECK_FALSE(row.priced_on.empty());
    CHECK(row.ask_output <= row.max_output);
  }
}

TEST_CASE("prices are exact: a thousand calls sum to the cent") {
  const Prices prices{from_usd(0.75 / 1e6), from_usd(0.075 / 1e6), from_usd(0.75 / 1e6), from_usd(3.75 / 1e6)};
  Usage usage{.uncached_input = 801, .cache_read = 199, .output = 333};
  Picodollars total = 0;
  for (int i = 0; i < 1000; ++i) total += cost_of(usage, prices);
  CHECK(total == 801LL * 750000 * 1000 + 199LL * 75000 * 1000 + 333LL * 3750000 * 1000);
}

TEST_CASE("no usage within the limits costs more than the bound") {
  const Prices prices{10, 1, 13, 50};
  const size_t bytes = 5000;
  for (const int64_t cached : {0, 2500, 5000})
    for (const int64_t written : {int64_t{0}, 5000 - cached}) {
      const Usage worst{
          .uncached_input = 5000 - cached - written, .cache_read = cached, .cache_write = written, .output = 700};
      CHECK(cost_of(worst, prices) <= cost_bound(bytes, 700, prices));
    }
}

TEST_CASE("a user's row replaces the shipped one; faults name the file and the line") {
  Catalogue catalogue = shipped();
  REQUIRE(
      catalogue.add("[[model]]\nprovider='openai'\nname='gpt-6-luna'\nusd_per_million={input=1, output=2}\n", "mine")
          .ok());
  CHECK(catalogue.model(*catalogue.provider("openai"), "gpt-6-luna").prices->input == 1000000);
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"[[model]\n", "line 1"},
           {"[[model]]\nname='x'\n", "needs `provider` and `name`"},
           {"[[model]]\nprovider='openai'\nname='x'\ncolour='red'\n", "unknown key `colour`"},
           {"[[model]]\nprovider='openai'\nname='x'\nusd_per_million={input=1}\n", "needs `input` and `output`"},
           {"[[model]]\nprovider='openai'\nname='x'\nusd_per_million={input=-1,output=1}\n", "must not be negative"}}) {
    const auto status = shipped().add(text, "mine.toml");
    REQUIRE_FALSE(status.ok());
    CHECK(status.failure().id == "models.toml");
    CHECK_MESSAGE(status.failure().message.find(words) != std::string::npos, status.failure().message);
    CHECK(status.failure().message.find("mine.toml") != std::string::npos);
  }
}

TEST_CASE("nothing is inferred from a model's name: an unlisted one of a paid provider has no price") {
  const Environment key("OPENAI_API_KEY", "test-key-1234567");
  CHECK(open_failure("openai/gpt-6-luna-mini").id == "llm.price");
}

TEST_CASE("author specifications") {
  const Catalogue catalogue = shipped();
  const auto spec = *parse_author("openai-compatible/org/model:7b@http://localhost:8080/v1", catalogue);
  CHECK(spec.provider == "openai-compatible");
  CHECK(spec.model == "org/model:7b");
  CHECK(spec.url == "http://localhost:8080/v1");
  CHECK(parse_author("command:my-agent --flag", catalogue)->model == "my-agent --flag");
  CHECK(parse_author("agent:codex", catalogue)->kind == AuthorSpec::Kind::agent);
  CHECK(parse_author("search", catalogue)->kind == AuthorSpec::Kind::search);
  CHECK(parse_author("anthropc/x", catalogue).failure().hint == "did you mean `anthropic`?");
  for (const char* bad : {"", "gpt", "openai/", "command:", "/x"})
    CHECK(parse_author(bad, catalogue).failure().id == "author.spec");
}

TEST_CASE("a key is needed, and leaves the machine encrypted only") {
  unsetenv("OPENAI_API_KEY");
  const Failure none = open_failure("openai/gpt-6-luna");
  CHECK(none.id == "author.key");
  CHECK(none.message.find("OPENAI_API_KEY") != std::string::npos);
  const Environment key("OPENAI_COMPATIBLE_API_KEY", "planted-key-7654321");
  CHECK(open_failure("openai-compatible/m@http://10.0.0.7/v1").id == "author.url");
  CHECK(open_failure("openai-compatible/m@http://user:planted-key-7654321@localhost/v1").id == "author.url");
  CHECK(open_failure("openai-compatible/m").id == "author.url");
  CHECK(open_failure("openai-compatible/m@https://example.com/v1").id == "llm.price");
}

TEST_CASE("registered secrets do not pass redact, the longer one first") {
  register_secret("sk-abcdef");
  register_secret("sk-abcdef-longer");
  CHECK(redact("key sk-abcdef-longer, then sk-abcdef.") == "key [redacted], then [redacted].");
  register_secret("abc");  // too short to be a key
  CHECK(redact("abc") == "abc");
}
