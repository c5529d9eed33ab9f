#pragma once
#include "author/llm/feedback.h"
#include "graph/problem.h"
#include "kernel/candidate.h"
#include "swarm/device.h"
#include "target/target.h"

namespace kw::swarm {

/// Times candidates for ranking, never for claims: each side by side with the best so far, in turns, in halving rounds.
/// A candidate that is clearly slower is dropped after a few calls; one that is close gets them all. Where the device
/// is not here, the target's prediction stands in for the clock.
class Meter {
 public:
  Meter(const graph::Problem& problem, target::Target& target, Device& device);
  virtual ~Meter() = default;
  struct Measured {
    double seconds = 0;      // of one call: the least of the medians of its turns, which load disturbs least
    double incumbent_s = 0;  // the same of the incumbent, measured in between; 0: none was
    std::vector<author::LaunchTime> launches;  // where a call spends its time; empty for a single launch
  };
  virtual Result<Measured> measure(const kernel::Candidate& candidate, const kernel::Candidate* incumbent);

 private:
  struct Built {
    target::Compiled compiled;
    kernel::BoundPlan plan;
  };
  struct Opened {
    std::unique_ptr<target::Session> session;
    kernel::BoundPlan plan;
  };
  Result<Built> build(const kernel::Candidate& candidate);
  Result<Opened> open(const kernel::Candidate& candidate);
  std::vector<author::LaunchTime> profile(Opened& opened);
  Result<Measured> predict(const kernel::Candidate& candidate);
  Result<target::Session*> rival(const kernel::Candidate& incumbent);
  Result<Measured> race(target::Session& session, const kernel::Candidate* incumbent);

  const graph::Problem& problem_;
  target::Target& target_;
  Device& device_;
  std::vector<Tensor> inputs_;
  std::map<std::string, Tensor> params_;
  // The best so far, kept open because every candidate is measured against it; touched in a turn at the device only.
  std::string rival_key_;
  std::unique_ptr<target::Session> rival_;
};

}  // namespace kw::swarm
