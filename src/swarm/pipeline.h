#pragma once
#include <condition_variable>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "judge/reference.h"
#include "judge/verdict.h"
#include "swarm/meter.h"

namespace kw::swarm {

/// What became of a candidate.
struct Judged {
  judge::Verdict verdict;
  double seconds = 0;  // of one call; 0: not measured
  bool twin = false;   // an equal candidate was judged before; this is its verdict
  double queued_s = 0, judged_s = 0, measured_s = 0;
  std::vector<author::LaunchTime> launches;  // where its time goes
};

struct Best {
  kernel::Candidate candidate;
  double seconds = 0;
};

struct PipelineOptions {
  judge::JudgeOptions judge;  // quick; its cache and time limit are set here
  int workers = 0;            // 0: usable cores
  bool dedupe = true;         // off: for measuring what it saves
  std::function<bool()> cancelled;
};

/// From candidate to verdict and time. Cheap gates run at once; compiling and judging fill the cores behind a queue
/// that serves whoever has had least of it, at low priority; measurements run one at a time. Candidates that are equal
/// but for form, or whose binaries are, are judged once.
class Pipeline {
 public:
  Pipeline(const graph::Problem& problem, target::Target& target, Meter& meter, PipelineOptions options);
  ~Pipeline();
  /// Returns when it is done; called by many threads at once.
  Judged evaluate(const kernel::Candidate& candidate);
  /// A candidate whose verdict and time an earlier part of the run found.
  void restore(const kernel::Candidate& candidate, double seconds);
  std::optional<Best> best() const;
  int judged() const;
  int twins() const;

 private:
  using Future = std::shared_future<Judged>;
  /// What a worker found. A twin may still be under judgement: its author waits for that, not the worker.
  struct Finding {
    Judged judged;
    std::optional<Future> twin;
  };
  struct Job {
    const kernel::Candidate* candidate;
    std::promise<Finding> done;
    double queued_at_s;
  };
  void warm_up();
  void forget(const std::string& key);
  std::optional<judge::Verdict> cheap_gates(const kernel::Candidate& candidate) const;
  std::optional<Future> find_twin(const std::string& key, std::promise<Judged>& mine);
  Finding judge_once(const kernel::Candidate& candidate);
  Judged judge_it(const kernel::Candidate& candidate);
  Judged through_queue(const kernel::Candidate& candidate);
  void measure(const kernel::Candidate& candidate, Judged& judged);
  void work();
  std::list<Job>::iterator next_job();

  const graph::Problem& problem_;
  target::Target& target_;
  Meter& meter_;
  PipelineOptions options_;
  kernel::Signature signature_;
  judge::ReferenceCache cache_;
  std::unique_ptr<judge::FrameworkOracle> oracle_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Job> queue_;
  std::map<std::string, double> served_s_;  // by author
  std::map<std::string, Future> twins_;     // by normal key and by binary
  std::optional<Best> best_;
  int judged_ = 0, twins_found_ = 0;
  bool closing_ = false;
  std::shared_future<void> warm_;
  std::vector<std::thread> workers_;
};

}  // namespace kw::swarm
