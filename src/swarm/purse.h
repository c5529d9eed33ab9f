#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>

#include "author/correspondent.h"
#include "store/store.h"

namespace kw::swarm {

using author::Picodollars;

/// A hard budget: what a request can cost at most is put aside before it leaves, so that what is spent and what is
/// under way never exceed it together.
class Purse {
 public:
  Purse(Picodollars budget, Picodollars spent) : budget_(budget), spent_(spent) {}
  /// Waits while others' settlements may still free enough. returns: what was put aside, `least` to `most`.
  /// fails: budget.spent, stopped
  Result<Picodollars> reserve(Picodollars least, Picodollars most, const std::function<bool()>& cancelled);
  void settle(Picodollars reserved, Picodollars amount);
  /// Could a request that costs `least` still leave, now or after what is under way has settled?
  bool could_afford(Picodollars least) const;

  Picodollars budget() const { return budget_; }
  Picodollars spent() const;
  Picodollars left() const;  // neither spent nor put aside

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Picodollars budget_, spent_, reserved_ = 0;
};

/// The payments of one question: the purse decides, the store remembers before anything leaves.
class AskPayments final : public author::Payments {
 public:
  AskPayments(Purse& purse, store::Store& store, int64_t ask, std::function<bool()> cancelled)
      : purse_(purse), store_(store), ask_(ask), cancelled_(std::move(cancelled)) {}
  Result<Picodollars> reserve(Picodollars least, Picodollars most) override;
  Status settle(const author::Settlement& settlement) override;

  Picodollars spent() const { return spent_; }
  int requests() const { return requests_; }
  const author::Usage& usage() const { return usage_; }

 private:
  Purse& purse_;
  store::Store& store_;
  int64_t ask_;
  std::function<bool()> cancelled_;
  Picodollars reserved_ = 0, spent_ = 0;
  int requests_ = 0;
  author::Usage usage_;
};

std::string usage_json(const author::Usage& usage);
author::Usage usage_from_json(const std::string& text);

}  // namespace kw::swarm
