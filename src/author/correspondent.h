#pragma once
#include <functional>
#include <string>

#include "author/llm/usage.h"
#include "author/llm/wire.h"
#include "base/result.h"

namespace kw::author {

/// What one request came to.
struct Settlement {
  Picodollars amount = 0;
  Usage usage;
  bool lost = false;  // nobody knows whether it was billed, so `amount` is what was put aside
  std::string reply;  // "" when there is none; kept together with its price, so that it is never paid twice
};

/// Money for one request after another of one attempt.
class Payments {
 public:
  virtual ~Payments() = default;
  /// Puts aside what the next request can cost at most, durably, before it leaves: at least `least`, up to `most`.
  /// May wait until others have settled. returns: what was put aside. fails: budget.spent, stopped
  virtual Result<Picodollars> reserve(Picodollars least, Picodollars most) = 0;
  /// Durable when it returns; what was put aside beyond the amount is free again.
  virtual Status settle(const Settlement& settlement) = 0;
};

/// One attempt's question.
struct Letter {
  Prompt prompt;
  std::string brief_json;  // the same for programs; see docs/authors.md
  std::string key;         // names the attempt: sent along, so that a server can tell a repeated question
  uint64_t seed = 0;
  double time_left_s = 600;
  std::function<bool()> cancelled;  // may be empty
};

/// Whoever answers a question with text: a model behind HTTP, or a program.
class Correspondent {
 public:
  virtual ~Correspondent() = default;
  virtual std::string name() const = 0;
  /// What one request with this prompt costs at most; 0 for a free author.
  virtual Picodollars bound(const Prompt& prompt) const = 0;
  /// The reply's text. Each request is paid for through `payments`.
  /// fails: llm.* and http.* (see docs/authors.md), command.*, budget.spent, stopped
  virtual Result<std::string> ask(const Letter& letter, Payments& payments) = 0;
  /// What `authors` shows: where it is and what it costs.
  virtual std::string describe() const = 0;
};

/// Will this author never answer in this run? Keys, credit, prices and names do not mend themselves.
bool is_final(const Failure& failure);

}  // namespace kw::author
