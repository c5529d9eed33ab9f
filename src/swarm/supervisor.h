#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "swarm/journal.h"
#include "swarm/pipeline.h"
#include "swarm/purse.h"
#include "swarm/seat.h"

namespace kw::swarm {

/// One run of several authors: a thread for each, one table of decisions.
class Supervisor {
 public:
  Supervisor(const graph::Problem& problem, target::Target& target, store::Store& store,
             const SuperviseOptions& options, author::Picodollars spent);
  /// Takes up what an earlier part of the run left.
  Status resume();
  Status prepare_brochures();
  SwarmResult run();

 private:
  struct Turn {
    store::AskRow ask;
    author::History history;
    author::Prompt prompt;
    bool starter = false;
  };
  // An author's thread.
  void serve(Seat& seat);
  bool wait_for_grant(Seat& seat);
  Result<Turn> begin_turn(Seat& seat);
  void take_reply(Seat& seat, const Turn& turn, const std::string& reply);
  void take_failure(Seat& seat, const Turn& turn, const Failure& failure);
  void take_verdict(Seat& seat, const Turn& turn, const kernel::Candidate& candidate, const Judged& judged);
  void remember(Seat& seat, const Turn& turn, author::HistoryItem item, int64_t attempt);
  void restore_judged(Seat& seat, const store::AskRow& ask, const std::vector<store::AttemptRow>& attempts);
  // The embedded author's thread.
  void serve_search();
  // Decisions, under the lock.
  std::string reason_to_stop(const Seat& seat) const;
  bool may_ask(const Seat& seat, std::string& why) const;
  void note_gain(Seat& seat, double seconds);
  void progress();
  bool cancelled() const;
  double left_s() const;
  void play_off();
  SwarmResult finish();
  Account account() const;

  const graph::Problem& problem_;
  target::Target& target_;
  store::Store& store_;
  const SuperviseOptions& options_;
  Journal journal_;
  Device own_device_;
  Device& device_;
  Meter meter_;
  Purse purse_;
  Pipeline pipeline_;
  author::Brochure brochure_, starter_brochure_;
  double begun_s_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Seat> seats_;
  Seat search_;
  std::vector<Finalist> finalists_;
  std::vector<double> latencies_s_;
  std::vector<author::Feedback> failures_;
  std::optional<judge::Verdict> last_verdict_;
  std::atomic<bool> stop_{false};
  int attempts_ = 0;
};

}  // namespace kw::swarm
