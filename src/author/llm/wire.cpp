#include "author/llm/wire.h"

#include <algorithm>

#include "author/llm/wire_common.h"
#include "base/secret.h"
#include "base/utf8.h"

namespace kw::author {
namespace wire {

Result<json> object_of(const SseEvent& event) {
  json value = json::parse(event.data, nullptr, false);
  if (value.is_object()) return value;
  return Failure{"llm.stream", "an event of the stream is no JSON object", ""};
}

const json& member(const json& object, const char* key) {
  static const json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

int64_t count(const json& object, const char* key) {
  const json& value = member(object, key);
  return value.is_number_integer() ? std::max<int64_t>(0, value.get<int64_t>()) : 0;
}

std::string text(const json& object, const char* key) {
  const json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

bool accepts(const ModelRow& model, std::string_view parameter) {
  return std::find(model.sampling.begin(), model.sampling.end(), parameter) != model.sampling.end();
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

HttpRequest post(const Endpoint& endpoint, const std::string& path, const json& body) {
  HttpRequest request;
  request.url = endpoint.base_url + path;
  request.headers = {{"Content-Type", "application/json"}, {"Accept", "text/event-stream"}};
  if (!endpoint.key.empty()) request.headers.emplace_back("Authorization", "Bearer " + endpoint.key);
  request.body = dump(body);
  return request;
}

}  // namespace wire

namespace {

using wire::json;

constexpr Wire kWires[] = {
    {"openai-responses", wire::request_openai_responses, wire::event_openai_responses},
    {"openai-chat", wire::request_openai_chat, wire::event_openai_chat},
    {"anthropic-messages", wire::request_anthropic, wire::event_anthropic},
    {"gemini-generate", wire::request_gemini, wire::event_gemini},
};

/// Words that providers put into `type`, `code` or `status` of an error; they say more than the HTTP status.
struct WordRow {
  std::string_view word, id;
};
constexpr WordRow kWords[] = {{"insufficient_quota", "llm.spend"},
                              {"insufficient_balance", "llm.spend"},
                              {"billing", "llm.spend"},
                              {"spend_limit", "llm.spend"},
                              {"credit", "llm.spend"},
                              {"authentication", "llm.auth"},
                              {"invalid_api_key", "llm.auth"},
                              {"api_key_invalid", "llm.auth"},
                              {"expired", "llm.auth"},
                              {"permission", "llm.auth"},
                              {"unauthenticated", "llm.auth"},
                              {"overloaded", "llm.overloaded"},
                              {"unavailable", "llm.overloaded"},
                              {"rate_limit", "llm.rate"},
                              {"resource_exhausted", "llm.rate"},
                              {"context_length", "llm.context"},
                              {"model_not_found", "llm.model"},
                              {"server_error", "llm.server"},
                              {"api_error", "llm.server"},
                              {"internal", "llm.server"}};

struct StatusRow {
  int status;
  std::string_view id;
};
constexpr StatusRow kStatuses[] = {{401, "llm.auth"},  {402, "llm.spend"},      {403, "llm.auth"},
                                   {404, "llm.model"}, {408, "llm.server"},     {409, "llm.server"},
                                   {429, "llm.rate"},  {503, "llm.overloaded"}, {529, "llm.overloaded"}};

struct HintRow {
  std::string_view id, hint;
};
constexpr HintRow kHints[] = {{"llm.auth", "check the key and what it may use"},
                              {"llm.spend", "the account's own limit is reached: add credit, or raise it there"},
                              {"llm.model", "check the model's name"},
                              {"llm.context", "choose a model with a larger context"}};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// The error object, wherever the provider put it: {"error": {...}}, [{"error": ...}], {"error": "text"}, {...}.
json error_object(std::string_view body) {
  json value = json::parse(body, nullptr, false);
  if (value.is_array() && !value.empty()) value = value.front();
  if (!value.is_object()) return json::object({{"message", std::string(cut_utf8(body, 300))}});
  const json& error = wire::member(value, "error");
  if (error.is_string()) return json::object({{"message", error}});
  return error.is_object() ? error : value;
}

std::string id_of(int status, const json& error) {
  std::string words;
  for (const char* key : {"type", "code", "status"}) words += lower(wire::text(error, key)) + " ";
  // Google names the reason of a refused key inside `details` only.
  words += lower(wire::dump(wire::member(error, "details")));
  for (const WordRow& row : kWords)
    if (words.find(row.word) != std::string::npos) return std::string(row.id);
  const int code = status != 0 ? status : static_cast<int>(wire::count(error, "code"));
  for (const StatusRow& row : kStatuses)
    if (row.status == code) return std::string(row.id);
  return code >= 500 || code == 0 ? "llm.server" : "llm.request";
}

}  // namespace

const Wire* find_wire(std::string_view name) {
  for (const Wire& row : kWires)
    if (row.name == name) return &row;
  return nullptr;
}

Status StreamState::append(std::string_view more) {
  if (text.size() + more.size() > text_limit_bytes)
    return Failure{"llm.too_large", "the reply exceeds " + std::to_string(text_limit_bytes) + " bytes", ""};
  text += more;
  return ok_status();
}

Failure error_of(int status, std::string_view body) {
  const json error = error_object(body);
  Failure failure{id_of(status, error), wire::text(error, "message"), ""};
  if (failure.message.empty()) failure.message = "the provider gave no reason";
  failure.message = redact(as_utf8(cut_utf8(failure.message, 500)));
  while (failure.message.ends_with('.')) failure.message.pop_back();
  std::replace(failure.message.begin(), failure.message.end(), '\n', ' ');
  if (status != 0) failure.message = "HTTP " + std::to_string(status) + ": " + failure.message;
  for (const HintRow& row : kHints)
    if (row.id == failure.id) failure.hint = row.hint;
  return failure;
}

double retry_delay_of(std::string_view body) {
  const json error = error_object(body);
  for (const json& detail :
       wire::member(error, "details").is_array() ? wire::member(error, "details") : json::array()) {
    const std::string delay = wire::text(detail, "retryDelay");  // "34s"
    if (delay.empty()) continue;
    char* end = nullptr;
    const double seconds = std::strtod(delay.c_str(), &end);
    if (end != delay.c_str() && seconds >= 0) return seconds;
  }
  return -1;
}

}  // namespace kw::author
