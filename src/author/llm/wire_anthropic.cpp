#include "author/llm/wire_common.h"

namespace kw::author::wire {
namespace {

constexpr const char* kVersion = "2023-06-01";

json block(const std::string& text, bool cached) {
  json value{{"type", "text"}, {"text", text}};
  if (cached) value["cache_control"] = {{"type", "ephemeral"}};
  return value;
}

/// Counts come twice: at the start for the input, at the end in total. A field that is absent says nothing.
void take_usage(const json& usage, Usage& into) {
  const auto take = [&](const char* key, int64_t& value) {
    if (member(usage, key).is_number_integer()) value = count(usage, key);
  };
  take("input_tokens", into.uncached_input);  // without the cached ones
  take("cache_read_input_tokens", into.cache_read);
  take("cache_creation_input_tokens", into.cache_write);
  take("output_tokens", into.output);
}

struct StopRow {
  std::string_view word;
  StopReason stop;
};
constexpr StopRow kStops[] = {{"max_tokens", StopReason::length},
                              {"refusal", StopReason::refusal},
                              {"model_context_window_exceeded", StopReason::context}};

}  // namespace

HttpRequest request_anthropic(const Endpoint& endpoint, const ModelRow& model, const Prompt& prompt,
                              const CallShape& shape) {
  json body{{"model", model.name},
            {"max_tokens", shape.max_output},
            {"system", json::array({block(prompt.system, true)})},
            {"messages",
             json::array({{{"role", "user"},
                           {"content", json::array({block(prompt.problem, true), block(prompt.history, false)})}}})},
            {"stream", true}};
  if (!model.effort.empty()) body["output_config"] = {{"effort", model.effort}};
  if (shape.temperature >= 0 && accepts(model, "temperature")) body["temperature"] = shape.temperature;
  HttpRequest request = post({endpoint.base_url, "", ""}, "/v1/messages", body);
  request.headers.emplace_back("anthropic-version", kVersion);
  if (!endpoint.key.empty()) request.headers.emplace_back("x-api-key", endpoint.key);
  return request;
}

Status event_anthropic(const SseEvent& event, StreamState& state) {
  const auto parsed = object_of(event);
  if (!parsed) return parsed.failure();
  const std::string type = text(*parsed, "type");
  if (type == "error") return error_of(0, event.data);
  if (type == "message_start") take_usage(member(member(*parsed, "message"), "usage"), state.usage);
  if (type == "message_delta") {
    take_usage(member(*parsed, "usage"), state.usage);
    const std::string reason = text(member(*parsed, "delta"), "stop_reason");
    for (const StopRow& row : kStops)
      if (row.word == reason) state.stop = row.stop;
  }
  if (type == "message_stop") state.finished = true;
  if (type == "content_block_delta" && text(member(*parsed, "delta"), "type") == "text_delta")
    return state.append(text(member(*parsed, "delta"), "text"));
  return ok_status();
}

}  // namespace kw::author::wire
