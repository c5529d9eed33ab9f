#include "author/llm/client.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "base/secret.h"
#include "base/utf8.h"

namespace kw::author {
namespace {

constexpr int64_t kLeastOutput = 1024;     // fewer tokens hold no kernel
constexpr size_t kErrorBytes = 64u << 10;  // of an error's body that is read
constexpr size_t kStreamOverhead = 4;      // a stream's JSON around the text
constexpr double kTemperature = 0.8;       // attempts should differ; sent only where the model takes it

constexpr std::string_view kFinalIds[] = {"llm.auth",    "llm.spend",      "llm.model",      "llm.price",
                                          "llm.request", "llm.context",    "budget.spent",   "http.tls",
                                          "http.url",    "llm.overbilled", "command.missing"};

const Prices& prices_of(const ModelRow& model) {
  static const Prices none;
  return model.prices ? *model.prices : none;
}

/// What comes of one stream, whether it is events or an error's body.
struct Receiver {
  const Wire& wire;
  SseParser parser;
  StreamState state;
  std::string error_body;
  std::optional<Failure> failure;

  bool take(int status, std::string_view bytes) {
    if (status < 200 || status >= 300) {
      error_body += bytes.substr(0, kErrorBytes - std::min(kErrorBytes, error_body.size()));
      return true;
    }
    return keep(parser.feed(bytes, on_event()));
  }
  SseParser::OnEvent on_event() {
    return [this](const SseEvent& event) { return wire.event(event, state); };
  }
  bool keep(const Status& status) {
    if (!status) failure = status.failure();
    return status.ok();
  }
};

Failure stopped_early(const StreamState& state) {
  switch (state.stop) {
    case StopReason::refusal:
      return {"llm.refusal", "the model refused to answer", ""};
    case StopReason::filtered:
      return {"llm.refusal", "the provider withheld the answer", ""};
    case StopReason::context:
      return {"llm.context", "the question exceeds the model's context", "choose a model with a larger context"};
    default:
      return {"llm.length", "the answer was cut off at the output limit", ""};
  }
}

/// The reply as far as the stream itself is concerned.
Result<std::string> text_of(Receiver& receiver) {
  if (receiver.failure) return *receiver.failure;
  StreamState& state = receiver.state;
  if (!state.finished) return Failure{"llm.cut", "the stream ended before its terminal event", ""};
  // A reply that ran out of room may still hold the whole kernel: the reader decides.
  const bool usable = state.stop == StopReason::complete || (state.stop == StopReason::length && !state.text.empty());
  if (!usable) return stopped_early(state);
  if (!valid_utf8(state.text)) return Failure{"llm.utf8", "the reply is not valid UTF-8", ""};
  return redact(state.text);
}

}  // namespace

bool is_final(const Failure& failure) {
  return std::find(std::begin(kFinalIds), std::end(kFinalIds), failure.id) != std::end(kFinalIds);
}

struct LlmAuthor::Try {
  HttpRequest request;
  Picodollars reserved;
};

LlmAuthor::LlmAuthor(std::string name, const Wire& wire, Endpoint endpoint, ModelRow model, double requests_per_minute,
                     ClientSetup setup)
    : name_(std::move(name)),
      wire_(wire),
      endpoint_(std::move(endpoint)),
      model_(std::move(model)),
      setup_(setup),
      bucket_(setup.buckets->of(endpoint_.base_url, endpoint_.key, requests_per_minute)) {
  register_secret(endpoint_.key);
}

Picodollars LlmAuthor::bound(const Prompt& prompt) const {
  return cost_bound(prompt.bytes(), model_.ask_output, prices_of(model_));
}

std::string describe_prices(const ModelRow& model) {
  if (!model.prices) return "no price known";
  const Prices& p = *model.prices;
  if (p.input == 0 && p.output == 0) return "free";
  return fmt::format("${:g} in, ${:g} out a million tokens{}", to_usd(p.input * 1000000), to_usd(p.output * 1000000),
                     model.priced_on.empty() ? "" : " (" + model.priced_on + ")");
}

/// The request with as many output tokens as the purse allows.
Result<LlmAuthor::Try> LlmAuthor::prepare(const Letter& letter, Payments& payments) const {
  if (!model_.prices)
    return Failure{"llm.price", "no price is known for `" + name_ + "`, so no budget can hold",
                   "add a row to models.toml, see docs/authors.md"};
  const Prices& prices = *model_.prices;
  const int64_t least_output = std::min(kLeastOutput, model_.ask_output);
  const auto reserved = payments.reserve(cost_bound(letter.prompt.bytes(), least_output, prices), bound(letter.prompt));
  if (!reserved) return reserved.failure();
  CallShape shape{model_.ask_output, kTemperature, letter.seed};
  if (prices.output > 0)
    shape.max_output =
        std::min(shape.max_output, (*reserved - cost_bound(letter.prompt.bytes(), 0, prices)) / prices.output);
  Try prepared{wire_.request(endpoint_, model_, letter.prompt, shape), *reserved};
  prepared.request.headers.emplace_back("Idempotency-Key", letter.key);
  prepared.request.headers.emplace_back("User-Agent", "kernelwright");
  prepared.request.timeout_s = std::min(setup_.timeout_s, letter.time_left_s);
  prepared.request.reply_limit_bytes = setup_.reply_limit_bytes * kStreamOverhead;
  return prepared;
}

Status LlmAuthor::wait_for_turn(const Letter& letter) {
  const double end = setup_.clock->now_s() + letter.time_left_s;
  for (double wait = bucket_.take(); wait > 0; wait = bucket_.take()) {
    if (setup_.clock->now_s() + wait > end)
      return Failure{"llm.rate", fmt::format("the key's rate allows no request within the time left"), ""};
    if (!setup_.clock->sleep_s(wait, letter.cancelled)) return Failure{"stopped", "stopped", ""};
  }
  return ok_status();
}

/// One request, from the purse to its settlement.
Result<std::string> LlmAuthor::attempt(const Letter& letter, Payments& payments, int tries, RetryAdvice& advice) {
  if (Status turn = wait_for_turn(letter); !turn) return turn.failure();
  auto prepared = prepare(letter, payments);
  if (!prepared) return prepared.failure();
  Receiver receiver{wire_, SseParser(), {}, {}, {}};
  receiver.state.text_limit_bytes = setup_.reply_limit_bytes;
  const auto sent = setup_.transport->send(
      prepared->request, [&](int status, std::string_view bytes) { return receiver.take(status, bytes); },
      letter.cancelled);
  const uint64_t jitter = letter.seed ^ static_cast<uint64_t>(tries);
  const auto settle = [&](Picodollars amount, bool lost, const std::string& reply) {
    return payments.settle({amount, receiver.state.usage, lost, reply});
  };
  if (sent.ok() && sent->status >= 300) {  // refused before anything was made
    if (Status status = settle(0, false, ""); !status) return status.failure();
    const Failure failure = error_of(sent->status, receiver.error_body);
    advice = advise(failure, &*sent, retry_delay_of(receiver.error_body), tries, setup_.retry, jitter);
    if (failure.id == "llm.rate") bucket_.slow_down(advice.wait_s);
    return failure;
  }
  if (sent.ok() && !receiver.failure) receiver.keep(receiver.parser.finish(receiver.on_event()));
  // What our own reader found wrong says more than the transfer that it therefore stopped.
  Result<std::string> text = sent.ok() || receiver.failure ? text_of(receiver) : Result<std::string>(sent.failure());
  if (!text.ok() && text.failure().id == "http.stopped") text = Failure{"stopped", "stopped", ""};
  const bool billed = sent.ok() || was_sent(sent.failure());
  const bool known = receiver.state.finished;
  const Picodollars cost = known ? cost_of(receiver.state.usage, prices_of(model_)) : billed ? prepared->reserved : 0;
  if (Status status = settle(cost, billed && !known, text.ok() ? *text : ""); !status) return status.failure();
  if (cost > prepared->reserved)
    return Failure{"llm.overbilled", "the provider charged more than its own limits allow",
                   "check the prices in models.toml"};
  if (known) bucket_.speed_up();
  if (!text.ok()) advice = advise(text.failure(), nullptr, -1, tries, setup_.retry, jitter);
  return text;
}

Result<std::string> LlmAuthor::ask(const Letter& letter, Payments& payments) {
  const double end = setup_.clock->now_s() + letter.time_left_s;
  for (int tries = 1;; ++tries) {
    RetryAdvice advice;
    Result<std::string> text = attempt(letter, payments, tries, advice);
    if (text.ok() || !advice.retry) return text;
    if (setup_.clock->now_s() + advice.wait_s > end) return text;
    if (!setup_.clock->sleep_s(advice.wait_s, letter.cancelled)) return Failure{"stopped", "stopped", ""};
  }
}

}  // namespace kw::author
