#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "author/search/search.h"

namespace kw::author {

/// Times schedules in place: each round assembles the whole graph with the next schedule of every piece, so one
/// compile and one run measure a schedule of each piece, in the cache state in which it will run.
class Tuner {
 public:
  struct Setup {
    const graph::Graph& graph;
    const kernel::schedule::Partition& parts;
    kernel::Facts facts;
    std::vector<Tensor> inputs;
    std::map<std::string, Tensor> params;
    std::string device;  // key of the store's schedules
    std::chrono::steady_clock::time_point deadline;
  };
  Tuner(target::Target& target, store::Store* store, const SearchOptions& options, Setup setup);

  struct Outcome {
    kernel::schedule::Choice choice;
    double seconds = 0;  // of one whole call; 0 when nothing could be measured
    int measured = 0;
  };
  Outcome tune();
  /// Of one call with the schedules that are best by now; 0 when it cannot be measured.
  double call_seconds();

 private:
  struct PieceState {
    std::string key;
    std::vector<kernel::schedule::Schedule> untried;  // best predicted first
    kernel::schedule::Schedule best;
    double best_s = 0;  // 0: not measured yet
  };
  struct Measured {
    double call_s = 0;
    std::vector<double> piece_s;
  };
  void recall(PieceState& state, const std::vector<kernel::schedule::Option>& options);
  bool more() const;
  kernel::schedule::Choice next_choice();
  kernel::schedule::Choice best_choice() const;
  Result<Measured> measure(const kernel::schedule::Choice& choice);
  void learn(const kernel::schedule::Choice& choice, const Measured& measured);

  target::Target& target_;
  store::Store* store_;
  const SearchOptions& options_;
  Setup setup_;
  std::vector<PieceState> states_;
};

}  // namespace kw::author
