#pragma once
#include <functional>
#include <string>

#include "author/author.h"
#include "kernel/facts.h"
#include "kernel/schedule/compose.h"
#include "store/store.h"
#include "target/target.h"

/// The embedded author: rewrites the graph, cuts it into pieces, ranks schedules by a model and times the best few.
namespace kw::author {

struct SearchOptions {
  int rounds = 20;                                   // schedules tried for each piece, at most
  bool assume_finite = true;                         // rewrites that need finite values are allowed, and declared
  std::function<void(const std::string&)> progress;  // may be empty
};

/// The same machine restricted to a narrower instruction set: for the variants that other machines run.
kernel::Facts facts_for_isa(const kernel::Facts& facts, const std::string& isa);

class SearchAuthor : public Author {
 public:
  /// `store` may be null: nothing is then remembered.
  SearchAuthor(target::Target& target, store::Store* store, SearchOptions options);
  std::string name() const override { return "search"; }
  /// Best measured first, then more cautious ones: untuned, unrewritten.
  Result<std::vector<kernel::Candidate>> answer(const Brief& brief) override;

 private:
  target::Target& target_;
  store::Store* store_;
  SearchOptions options_;
};

/// The untuned Candidate for another instruction set, from the same rewritten graph; carries the same notes.
Result<kernel::Candidate> variant_for_isa(const graph::Problem& problem, const target::Facts& facts,
                                          const std::string& isa, bool assume_finite = true);

/// The problem's graph after every rewrite that the search applies.
graph::Graph rewritten_graph(const graph::Problem& problem, bool assume_finite);

}  // namespace kw::author
