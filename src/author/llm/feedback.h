#pragma once
#include <string>
#include <vector>

#include "judge/verdict.h"

namespace kw::author {

/// What the judge found, in words that an author can act on: the compiler's messages with the lines that they name, the
/// witness with its element, the gate's reason. `source` is the candidate's.
std::string feedback_of(const judge::Verdict& verdict, const std::string& source);

/// What one kernel takes of a call.
struct LaunchTime {
  std::string kernel;
  int launches = 0;
  double seconds = 0;  // of all its launches
  std::string bound;   // what holds it up, where that is known: "memory"
};

/// A verified candidate: its time, where it goes, the best time, and the gap to what is possible. Times of 0 are
/// unknown.
std::string feedback_of_time(double seconds, double best_s, double roofline_s,
                             const std::vector<LaunchTime>& launches = {});

}  // namespace kw::author
