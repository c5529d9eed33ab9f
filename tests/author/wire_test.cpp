#include "author/llm/wire.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "author/llm/sse.h"
#include "base/utf8.h"

using namespace kw;
using namespace kw::author;
using nlohmann::json;

namespace {

/// The events of a stream that is read `step` bytes at a time.
std::vector<SseEvent> events_of(const std::string& stream, size_t step) {
  SseParser parser;
  std::vector<SseEvent> events;
  const auto keep = [&](const SseEvent& event) {
    events.push_back(event);
    return ok_status();
  };
  for (size_t at = 0; at < stream.size(); at += step) REQUIRE(parser.feed(stream.substr(at, step), keep).ok());
  REQUIRE(parser.finish(keep).ok());
  return events;
}

struct Played {
  StreamState state;
  std::optional<Failure> failure;
};

Played play(const std::string& wire, const std::string& stream, size_t step = 7) {
  Played played;
  SseParser parser;
  const auto on_event = [&](const SseEvent& event) { return find_wire(wire)->event(event, played.state); };
  for (size_t at = 0; at < stream.size() && !played.failure; at += step)
    if (const Status status = parser.feed(stream.substr(at, step), on_event); !status)
      played.failure = status.failure();
  return played;
}

const Prompt prompt{"fixed", "problem", "history"};

json body_of(const std::string& wire, ModelRow model = {}) {
  model.name = "m";
  const HttpRequest request =
      find_wire(wire)->request({"http://h", "the-secret-key", "prefix"}, model, prompt, {100, 0.5, 3});
  return json::parse(request.body);
}

}  // namespace

TEST_CASE("server-sent events: any cut, any line end, comments, several data lines, a character across reads") {
  const std::string stream =
      "\xef\xbb\xbf: hello\r\nevent: one\r\ndata: {\"a\":\r\ndata:  1}\r\nid: 7\r\nretry: 5\r\n\r\n"
      "data: gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\rdata\r\r"
      "event: nothing\n\nunknown: x\ndata:last\n";
  for (size_t step = 1; step < stream.size(); ++step) {
    const auto events = events_of(stream, step);
    REQUIRE(events.size() == 3);
    CHECK(events[0].name == "one");
    CHECK(events[0].data == "{\"a\":\n 1}");
    CHECK(events[1].name.empty());
    CHECK(events[1].data == "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n");
    CHECK(events[2].data == "last");
  }
}

TEST_CASE("an event without end and one that is no UTF-8 are refused") {
  const auto ignore = [](const SseEvent&) { return ok_status(); };
  SseParser small(100);
  CHECK(small.feed("data: " + std::string(200, 'x'), ignore).failure().id == "llm.too_large");
  SseParser parser;
  CHECK(parser.feed("data: \xc3(\n\n", ignore).failure().id == "llm.utf8");
}

TEST_CASE("UTF-8 by the table") {
  for (const char* good : {"", "plain", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
    CHECK(valid_utf8(good));
  for (const char* bad : {"\x80", "\xc0\xaf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5", "\xe2\x82"})
    CHECK_FALSE(valid_utf8(bad));
  CHECK(as_utf8("a\x80z") == "a\xef\xbf\xbdz");
  CHECK(cut_utf8("\xc3\xbc\xc3\xbc", 3) == "\xc3\xbc");
}

TEST_CASE("Responses: text, usage, terminal events, errors") {
  const std::string done =
      "event: response.created\ndata: {\"type\":\"response.created\"}\n\n"
      "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"ab\"}\n\n"
      "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"c\"}\n\n";
  const std::string usage =
      "\"usage\":{\"input_tokens\":100,\"input_tokens_details\":{\"cached_tokens\":60,\"cache_write_tokens\":10},"
      "\"output_tokens\":50,\"output_tokens_details\":{\"reasoning_tokens\":20}}";
  auto whole =
      play("openai-responses",
           done + "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"," + usage + "}}\n\n");
  CHECK(whole.state.text == "abc");
  CHECK(whole.state.finished);
  CHECK(whole.state.usage.uncached_input == 30);
  CHECK(whole.state.usage.cache_read == 60);
  CHECK(whole.state.usage.cache_write == 10);
  CHECK(whole.state.usage.output == 50);
  CHECK(whole.state.usage.reasoning == 20);
  CHECK_FALSE(play("openai-responses", done).state.finished);
  auto cut = play("openai-responses", done +
                                          "data: "
                                          "{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\","
                                          "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n\n");
  CHECK(cut.state.stop == StopReason::length);
  auto failed = play("openai-responses", done +
                                             "data: "
                                             "{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_"
                                             "limit_exceeded\",\"message\":\"slow\"}}}\n\n");
  CHECK(failed.failure->id == "llm.rate");
  CHECK(play("openai-responses", "data: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"oops\"}\n\n")
            .failure->id == "llm.server");
}

TEST_CASE("Chat Completions: usage in a chunk of its own, [DONE], errors after 200") {
  const std::string stream =
      ": OPENROUTER PROCESSING\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"x\"}}]}\n\n"
      "data: {\"choices\":[{\"delta\":{\"content\":null,\"reasoning_content\":\"hm\"}}]}\n\n"
      "data: {\"choices\":[{\"delta\":{\"content\":\"y\"},\"finish_reason\":\"length\"}]}\n\n"
      "data: "
      "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"prompt_cache_hit_tokens\":3,\"cost\":0."
      "5}}\n\n";
  auto whole = play("openai-chat", stream + "data: [DONE]\n\n");
  CHECK(whole.state.text == "xy");
  CHECK(whole.state.finished);
  CHECK(whole.state.stop == StopReason::length);
  CHECK(whole.state.usage.uncached_input == 6);
  CHECK(whole.state.usage.cache_read == 3);
  CHECK(whole.state.usage.cost_usd == 0.5);
  CHECK_FALSE(play("openai-chat", stream).state.finished);
  CHECK(play("openai-chat", "data: {\"error\":{\"code\":402,\"message\":\"no credit\"}}\n\n").failure->id ==
        "llm.spend");
  CHECK(play("openai-chat", "data: {\"error\":\"model is loading\"}\n\n").failure->id == "llm.server");
  CHECK(play("openai-chat", "data: not json\n\n").failure->id == "llm.stream");
}

TEST_CASE("Messages: input counted at the start, output at the end") {
  const std::string stream =
      "event: message_start\ndata: "
      "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":70,"
      "\"cache_creation_input_tokens\":20,\"output_tokens\":1}}}\n\n"
      "event: ping\ndata: {\"type\":\"ping\"}\n\n"
      "event: content_block_delta\ndata: "
      "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n"
      "event: content_block_delta\ndata: "
      "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n"
      "event: message_delta\ndata: "
      "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"},\"usage\":{\"output_tokens\":33}}\n\n";
  auto whole = play("anthropic-messages", stream + "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
  CHECK(whole.state.text == "hi");
  CHECK(whole.state.finished);
  CHECK(whole.state.stop == StopReason::refusal);
  CHECK(whole.state.usage.uncached_input == 5);
  CHECK(whole.state.usage.cache_read == 70);
  CHECK(whole.state.usage.cache_write == 20);
  CHECK(whole.state.usage.output == 33);
  CHECK_FALSE(play("anthropic-messages", stream).state.finished);
  CHECK(play("anthropic-messages",
             "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n")
            .failure->id == "llm.overloaded");
}

TEST_CASE("generateContent: thoughts are billed but no text; the finish reason ends it") {
  const std::string stream =
      "data: "
      "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"secret\",\"thought\":true},{\"text\":\"a\"}]}}]}\n\n";
  const std::string end =
      "data: "
      "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":"
      "{\"promptTokenCount\":10,\"cachedContentTokenCount\":4,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":5}}"
      "\n\n";
  auto whole = play("gemini-generate", stream + end);
  CHECK(whole.state.text == "ab");
  CHECK(whole.state.finished);
  CHECK(whole.state.usage.uncached_input == 6);
  CHECK(whole.state.usage.output == 7);
  CHECK(whole.state.usage.reasoning == 5);
  CHECK_FALSE(play("gemini-generate", stream).state.finished);
  CHECK(play("gemini-generate", "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n").state.stop ==
        StopReason::filtered);
}

TEST_CASE("unexpected shapes never crash a reader") {
  for (const char* wire : {"openai-responses", "openai-chat", "anthropic-messages", "gemini-generate"})
    for (const char* data : {"{}", "{\"choices\":7}", "{\"choices\":[[]]}", "{\"candidates\":[{\"content\":[1]}]}",
                             "{\"type\":[]}", "{\"type\":\"response.completed\",\"response\":3}",
                             "{\"usage\":{\"prompt_tokens\":-5}}", "{\"type\":\"message_start\",\"message\":\"x\"}",
                             "{\"error\":{\"details\":[1,{\"retryDelay\":5}]}}", "[]", "null"}) {
      CAPTURE(wire);
      CAPTURE(data);
      const auto played = play(wire, std::string("data: ") + data + "\n\n");
      CHECK(played.state.text.empty());
      CHECK(played.state.usage.input() >= 0);
    }
}

TEST_CASE("what an error means comes from its words before its status") {
  CHECK(error_of(429, R"({"error":{"type":"insufficient_quota","message":"You exceeded your current quota."}})").id ==
        "llm.spend");
  CHECK(error_of(429, R"({"error":{"type":"rate_limit_error","message":"x"}})").id == "llm.rate");
  CHECK(error_of(429, R"({"type":"error","error":{"type":"enforced_spend_limit_reached","message":"x"}})").id ==
        "llm.spend");
  CHECK(
      error_of(400, R"([{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}])")
          .id == "llm.auth");
  CHECK(error_of(529, "").id == "llm.overloaded");
  CHECK(error_of(500, "<html>").id == "llm.server");
  CHECK(error_of(418, "{}").id == "llm.request");
  CHECK(error_of(404, R"({"error":"model 'x' not found"})").id == "llm.model");
  CHECK(retry_delay_of(R"({"error":{"details":[{"@type":"RetryInfo","retryDelay":"34.5s"}]}})") == 34.5);
  CHECK(retry_delay_of("{}") < 0);
}

TEST_CASE("requests: the fixed part first and marked for the cache, parameters only where the model takes them") {
  const json anthropic = body_of("anthropic-messages");
  CHECK(anthropic["system"][0]["text"] == "fixed");
  CHECK(anthropic["system"][0]["cache_control"]["type"] == "ephemeral");
  CHECK(anthropic["messages"][0]["content"][0]["cache_control"]["type"] == "ephemeral");
  CHECK_FALSE(anthropic["messages"][0]["content"][1].contains("cache_control"));
  CHECK(body_of("openai-responses")["instructions"] == "fixed");
  CHECK(body_of("openai-responses")["prompt_cache_key"] == "prefix");
  CHECK(body_of("openai-chat")["stream_options"]["include_usage"] == true);
  CHECK(body_of("gemini-generate")["generationConfig"]["maxOutputTokens"] == 100);
  ModelRow takes;
  takes.sampling = {"temperature", "seed"};
  takes.effort = "low";
  CHECK(body_of("openai-chat", takes)["seed"] == 3);
  CHECK(body_of("openai-chat", takes)["temperature"] == 0.5);
  CHECK(body_of("anthropic-messages", takes)["output_config"]["effort"] == "low");
  for (const char* wire : {"openai-responses", "openai-chat", "anthropic-messages", "gemini-generate"}) {
    CAPTURE(wire);
    CHECK(body_of(wire).dump().find("temperature") == std::string::npos);
    CHECK(body_of(wire).dump().find("the-secret-key") == std::string::npos);
    CHECK(body_of(wire).dump() == body_of(wire).dump());
  }
}
