#pragma once
#include <string>
#include <vector>

#include "graph/problem.h"
#include "kernel/candidate.h"
#include "target/target.h"

namespace kw::redteam {

/// A candidate of the report, with where it comes from.
struct Work {
  const graph::Problem* problem = nullptr;
  kernel::Candidate candidate;
  std::string base;       // "linear/hand 1", "conv/window"
  std::string operation;  // of a mutant: the operator's name
  std::string site;       // of a mutant: what was changed into what
  std::string family;     // "hand", or the schedule family
};

/// A Plan that launches every kernel of `source` in order, each with all inputs, parameters and outputs and, if there
/// is any, the scratch buffer. Shapes are spelt out, so that it refuses others.
std::string plan_for(const graph::Problem& problem, const std::string& source, int64_t groups,
                     const std::vector<int64_t>& scratch);

/// A block of a data file: "=== a | b | c" and the lines up to the next one.
struct Block {
  std::vector<std::string> fields;
  std::string text;
};
/// fails: file.* ; a line before the first block that is not blank nor a comment is a bug
std::vector<Block> read_blocks(const std::string& file_name);

/// The hand-written kernels of kernels.txt.
std::vector<Work> hand_written();
/// What the schedule families make of every problem, up to `options` schedules of each piece.
std::vector<Work> scheduled(const kernel::Facts& facts, int options);
/// Sums in every order, fused or not, fast exponentials, split products: right, and to be left alone.
std::vector<Work> honest_variants();

}  // namespace kw::redteam
