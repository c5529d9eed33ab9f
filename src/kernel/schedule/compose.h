#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/graph.h"
#include "graph/problem.h"
#include "kernel/candidate.h"
#include "kernel/facts.h"
#include "kernel/schedule/family.h"

/// What an author of kernels by search works with: pieces, their schedules, and Candidates made of them.
namespace kw::kernel::schedule {

/// A Graph cut into pieces in an order in which they can run; prepare pieces first.
struct Partition {
  std::vector<Piece> pieces;
};
Partition partition(const graph::Graph& graph, const Facts& facts);

/// One schedule for each piece, as Partition::pieces.
using Choice = std::vector<Schedule>;

/// Legal schedules of a piece from every family that covers it, best predicted first.
struct Option {
  Schedule schedule;
  double predicted_s = 0;
};
std::vector<Option> options(const graph::Graph& graph, const Piece& piece, const Facts& facts);
Choice default_choice(const graph::Graph& graph, const Partition& parts, const Facts& facts);
double predicted_s(const graph::Graph& graph, const Partition& parts, const Choice& choice, const Facts& facts);

/// Source and Plan of the whole graph. fails: schedule.lower (a family refused a schedule it had offered)
/// piece_of_step, when given: for each launch of the bound Plan's steps, the piece it belongs to (copies at the end
/// belong to none and are not listed).
Result<Candidate> assemble(const graph::Graph& graph, const Partition& parts, const Choice& choice, const Facts& facts,
                           std::vector<int>* piece_of_step = nullptr);
/// The best predicted Candidate, without any measuring.
Result<Candidate> default_candidate(const graph::Graph& graph, const Facts& facts);

/// A piece as a Graph of its own: its inputs become graph inputs (parameters stay parameters), its outputs outputs.
/// Inputs are listed in the order of `piece.inputs` without the parameters. To time a schedule alone.
graph::Graph piece_graph(const graph::Graph& graph, const Piece& piece);
/// Text that names the work of a piece (nodes, shapes, dtypes): the key under which measured schedules are stored.
std::string piece_key(const graph::Graph& graph, const Piece& piece);

}  // namespace kw::kernel::schedule
