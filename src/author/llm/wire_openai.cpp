#include <optional>

#include "author/llm/wire_common.h"

// OpenAI's two protocols: Responses, and Chat Completions, which most other servers speak too.
namespace kw::author::wire {
namespace {

/// Cached tokens are part of the input count here.
Usage usage_of(const json& usage, const char* input, const char* output) {
  const std::string details = "_details";
  const json& in = member(usage, (input + details).c_str());
  const json& out = member(usage, (output + details).c_str());
  Usage u;
  u.cache_read = count(in, "cached_tokens");
  if (u.cache_read == 0) u.cache_read = count(usage, "prompt_cache_hit_tokens");  // DeepSeek's name
  u.cache_write = count(in, "cache_write_tokens");
  u.uncached_input = std::max<int64_t>(0, count(usage, input) - u.cache_read - u.cache_write);
  u.output = count(usage, output);
  u.reasoning = count(out, "reasoning_tokens");
  if (const json& cost = member(usage, "cost"); cost.is_number() && cost.get<double>() >= 0)
    u.cost_usd = cost.get<double>();
  return u;
}

Status failed(const json& response) { return error_of(0, dump(json{{"error", member(response, "error")}})); }

Status finish_response(const json& response, StreamState& state) {
  state.usage = usage_of(member(response, "usage"), "input_tokens", "output_tokens");
  state.finished = true;
  if (text(response, "status") != "incomplete") return ok_status();
  const std::string reason = text(member(response, "incomplete_details"), "reason");
  state.stop = reason == "content_filter" ? StopReason::filtered : StopReason::length;
  return ok_status();
}

struct FinishRow {
  std::string_view word;
  StopReason stop;
};
constexpr FinishRow kFinishes[] = {
    {"stop", StopReason::complete}, {"length", StopReason::length}, {"content_filter", StopReason::filtered}};

}  // namespace

HttpRequest request_openai_responses(const Endpoint& endpoint, const ModelRow& model, const Prompt& prompt,
                                     const CallShape& shape) {
  json body{{"model", model.name},
            {"instructions", prompt.system},
            {"input", json::array({{{"role", "user"},
                                    {"content", json::array({{{"type", "input_text"}, {"text", prompt.problem}},
                                                             {{"type", "input_text"}, {"text", prompt.history}}})}}})},
            {"max_output_tokens", shape.max_output},
            {"store", false},
            {"stream", true}};
  if (!endpoint.cache_key.empty()) body["prompt_cache_key"] = endpoint.cache_key;
  if (!model.effort.empty()) body["reasoning"] = {{"effort", model.effort}};
  if (shape.temperature >= 0 && accepts(model, "temperature")) body["temperature"] = shape.temperature;
  return post(endpoint, "/responses", body);
}

Status event_openai_responses(const SseEvent& event, StreamState& state) {
  const auto parsed = object_of(event);
  if (!parsed) return parsed.failure();
  const std::string type = text(*parsed, "type").empty() ? event.name : text(*parsed, "type");
  if (type == "response.output_text.delta") return state.append(text(*parsed, "delta"));
  if (type == "response.refusal.delta") {
    state.stop = StopReason::refusal;
    return state.append(text(*parsed, "delta"));
  }
  if (type == "response.completed" || type == "response.incomplete") {
    const StopReason before = state.stop;
    Status status = finish_response(member(*parsed, "response"), state);
    if (before == StopReason::refusal) state.stop = before;
    return status;
  }
  if (type == "response.failed") return failed(member(*parsed, "response"));
  if (type == "error") return member(*parsed, "error").is_object() ? failed(*parsed) : error_of(0, event.data);
  return ok_status();
}

HttpRequest request_openai_chat(const Endpoint& endpoint, const ModelRow& model, const Prompt& prompt,
                                const CallShape& shape) {
  // Plain strings: many servers know no content parts. Two user messages keep the fixed part's bytes apart.
  json body{{"model", model.name},
            {"messages", json::array({{{"role", "system"}, {"content", prompt.system}},
                                      {{"role", "user"}, {"content", prompt.problem + "\n\n" + prompt.history}}})},
            {"max_tokens", shape.max_output},
            {"stream", true},
            {"stream_options", {{"include_usage", true}}}};
  if (!model.effort.empty()) body["reasoning_effort"] = model.effort;
  if (shape.temperature >= 0 && accepts(model, "temperature")) body["temperature"] = shape.temperature;
  if (shape.seed != 0 && accepts(model, "seed")) body["seed"] = shape.seed & 0x7fffffff;
  return post(endpoint, "/chat/completions", body);
}

Status event_openai_chat(const SseEvent& event, StreamState& state) {
  if (event.data == "[DONE]") {
    state.finished = true;
    return ok_status();
  }
  const auto parsed = object_of(event);
  if (!parsed) return parsed.failure();
  if (!member(*parsed, "error").is_null()) return error_of(0, event.data);
  if (member(*parsed, "usage").is_object())
    state.usage = usage_of(member(*parsed, "usage"), "prompt_tokens", "completion_tokens");
  const json& choices = member(*parsed, "choices");
  if (!choices.is_array() || choices.empty()) return ok_status();
  const json& delta = member(choices.front(), "delta");
  if (!text(delta, "refusal").empty()) state.stop = StopReason::refusal;
  const std::string reason = text(choices.front(), "finish_reason");
  for (const FinishRow& row : kFinishes)
    if (row.word == reason && state.stop == StopReason::complete) state.stop = row.stop;
  return state.append(text(delta, "content"));
}

}  // namespace kw::author::wire
