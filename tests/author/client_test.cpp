#include "author/llm/client.h"

#include <doctest/doctest.h>

#include "author/llm/spec.h"
#include "base/secret.h"
#include "fake_clock.h"
#include "provider.h"

using namespace kw;
using namespace kw::author;
using kw::testing::Provider;
using nlohmann::json;

// The client against a real HTTP server that misbehaves on request, one fault a test.
namespace {

constexpr const char* kKey = "sk-planted-0123456789";
constexpr const char* kModels = R"(
[[model]]
provider = "openai"
name = "m"
ask_output = 2000
usd_per_million = { input = 1, cache_read = 0.1, cache_write = 1.25, output = 10 }
[[model]]
provider = "openai-compatible"
name = "m"
ask_output = 2000
usd_per_million = { input = 1, cache_read = 0.1, output = 10 }
[[model]]
provider = "anthropic"
name = "m"
ask_output = 2000
usd_per_million = { input = 1, cache_read = 0.1, cache_write = 1.25, output = 10 }
[[model]]
provider = "gemini"
name = "m"
ask_output = 2000
sampling = ["temperature", "seed"]
usd_per_million = { input = 1, cache_read = 0.1, output = 10 }
)";

/// A purse that never runs dry and writes everything down.
struct Ledger final : Payments {
  Picodollars left = kDollar, reserved = 0, spent = 0;
  int requests = 0, lost = 0;
  Usage usage;
  std::string reply;
  Result<Picodollars> reserve(Picodollars least, Picodollars most) override {
    if (left < least) return Failure{"budget.spent", "the budget is spent", ""};
    REQUIRE(reserved == 0);
    reserved = std::min(most, left);
    left -= reserved;
    ++requests;
    return reserved;
  }
  Status settle(const Settlement& s) override {
    CHECK(s.amount <= reserved);
    left += reserved - s.amount;
    spent += s.amount;
    reserved = 0;
    lost += s.lost;
    usage += s.usage;
    reply = s.reply;
    return ok_status();
  }
};

/// One model at one server; what the run shares is made anew for each test.
struct Call {
  testing::FakeClock clock;
  std::unique_ptr<HttpTransport> transport = make_curl_transport();
  Buckets buckets{clock};
  Ledger ledger;
  Catalogue catalogue = *Catalogue::parse(embedded(), "models.toml");
  ClientSetup setup{transport.get(), &clock, &buckets};

  static std::string embedded() {
    return R"([provider.openai]
wire = "openai-responses"
base_url = "http://127.0.0.1:1/v1"
key_envs = ["KW_TEST_KEY"]
[provider.openai-compatible]
wire = "openai-chat"
key_envs = ["KW_TEST_KEY"]
[provider.anthropic]
wire = "anthropic-messages"
key_envs = ["KW_TEST_KEY"]
[provider.gemini]
wire = "gemini-generate"
key_envs = ["KW_TEST_KEY"]
)" + std::string(kModels);
  }

  Result<std::string> ask(const std::string& author, const std::string& url, const std::string& key = "a1") {
    setenv("KW_TEST_KEY", kKey, 1);
    const auto spec = *parse_author(author + "@" + url, catalogue);
    auto opened = open_model(spec, catalogue, setup);
    REQUIRE_MESSAGE(opened.ok(), opened.failure().message);
    const Prompt prompt{"fixed", "# The problem: toy\n", "go"};
    return (*opened)->ask(
        {.prompt = prompt, .brief_json = "", .key = key, .seed = 5, .time_left_s = 3000, .cancelled = {}}, ledger);
  }
};

json scenario(const json& step, int key_lives = 1 << 20) {
  return {{"key", kKey}, {"key_lives", key_lives}, {"models", {{"m", json::array({step})}}}};
}
json faulty(json fault, int times = 1) {
  fault["times"] = times;
  return scenario({{"text", "hello"}, {"fault", fault}});
}

struct WireRow {
  const char *author, *path;
};
constexpr WireRow kWires[] = {
    {"openai/m", "/v1"}, {"openai-compatible/m", "/v1"}, {"anthropic/m", ""}, {"gemini/m", "/v1beta"}};

// 1000 tokens in, of which 200 cached, and 500 out, of the prices above.
constexpr Picodollars kCost = 800LL * 1000000 + 200LL * 100000 + 500LL * 10000000;

}  // namespace

TEST_CASE("each protocol delivers the text, counts the tokens alike and costs the same") {
  const Provider server(
      scenario({{"text", "gr\u00fc\u00df dich \U0001F600"}, {"chunk_bytes", 3}, {"usage", {{"cached", 200}}}}));
  for (const WireRow& row : kWires) {
    CAPTURE(row.author);
    Call call;
    const auto text = call.ask(row.author, server.url(row.path));
    REQUIRE_MESSAGE(text.ok(), text.failure().message);
    CHECK(*text == "gr\u00fc\u00df dich \U0001F600");
    CHECK(call.ledger.spent == kCost);
    CHECK(call.ledger.usage.cache_read == 200);
    CHECK(call.ledger.usage.uncached_input == 800);
    CHECK(call.ledger.usage.output == 500);
    CHECK(call.ledger.lost == 0);
    CHECK(call.ledger.reply == *text);
  }
}

TEST_CASE("429 with retry-after waits as told, and costs nothing") {
  const Provider server(faulty({{"kind", "status"}, {"status", 429}, {"headers", {{"retry-after", "7"}}}}));
  Call call;
  REQUIRE(call.ask("openai/m", server.url("/v1")).ok());
  CHECK(call.clock.slept_s >= 7);
  CHECK(call.clock.slept_s < 12);
  CHECK(call.ledger.requests == 2);
  CHECK(call.ledger.spent == kCost + 200LL * 900000);  // nothing cached here
}

TEST_CASE("429 without retry-after backs off; for ever, it gives up after two retries") {
  const Provider server(faulty({{"kind", "status"}, {"status", 429}}));
  Call call;
  REQUIRE(call.ask("anthropic/m", server.url()).ok());
  CHECK(call.clock.slept_s >= 0.37);
  CHECK(call.clock.slept_s < 3);
  const Provider never(faulty({{"kind", "status"}, {"status", 429}}, 100));
  Call other;
  CHECK(other.ask("anthropic/m", never.url()).failure().id == "llm.rate");
  CHECK(never.requests().size() == 3);
  CHECK(other.ledger.spent == 0);
}

TEST_CASE("500 and 529 are tried again") {
  for (const int status : {500, 529}) {
    CAPTURE(status);
    const Provider server(faulty({{"kind", "status"}, {"status", status}}, 2));
    Call call;
    CHECK(call.ask("gemini/m", server.url("/v1beta")).ok());
    CHECK(call.ledger.requests == 3);
  }
  const Provider overloaded(faulty({{"kind", "status"}, {"status", 529}}, 9));
  Call call;
  CHECK(call.ask("anthropic/m", overloaded.url()).failure().id == "llm.overloaded");
}

TEST_CASE("a stream that is cut in the middle is paid at its bound and asked again") {
  for (const WireRow& row : kWires) {
    CAPTURE(row.author);
    const Provider server(faulty({{"kind", "cut"}}));
    Call call;
    REQUIRE(call.ask(row.author, server.url(row.path)).ok());
    CHECK(call.ledger.lost == 1);
    CHECK(call.ledger.spent > kCost);
    CHECK(server.requests().size() == 2);
  }
}

TEST_CASE("a stream that ends politely but without its terminal event is no reply") {
  for (const WireRow& row : kWires) {
    CAPTURE(row.author);
    const Provider server(faulty({{"kind", "no_end"}}, 9));
    Call call;
    CHECK(call.ask(row.author, server.url(row.path)).failure().id == "llm.cut");
    CHECK(call.ledger.lost == 3);
  }
}

TEST_CASE("HTTP 200 with an error event") {
  const json openai{{"type", "error"}, {"code", "server_error"}, {"message", "The server had an error."}};
  const json wrapped{{"type", "error"}, {"error", {{"type", "overloaded_error"}, {"message", "Overloaded"}}}};
  for (const WireRow& row : kWires) {
    CAPTURE(row.author);
    const Provider server(
        faulty({{"kind", "error_event"}, {"body", row.author == std::string("openai/m") ? openai : wrapped}}));
    Call call;
    CHECK(call.ask(row.author, server.url(row.path)).ok());
    CHECK(server.requests().size() == 2);
  }
  const json spent{{"error", {{"type", "insufficient_quota"}, {"message", "no credit"}}}};
  const Provider server(faulty({{"kind", "error_event"}, {"body", spent}}, 9));
  Call call;
  CHECK(call.ask("openai-compatible/m", server.url("/v1")).failure().id == "llm.spend");
  CHECK(server.requests().size() == 1);
}

TEST_CASE("a reply of 5 MB is cut off, not kept, and not asked for again") {
  for (const WireRow& row : kWires) {
    CAPTURE(row.author);
    const Provider server(
        scenario({{"text", ""}, {"chunk_bytes", 60000}, {"fault", {{"kind", "huge"}, {"bytes", 5 << 20}}}}));
    Call call;
    CHECK(call.ask(row.author, server.url(row.path)).failure().id == "llm.too_large");
    CHECK(call.ledger.requests == 1);
    CHECK(call.ledger.lost == 1);
  }
}

TEST_CASE("a reply that is no UTF-8 is refused") {
  for (const WireRow& row : kWires) {
    CAPTURE(row.author);
    const Provider server(scenario({{"text", std::string(3000, 'x')}, {"fault", {{"kind", "invalid_utf8"}}}}));
    Call call;
    CHECK(call.ask(row.author, server.url(row.path)).failure().id == "llm.utf8");
    CHECK(call.ledger.requests == 1);
  }
}

TEST_CASE("a key that expires during the run is not tried again, and never shown") {
  const Provider server(scenario({{"text", "hello"}}, 1));
  Call call;
  REQUIRE(call.ask("openai/m", server.url("/v1"), "a1").ok());
  const auto refused = call.ask("openai/m", server.url("/v1"), "a2");
  CHECK(refused.failure().id == "llm.auth");
  CHECK(is_final(refused.failure()));
  CHECK(refused.failure().message.find("expired") != std::string::npos);
  CHECK(refused.failure().message.find(kKey) == std::string::npos);
  CHECK(server.requests().size() == 2);
}

TEST_CASE("a spend limit is not tried again, whatever its status") {
  for (const int status : {402, 429}) {
    const Provider server(faulty({{"kind", "status"},
                                  {"status", status},
                                  {"headers", {{"retry-after", "1"}, {"x-should-retry", "true"}}},
                                  {"body", {{"error", {{"type", "enforced_spend_limit_reached"}, {"message", "x"}}}}}},
                                 9));
    Call call;
    CHECK(call.ask("anthropic/m", server.url()).failure().id == "llm.spend");
    CHECK(server.requests().size() == 1);
  }
}

TEST_CASE("the server is gone, its name is unknown: nothing was sent, nothing is paid") {
  std::string url;
  {
    const Provider server(scenario({{"text", "hello"}}));
    url = server.url("/v1");
  }
  Call gone;
  CHECK(gone.ask("openai/m", url).failure().id == "http.connect");
  CHECK(gone.ledger.requests == 3);
  CHECK(gone.ledger.spent == 0);
  Call unknown;
  setenv("KW_TEST_KEY", "", 1);
  const auto spec = *parse_author("openai-compatible/m@http://no-such-host.invalid/v1", unknown.catalogue);
  unsetenv("KW_TEST_KEY");
  auto opened = open_model(spec, *Catalogue::parse(Call::embedded() + "", "x"), unknown.setup);
  CHECK(opened.failure().id == "author.key");  // this provider row wants one; a local one does not
  Catalogue free = unknown.catalogue;
  REQUIRE(free.add("[provider.local]\nwire='openai-chat'\nkey_required=false\nlocal=true\n", "x").ok());
  auto local = open_model(*parse_author("local/m@http://no-such-host.invalid/v1", free), free, unknown.setup);
  REQUIRE(local.ok());
  const auto failed = (*local)->ask(
      {.prompt = {"a", "b", "c"}, .brief_json = "", .key = "k", .time_left_s = 100, .cancelled = {}}, unknown.ledger);
  CHECK(failed.failure().id == "http.dns");
  CHECK(unknown.ledger.spent == 0);
}

TEST_CASE("a server that dies in mid-answer") {
  const Provider server(faulty({{"kind", "close"}}, 9));
  Call call;
  CHECK(call.ask("openai/m", server.url("/v1")).failure().id == "http.cut");
  CHECK(call.ledger.lost == 3);
}

TEST_CASE("the wall clock jumps while the client waits: the wait is as long as told") {
  for (const double jump : {-7200.0, 86400.0}) {
    const Provider server(faulty({{"kind", "status"}, {"status", 429}, {"headers", {{"retry-after", "5"}}}}));
    Call call;
    call.clock.jump_while_sleeping_s = jump;
    REQUIRE(call.ask("openai/m", server.url("/v1")).ok());
    CHECK(call.clock.slept_s >= 5);
    CHECK(call.clock.slept_s < 10);
  }
}

TEST_CASE("the purse decides how long an answer may be, and whether one is asked for") {
  const Provider server(scenario({{"text", "hello"}}));
  Call call;
  const Picodollars prompt_bound =
      cost_bound(Prompt{"fixed", "# The problem: toy\n", "go"}.bytes(), 0, {1000000, 100000, 1250000, 10000000});
  call.ledger.left = prompt_bound + 1500LL * 10000000;
  REQUIRE(call.ask("openai/m", server.url("/v1")).ok());
  Call poor;
  poor.ledger.left = prompt_bound + 1000LL * 10000000;
  CHECK(poor.ask("openai/m", server.url("/v1")).failure().id == "budget.spent");
  CHECK(server.requests().size() == 1);
}
