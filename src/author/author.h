#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/problem.h"
#include "kernel/candidate.h"
#include "target/target.h"

namespace kw::author {

/// What an earlier attempt came to, in words an author can act on.
struct Feedback {
  std::string candidate_key;
  std::string text;
};

/// What an author is told.
struct Brief {
  const graph::Problem* problem = nullptr;
  target::Facts facts;
  std::vector<kernel::Candidate> incumbents;
  std::vector<Feedback> feedback;
  std::vector<std::string> references;  // kernels of other targets
  double time_left_s = 60;
};

/// Anything that answers a Brief with Candidates.
class Author {
 public:
  virtual ~Author() = default;
  virtual std::string name() const = 0;
  virtual Result<std::vector<kernel::Candidate>> answer(const Brief& brief) = 0;
};

}  // namespace kw::author
