#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/graph.h"
#include "kernel/facts.h"
#include "kernel/plan.h"
#include "kernel/tile.h"

/// Schedule families: each makes kernels from a fused piece of Graph.
namespace kw::kernel::schedule {

/// What the partition saw when it cut a piece; a family decides by the nodes, this only says where to look.
enum class PieceKind : uint8_t {
  pointwise,  // Maps, views, casts, cat, gather: no anchor
  row,        // Reduces over one row domain, with the Maps between them
  contract,   // one Contract, its prologue and its epilogue
  single,     // one Scan, Sort, Scatter or other anchor, its prologue and (never) an epilogue
  recur       // one Recur node and its Items
};

/// A connected part of the Graph that becomes one kernel, or a few. Views and Maps of producers that are not stored
/// are members too (inlined). Everything a member reads is a member, a Constant or Iota, or in `inputs`.
struct Piece {
  PieceKind kind = PieceKind::pointwise;
  std::vector<graph::NodeId> nodes;    // members, topological; outputs are among them
  std::vector<graph::NodeId> inputs;   // values in buffers: Inputs, Params, or outputs of earlier pieces
  std::vector<graph::NodeId> outputs;  // members whose value goes to a buffer
  graph::NodeId anchor = -1;           // the first Reduce, or the Contract, Scan, Sort, Scatter, Recur
  bool prepare = false;                // depends on parameters only
};

/// A point of a family's space: integers by name ("mr": 6, "threads": 2).
struct Schedule {
  std::string family;
  std::map<std::string, int64_t> params;
  std::string text() const;  // "gemm{mr=6,nr=2}"
  int64_t get(const std::string& name, int64_t otherwise) const;
};

/// The kernels of one piece. In args a node's buffer is called buffer_name(node); a piece's own buffers carry the
/// kernel name as prefix.
struct Lowered {
  std::vector<tile::Function> functions;
  std::string text;             // C++ written directly: helpers and kernels, printed before the functions
  std::vector<Buffer> buffers;  // own scratch and prepared buffers
  std::vector<Step> prepare, steps;
  std::vector<std::string> notes;
};

/// "v12": how Launch args name the buffer that holds a node's value.
std::string buffer_name(graph::NodeId id);

/// What a family is given to lower: `name` is unique in the Candidate, prefix of every symbol and buffer it makes.
struct Task {
  const graph::Graph& graph;
  const Piece& piece;
  const Facts& facts;
  std::string name;
};

class Family {
 public:
  virtual ~Family() = default;
  virtual std::string name() const = 0;
  /// Whether it writes kernels in the dialect of these facts.
  virtual bool speaks(const Facts& facts) const { return facts.dialect == "cpp"; }
  virtual bool covers(const graph::Graph& graph, const Piece& piece) const = 0;
  /// Legal schedules, the one thought best first.
  virtual std::vector<Schedule> space(const graph::Graph& graph, const Piece& piece, const Facts& facts) const = 0;
  /// Analytic draft of one call's time.
  virtual double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule& schedule,
                             const Facts& facts) const = 0;
  virtual Result<Lowered> lower(const Task& task, const Schedule& schedule) const = 0;
};

/// Every family; the most special first, loopnest (which covers every piece) last. One line a family in families.cpp:
/// a factory function declared there ("std::unique_ptr<Family> make_pointwise();").
const std::vector<std::unique_ptr<Family>>& families();
const Family& family_of(const std::string& name);

/// max(time of the bytes, time of the flops) + launches: a start for predicted_s.
double roofline_s(double flops, double bytes, int launches, const Facts& facts);
/// Bytes of the piece's inputs (each read once) and outputs.
double piece_bytes(const graph::Graph& graph, const Piece& piece);

}  // namespace kw::kernel::schedule
