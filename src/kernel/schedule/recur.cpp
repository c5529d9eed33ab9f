#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "kernel/emit/dialect.h"
#include "kernel/schedule/composer.h"
#include "kernel/schedule/family.h"
#include "kernel/schedule/usage.h"

namespace kw::kernel::schedule {
namespace {

using graph::NodeId;

/// A copy that one turn makes: to[to_at] = from[from_at], offsets in elements, as C++ text over the turn t.
struct TurnCopy {
  DType dtype;
  std::string from, to, from_at, to_at, condition;
  int64_t count;
};

/// A loop as a Plan's repeat: every turn runs the body's own pieces, then one kernel that moves the new carries, stacks
/// the turn's values and fetches the next turn's slices.
class RecurLowering {
 public:
  explicit RecurLowering(const Task& task)
      : task_(task), node_(task.graph[task.piece.anchor]), attr_(node_.as<graph::RecurAttr>()), body_(*attr_.body) {}

  Result<Lowered> lower() {
    mark_invariants();
    name_body_inputs();
    const Partition parts = partition(body_, task_.facts);
    const Choice choice = default_choice(body_, parts, task_.facts);
    std::vector<NodeId> kept;
    for (const graph::OutputInfo& o : body_.outputs) kept.push_back(o.node);
    Result<Composition> made = compose({body_, parts, choice, task_.facts, task_.name + "_", names_}, kept);
    if (!made) return made.failure();
    out_.text += made->text;
    out_.notes = std::move(made->notes);
    for (Buffer& b : made->buffers) out_.buffers.push_back(std::move(b));
    out_.prepare = std::move(made->prepare);
    first_turn();
    auto repeat = std::make_shared<Repeat>();
    repeat->count = attr_.steps;
    repeat->index.assign(1, 't');  // GCC 12 warns falsely of a copied literal
    repeat->steps = std::move(made->steps);
    add_turn(repeat->steps, made->value_names);
    if (attr_.steps > 0) out_.steps.emplace_back(std::move(repeat));
    last_turn();
    return std::move(out_);
  }

 private:
  size_t carries() const { return static_cast<size_t>(attr_.n_carry); }
  size_t sequences() const { return static_cast<size_t>(attr_.n_seq); }

  /// Invariants that depend on parameters only are parameters of the body: its families may prepack them.
  void mark_invariants() {
    const Usage usage(task_.graph);
    for (size_t i = 0; i < body_.nodes.size(); ++i) {
      auto* in = std::get_if<graph::InputAttr>(&body_.nodes[i].attr);
      if (!in || static_cast<size_t>(in->index) < carries() + sequences()) continue;
      const NodeId outer = node_.inputs[static_cast<size_t>(in->index)];
      names_[static_cast<NodeId>(i)] = buffer_name(outer);
      if (usage.parameter_only[static_cast<size_t>(outer)])
        body_.nodes[i].attr = graph::ParamAttr{fmt::format("invariant {}", in->index)};
    }
  }

  std::string own_buffer(const std::string& what, DType dtype, const Shape& shape) {
    Buffer b;
    b.name = task_.name + what;
    b.dtype = dtype;
    for (int64_t extent : shape) b.shape.emplace_back(extent);
    out_.buffers.push_back(b);
    return b.name;
  }

  void name_body_inputs() {
    for (size_t i = 0; i < carries() + sequences(); ++i) {
      const graph::Node& outer = task_.graph[node_.inputs[i]];
      const bool carry = i < carries();
      const Shape slice = carry ? outer.shape : Shape(outer.shape.begin() + 1, outer.shape.end());
      held_.push_back(own_buffer(fmt::format("_{}{}", carry ? "c" : "x", i), outer.dtype, slice));
      count_.push_back(element_count(slice));
    }
    for (size_t i = 0; i < body_.nodes.size(); ++i)
      if (const auto* in = std::get_if<graph::InputAttr>(&body_.nodes[i].attr))
        if (static_cast<size_t>(in->index) < held_.size())
          names_[static_cast<NodeId>(i)] = held_[static_cast<size_t>(in->index)];
  }

  DType held_dtype(size_t i) const { return task_.graph[node_.inputs[i]].dtype; }
  std::string slice_at(const std::string& turn, int64_t count) const {
    const std::string t = attr_.reverse ? fmt::format("({} - ({}))", attr_.steps - 1, turn) : "(" + turn + ")";
    return fmt::format("{} * {}", t, count);
  }

  void first_turn() {
    std::vector<TurnCopy> copies;
    for (size_t i = 0; i < held_.size() && attr_.steps > 0; ++i)
      copies.push_back({held_dtype(i), buffer_name(node_.inputs[i]), held_[i],
                        i < carries() ? "0" : slice_at("0", count_[i]), "0", "true", count_[i]});
    add_kernel("_first", copies, out_.steps);
  }

  const graph::Node* item(size_t index, std::string* name) const {
    for (NodeId id : task_.piece.outputs)
      if (task_.graph[id].as<graph::ItemAttr>().index == static_cast<int>(index)) {
        *name = buffer_name(id);
        return &task_.graph[id];
      }
    return nullptr;
  }

  void add_turn(std::vector<Step>& steps, const std::map<NodeId, std::string>& values) {
    std::vector<TurnCopy> copies, late;
    for (size_t k = 0; k < body_.outputs.size(); ++k) {
      const NodeId id = body_.outputs[k].node;
      const graph::Node& n = body_[id];
      const int64_t count = element_count(n.shape);
      const std::string& from = values.at(id);
      if (k < carries()) {
        if (from != held_[k]) add_carry(k, from, n.dtype, count, copies, late);
      } else if (std::string to; item(k, &to)) {
        copies.push_back({n.dtype, from, to, "0", slice_at("t", count), "true", count});
      }
    }
    std::vector<TurnCopy> next;
    for (size_t i = carries(); i < held_.size(); ++i)
      next.push_back({held_dtype(i), buffer_name(node_.inputs[i]), held_[i], slice_at("t + 1", count_[i]), "0",
                      fmt::format("t + 1 < {}", attr_.steps), count_[i]});
    // Values taken straight from a body input are read before the input is overwritten.
    const bool reads_held = std::any_of(copies.begin(), copies.end(), [&](const TurnCopy& c) {
      return std::find(held_.begin(), held_.end(), c.from) != held_.end();
    });
    if (reads_held) add_kernel("_stack", std::exchange(copies, {}), steps, true);
    for (auto* list : {&late, &next}) copies.insert(copies.end(), list->begin(), list->end());
    add_kernel("_turn", copies, steps, true);
  }

  /// A carry that takes over another input's value goes through a spare buffer: the two may swap.
  void add_carry(size_t k, const std::string& from, DType dtype, int64_t count, std::vector<TurnCopy>& copies,
                 std::vector<TurnCopy>& late) {
    if (std::find(held_.begin(), held_.end(), from) == held_.end()) {
      late.push_back({dtype, from, held_[k], "0", "0", "true", count});
      return;
    }
    const std::string spare = own_buffer(fmt::format("_n{}", k), dtype, {count});
    copies.push_back({dtype, from, spare, "0", "0", "true", count});
    late.push_back({dtype, spare, held_[k], "0", "0", "true", count});
  }

  void last_turn() {
    std::vector<TurnCopy> copies;
    for (size_t k = 0; k < carries(); ++k) {
      std::string to;
      if (!item(k, &to)) continue;
      const std::string from = attr_.steps > 0 ? held_[k] : buffer_name(node_.inputs[k]);
      copies.push_back({held_dtype(k), from, to, "0", "0", "true", count_[k]});
    }
    add_kernel("_last", copies, out_.steps);
  }

  /// One launch a copy, a thread an element: equal copies share their kernel.
  void add_thread_copies(const std::string& suffix, const std::vector<TurnCopy>& copies, std::vector<Step>& steps,
                         bool turn) {
    for (size_t i = 0; i < copies.size(); ++i) {
      const TurnCopy& c = copies[i];
      if (c.count == 0) continue;
      Launch launch;
      launch.kernel = fmt::format("{}{}{}", task_.name, suffix, i);
      launch.args = {c.from, c.to};
      if (turn) launch.args.emplace_back(ScalarArg{"i32", *SizeExpr::parse("t"), std::nullopt});
      launch.groups = {(c.count + 255) / 256, 1, 1};
      launch.group = {256, 1, 1};
      const std::string& type = emit::msl_dialect().stored_types.at(c.dtype);
      out_.text += fmt::format(
          "[[max_total_threads_per_threadgroup(256)]] kernel void {}(device const {}* from [[buffer(0)]], device {}* "
          "to [[buffer(1)]]{}, uint i [[thread_position_in_grid]]) {{\n  if (i < {} && {}) to[{} + i] = from[{} + "
          "i];\n}}\n",
          launch.kernel, type, type, turn ? ", constant int& t [[buffer(2)]]" : "", c.count, c.condition, c.to_at,
          c.from_at);
      steps.emplace_back(std::move(launch));
    }
  }

  /// One kernel, one task a copy.
  void add_kernel(const std::string& suffix, const std::vector<TurnCopy>& copies, std::vector<Step>& steps,
                  bool turn = false) {
    if (copies.empty()) return;
    if (task_.facts.dialect == "msl") return add_thread_copies(suffix, copies, steps, turn);
    Launch launch;
    launch.kernel = task_.name + suffix;
    launch.groups = {static_cast<int64_t>(copies.size()), 1, 1};
    std::string params, cases;
    for (size_t i = 0; i < copies.size(); ++i) {
      const TurnCopy& c = copies[i];
      const std::string& type = emit::cpp_dialect().stored_types.at(c.dtype);
      params += fmt::format("const {0}* f{1}, {0}* t{1}, ", type, i);
      cases += fmt::format("  if (group.x == {} && {}) memcpy(t{} + {}, f{} + {}, {} * sizeof({}));\n", i, c.condition,
                           i, c.to_at, i, c.from_at, c.count, type);
      launch.args.emplace_back(c.from);
      launch.args.emplace_back(c.to);
    }
    if (turn) {
      params += "int64_t t, ";
      launch.args.emplace_back(ScalarArg{"i64", *SizeExpr::parse("t"), std::nullopt});
    }
    out_.text += fmt::format("KW_KERNEL void {}({}KwGroup group) {{\n{}}}\n", launch.kernel, params, cases);
    steps.emplace_back(std::move(launch));
  }

  const Task& task_;
  const graph::Node& node_;
  const graph::RecurAttr& attr_;
  graph::Graph body_;
  Lowered out_;
  std::map<NodeId, std::string> names_;
  std::vector<std::string> held_;  // carries, then this turn's slices
  std::vector<int64_t> count_;
};

class RecurFamily : public Family {
 public:
  std::string name() const override { return "recur"; }
  bool speaks(const Facts&) const override { return true; }
  bool covers(const graph::Graph&, const Piece& piece) const override { return piece.kind == PieceKind::recur; }
  std::vector<Schedule> space(const graph::Graph&, const Piece&, const Facts&) const override { return {{name(), {}}}; }
  double predicted_s(const graph::Graph& graph, const Piece& piece, const Schedule&,
                     const Facts& facts) const override {
    const auto& attr = graph[piece.anchor].as<graph::RecurAttr>();
    const Partition parts = partition(*attr.body, facts);
    const Choice choice = default_choice(*attr.body, parts, facts);
    const double turn = schedule::predicted_s(*attr.body, parts, choice, facts) + facts.launch_s;
    return static_cast<double>(attr.steps) * turn;
  }
  Result<Lowered> lower(const Task& task, const Schedule&) const override { return RecurLowering(task).lower(); }
};

}  // namespace

std::unique_ptr<Family> make_recur() { return std::make_unique<RecurFamily>(); }

}  // namespace kw::kernel::schedule
