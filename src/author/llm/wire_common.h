#pragma once
#include <nlohmann/json.hpp>

#include "author/llm/wire.h"

/// What the four protocols share; for their files only.
namespace kw::author::wire {

using nlohmann::json;

HttpRequest request_openai_responses(const Endpoint&, const ModelRow&, const Prompt&, const CallShape&);
Status event_openai_responses(const SseEvent&, StreamState&);
HttpRequest request_openai_chat(const Endpoint&, const ModelRow&, const Prompt&, const CallShape&);
Status event_openai_chat(const SseEvent&, StreamState&);
HttpRequest request_anthropic(const Endpoint&, const ModelRow&, const Prompt&, const CallShape&);
Status event_anthropic(const SseEvent&, StreamState&);
HttpRequest request_gemini(const Endpoint&, const ModelRow&, const Prompt&, const CallShape&);
Status event_gemini(const SseEvent&, StreamState&);

/// The event's data as an object. fails: llm.stream
Result<json> object_of(const SseEvent& event);
/// The member, or null: never throws on an unexpected shape.
const json& member(const json& object, const char* key);
int64_t count(const json& object, const char* key);  // 0 when absent or no number
std::string text(const json& object, const char* key);

bool accepts(const ModelRow& model, std::string_view parameter);
/// POST with a JSON body and a bearer key.
HttpRequest post(const Endpoint& endpoint, const std::string& path, const json& body);
std::string dump(const json& value);

}  // namespace kw::author::wire
