#include "swarm/purse.h"

#include <chrono>
#include <nlohmann/json.hpp>

namespace kw::swarm {
namespace {

using nlohmann::json;

Failure budget_spent(Picodollars left) {
  return {"budget.spent", "the budget is spent: " + author::usd_text(left) + " are left, less than a reply can cost",
          "raise --budget-usd and `kernelwright resume`"};
}

}  // namespace

Result<Picodollars> Purse::reserve(Picodollars least, Picodollars most, const std::function<bool()>& cancelled) {
  std::unique_lock lock(mutex_);
  while (budget_ - spent_ - reserved_ < least) {
    if (budget_ - spent_ < least || reserved_ == 0) return budget_spent(budget_ - spent_);
    if (cancelled && cancelled()) return Failure{"stopped", "stopped", ""};
    changed_.wait_for(lock, std::chrono::milliseconds(100));
  }
  const Picodollars taken = std::min(most, budget_ - spent_ - reserved_);
  reserved_ += taken;
  return taken;
}

void Purse::settle(Picodollars reserved, Picodollars amount) {
  const std::lock_guard lock(mutex_);
  reserved_ -= reserved;
  spent_ += amount;
  changed_.notify_all();
}

bool Purse::could_afford(Picodollars least) const {
  const std::lock_guard lock(mutex_);
  return budget_ - spent_ >= least;
}

Picodollars Purse::spent() const {
  const std::lock_guard lock(mutex_);
  return spent_;
}

Picodollars Purse::left() const {
  const std::lock_guard lock(mutex_);
  return budget_ - spent_ - reserved_;
}

Result<Picodollars> AskPayments::reserve(Picodollars least, Picodollars most) {
  auto taken = purse_.reserve(least, most, cancelled_);
  if (!taken) return taken;
  if (Status kept = store_.reserve_ask(ask_, *taken); !kept) {
    purse_.settle(*taken, 0);
    return kept.failure();
  }
  reserved_ = *taken;
  ++requests_;
  return taken;
}

Status AskPayments::settle(const author::Settlement& s) {
  usage_ += s.usage;
  spent_ += s.amount;
  Status kept = store_.settle_ask(ask_, s.amount, usage_json(usage_), s.reply);
  purse_.settle(reserved_, s.amount);
  reserved_ = 0;
  return kept;
}

std::string usage_json(const author::Usage& u) {
  return json{{"uncached_input", u.uncached_input},
              {"cache_read", u.cache_read},
              {"cache_write", u.cache_write},
              {"output", u.output},
              {"reasoning", u.reasoning}}
      .dump();
}

author::Usage usage_from_json(const std::string& text) {
  const json o = json::parse(text, nullptr, false);
  if (!o.is_object()) return {};
  return {.uncached_input = o.value("uncached_input", int64_t{0}),
          .cache_read = o.value("cache_read", int64_t{0}),
          .cache_write = o.value("cache_write", int64_t{0}),
          .output = o.value("output", int64_t{0}),
          .reasoning = o.value("reasoning", int64_t{0}),
          .cost_usd = {}};
}

}  // namespace kw::swarm
