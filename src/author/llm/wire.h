#pragma once
#include <string>
#include <string_view>

#include "author/llm/catalogue.h"
#include "author/llm/http.h"
#include "author/llm/sse.h"

namespace kw::author {

/// What is sent, from what never changes to what always does, so that providers can reuse what they have read.
struct Prompt {
  std::string system;   // the same for every problem of a target
  std::string problem;  // the same for every attempt at a problem
  std::string history;  // of this attempt
  size_t bytes() const { return system.size() + problem.size() + history.size(); }
};

struct Endpoint {
  std::string base_url;
  std::string key;        // a registered secret, or ""
  std::string cache_key;  // names the fixed prefix, for providers that ask
};

struct CallShape {
  int64_t max_output = 0;  // tokens, reasoning included
  double temperature = -1;
  uint64_t seed = 0;
};

enum class StopReason : uint8_t { complete, length, refusal, context, filtered };

/// What has come of a stream so far.
struct StreamState {
  std::string text;
  Usage usage;
  StopReason stop = StopReason::complete;
  bool finished = false;  // the protocol's terminal event came
  size_t text_limit_bytes = 2u << 20;
  /// fails: llm.too_large
  Status append(std::string_view more);
};

/// One protocol: how a request is written and what each event of the answer does.
struct Wire {
  std::string_view name;
  HttpRequest (*request)(const Endpoint& endpoint, const ModelRow& model, const Prompt& prompt, const CallShape& shape);
  /// fails: llm.stream (malformed), or as error_of
  Status (*event)(const SseEvent& event, StreamState& state);
};

/// The protocols: openai-responses, openai-chat, anthropic-messages, gemini-generate. Null for another name.
const Wire* find_wire(std::string_view name);

/// What a provider's error means. `status` is 0 for one inside a stream. ids: llm.auth, llm.spend, llm.rate,
/// llm.overloaded, llm.server, llm.context, llm.model, llm.request
Failure error_of(int status, std::string_view body);
/// Seconds that an error body asks us to wait (Gemini's RetryInfo); negative when it does not.
double retry_delay_of(std::string_view body);

}  // namespace kw::author
