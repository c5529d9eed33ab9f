#pragma once
#include <string>
#include <vector>

#include "author/llm/usage.h"

namespace kw::swarm {

/// One author as the bandit sees it.
struct Arm {
  std::string name;
  int pulls = 0;
  double gain = 0;                // sum of log(best before / best after) of its attempts
  author::Picodollars spent = 0;  // in money
  double seconds = 0;             // waiting for it
  author::Picodollars bound = 0;  // of its next attempt
};

struct Pull {
  int arm = -1;     // of `ready`; -1: none can be paid
  std::string why;  // one clause for the log
};

/// Gain per cost with a bonus for what is little known (UCB1). A verified first kernel counts as a gain of
/// `kFirstGain`.
double score(const Arm& arm, int all_pulls);

/// Whom to ask next among those that are ready, given what is left. While everybody can be paid, everybody is asked in
/// order of score; when money is short, only the best score that it still covers.
Pull choose(const std::vector<Arm>& ready, int all_pulls, author::Picodollars left);

constexpr double kFirstGain = 0.7;  // about a factor of two

}  // namespace kw::swarm
