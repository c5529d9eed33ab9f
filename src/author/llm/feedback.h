#pragma once
#include <string>

#include "judge/verdict.h"

namespace kw::author {

/// What the judge found, in words that an author can act on: the compiler's messages with the lines that they name, the
/// witness with its element, the gate's reason. `source` is the candidate's.
std::string feedback_of(const judge::Verdict& verdict, const std::string& source);

/// A verified candidate: its time, the best time, and the gap to what is possible. Times of 0 are unknown.
std::string feedback_of_time(double seconds, double best_s, double roofline_s);

}  // namespace kw::author
