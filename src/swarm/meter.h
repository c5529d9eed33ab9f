#pragma once
#include "graph/problem.h"
#include "kernel/candidate.h"
#include "swarm/device.h"
#include "target/target.h"

namespace kw::swarm {

/// Times candidates for ranking, never for claims: each side by side with the best so far, in turns, in halving rounds.
/// A candidate that is clearly slower is dropped after a few calls; one that is close gets them all.
class Meter {
 public:
  Meter(const graph::Problem& problem, target::Target& target, Device& device);
  virtual ~Meter() = default;
  /// Seconds of one call. With an incumbent of known time: its time, times the ratio measured side by side, so that
  /// all times of a run stand on one scale however busy the machine was.
  virtual Result<double> measure(const kernel::Candidate& candidate, const kernel::Candidate* incumbent,
                                 double incumbent_s);

 private:
  Result<std::unique_ptr<target::Session>> open(const kernel::Candidate& candidate);

  const graph::Problem& problem_;
  target::Target& target_;
  Device& device_;
  std::vector<Tensor> inputs_;
  std::map<std::string, Tensor> params_;
};

}  // namespace kw::swarm
