#pragma once
#include <memory>
#include <string>

#include "author/correspondent.h"
#include "author/llm/bucket.h"
#include "author/llm/retry.h"

namespace kw::author {

/// What all models of a run share.
struct ClientSetup {
  HttpTransport* transport = nullptr;
  Clock* clock = nullptr;
  Buckets* buckets = nullptr;
  RetryPolicy retry;
  size_t reply_limit_bytes = 2u << 20;  // of text; the stream around it may be four times that
  double timeout_s = 600;
};

/// "$1.25 in, $10 out a million tokens (2026-09-05)", "free", "no price known".
std::string describe_prices(const ModelRow& model);

/// One model behind one endpoint.
class LlmAuthor final : public Correspondent {
 public:
  LlmAuthor(std::string name, const Wire& wire, Endpoint endpoint, ModelRow model, double requests_per_minute,
            ClientSetup setup);
  std::string name() const override { return name_; }
  Picodollars bound(const Prompt& prompt) const override;
  Result<std::string> ask(const Letter& letter, Payments& payments) override;
  std::string describe() const override { return describe_prices(model_); }

  const ModelRow& model() const { return model_; }
  const Endpoint& endpoint() const { return endpoint_; }

 private:
  struct Try;
  Result<Try> prepare(const Letter& letter, Payments& payments) const;
  Result<std::string> attempt(const Letter& letter, Payments& payments, int tries, RetryAdvice& advice);
  Status wait_for_turn(const Letter& letter);

  std::string name_;
  const Wire& wire_;
  Endpoint endpoint_;
  ModelRow model_;
  ClientSetup setup_;
  TokenBucket& bucket_;
};

}  // namespace kw::author
