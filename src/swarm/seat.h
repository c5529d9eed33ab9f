#pragma once
#include <optional>
#include <string>
#include <vector>

#include "swarm/bandit.h"
#include "swarm/swarm.h"

namespace kw::swarm {

/// One author's place at the table: what it was asked, what came of it, and whether it is asked again.
struct Seat {
  author::Correspondent* voice = nullptr;
  int index = 0;
  AuthorReport report;
  std::vector<author::HistoryItem> history;
  int number = 1;           // of its next attempt
  int failed_in_a_row = 0;  // transport failures, which use no attempt up
  int flat = 0;             // verified kernels in a row without a gain over its own best
  Arm arm;
  bool ready = false, done = false, in_flight = false;
};

/// A verified candidate that may win.
struct Finalist {
  kernel::Candidate candidate;
  double seconds = 0;
  int number = 0, index = 0;  // attempt and author: among equals the earlier one wins
};

/// What sets authors apart that are given the same problem.
std::string hint_of(int index, int number);

/// Fastest first; within the noise of a measurement the earlier attempt, then the earlier author.
std::vector<Finalist> ranked(std::vector<Finalist> finalists);

/// Did the model answer, only not usably? Such an attempt is used up; a failed transfer is not.
bool uses_up_an_attempt(const Failure& failure);

double percentile(std::vector<double> values, double share);

}  // namespace kw::swarm
