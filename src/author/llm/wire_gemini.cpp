#include "author/llm/wire_common.h"

namespace kw::author::wire {
namespace {

json part(const std::string& text) { return json{{"text", text}}; }

/// The prompt's count holds the cached ones; thoughts are counted beside the answer and billed like it.
Usage usage_of(const json& usage) {
  Usage u;
  u.cache_read = count(usage, "cachedContentTokenCount");
  u.uncached_input = std::max<int64_t>(0, count(usage, "promptTokenCount") - u.cache_read);
  u.reasoning = count(usage, "thoughtsTokenCount");
  u.output = count(usage, "candidatesTokenCount") + u.reasoning;
  return u;
}

struct FinishRow {
  std::string_view word;
  StopReason stop;
};
constexpr FinishRow kFinishes[] = {{"MAX_TOKENS", StopReason::length},           {"SAFETY", StopReason::filtered},
                                   {"RECITATION", StopReason::filtered},         {"BLOCKLIST", StopReason::filtered},
                                   {"PROHIBITED_CONTENT", StopReason::filtered}, {"SPII", StopReason::filtered}};

void take_finish(const std::string& reason, StreamState& state) {
  if (reason.empty() || reason == "FINISH_REASON_UNSPECIFIED") return;
  state.finished = true;  // the last chunk names its reason; there is no other terminal event
  for (const FinishRow& row : kFinishes)
    if (row.word == reason) state.stop = row.stop;
}

}  // namespace

HttpRequest request_gemini(const Endpoint& endpoint, const ModelRow& model, const Prompt& prompt,
                           const CallShape& shape) {
  json config{{"maxOutputTokens", shape.max_output}};
  if (shape.temperature >= 0 && accepts(model, "temperature")) config["temperature"] = shape.temperature;
  if (shape.seed != 0 && accepts(model, "seed")) config["seed"] = shape.seed & 0x7fffffff;
  if (!model.effort.empty()) config["thinkingConfig"] = {{"thinkingLevel", model.effort}};
  const json body{
      {"systemInstruction", {{"parts", json::array({part(prompt.system)})}}},
      {"contents",
       json::array({{{"role", "user"}, {"parts", json::array({part(prompt.problem), part(prompt.history)})}}})},
      {"generationConfig", config}};
  HttpRequest request =
      post({endpoint.base_url, "", ""}, "/models/" + model.name + ":streamGenerateContent?alt=sse", body);
  if (!endpoint.key.empty()) request.headers.emplace_back("x-goog-api-key", endpoint.key);
  return request;
}

Status event_gemini(const SseEvent& event, StreamState& state) {
  const auto parsed = object_of(event);
  if (!parsed) return parsed.failure();
  if (!member(*parsed, "error").is_null()) return error_of(0, event.data);
  if (member(*parsed, "usageMetadata").is_object()) state.usage = usage_of(member(*parsed, "usageMetadata"));
  if (!text(member(*parsed, "promptFeedback"), "blockReason").empty()) {
    state.finished = true;
    state.stop = StopReason::filtered;
  }
  const json& candidates = member(*parsed, "candidates");
  if (!candidates.is_array() || candidates.empty()) return ok_status();
  const json& parts = member(member(candidates.front(), "content"), "parts");
  for (const json& piece : parts.is_array() ? parts : json::array()) {
    if (member(piece, "thought") == json(true)) continue;
    if (Status status = state.append(text(piece, "text")); !status) return status;
  }
  take_finish(text(candidates.front(), "finishReason"), state);
  return ok_status();
}

}  // namespace kw::author::wire
