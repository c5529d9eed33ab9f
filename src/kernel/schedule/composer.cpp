#include "kernel/schedule/composer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <set>

#include "kernel/emit/emit.h"
#include "kernel/schedule/slots.h"

namespace kw::kernel::schedule {
namespace {

using graph::NodeId;

/// `text` with whole identifiers replaced.
std::string with_names(const std::string& text, const std::map<std::string, std::string>& names) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (!std::isalnum(c) && c != '_') {
      out += text[i++];
      continue;
    }
    size_t end = i;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_')) ++end;
    const std::string word = text.substr(i, end - i);
    const auto found = names.find(word);
    out += found == names.end() ? word : found->second;
    i = end;
  }
  return out;
}

class Composer {
 public:
  Composer(const ComposeRequest& request, const std::vector<NodeId>& kept)
      : r_(request), kept_(kept.begin(), kept.end()), slots_(request.prefix) {
    made_.value_names = request.given_names;
  }

  Result<Composition> run() {
    find_last_uses();
    for (size_t i = 0; i < r_.parts.pieces.size(); ++i) {
      const Status status = add_piece(i);
      if (!status) return status.failure();
    }
    for (Buffer& b : slots_.buffers()) made_.buffers.push_back(std::move(b));
    made_.text = texts_ + made_.text;
    return std::move(made_);
  }

 private:
  void find_last_uses() {
    for (size_t i = 0; i < r_.parts.pieces.size(); ++i)
      for (NodeId id : r_.parts.pieces[i].inputs) last_use_[id] = i;
  }

  Status add_piece(size_t number) {
    const Piece& piece = r_.parts.pieces[number];
    const Schedule& schedule = r_.choice[number];
    const Task task{r_.graph, piece, r_.facts, fmt::format("{}k{}", r_.prefix, number)};
    Result<Lowered> lowered = family_of(schedule.family).lower(task, schedule);
    if (!lowered) return lowered.failure();
    name_outputs(piece);
    std::map<std::string, std::string> names = own_buffers(*lowered, piece);
    for (const auto* list : {&piece.inputs, &piece.outputs})
      for (NodeId id : *list)
        if (made_.value_names.contains(id)) names[buffer_name(id)] = made_.value_names.at(id);
    add_text(*lowered, names);
    rename(lowered->prepare, names);
    rename(lowered->steps, names);
    auto& to = piece.prepare ? made_.prepare : made_.steps;
    move_steps(lowered->prepare, made_.prepare);
    move_steps(lowered->steps, to);
    for (const std::string& name : own_slots_) slots_.give_back(name);
    own_slots_.clear();
    free_inputs(piece, number);
    made_.notes.push_back(fmt::format("{}: {}", task.name, schedule.text()));
    for (std::string& note : lowered->notes) made_.notes.push_back(task.name + ": " + note);
    made_.piece_of_step.resize(static_cast<size_t>(count_launches(made_.steps)), static_cast<int>(number));
    return ok_status();
  }

  void name_outputs(const Piece& piece) {
    for (NodeId id : piece.outputs) {
      if (made_.value_names.contains(id)) continue;
      const graph::Node& n = r_.graph[id];
      if (!piece.prepare) {
        made_.value_names[id] = slots_.take(n.dtype, element_count(n.shape));
        continue;
      }
      Buffer b;
      b.name = fmt::format("{}p{}", r_.prefix, id);
      b.role = Role::prepared;
      b.dtype = n.dtype;
      for (int64_t extent : n.shape) b.shape.emplace_back(extent);
      made_.value_names[id] = b.name;
      made_.buffers.push_back(std::move(b));
    }
  }

  /// A piece's scratch goes to shared slots; its prepared buffers stay as they are.
  std::map<std::string, std::string> own_buffers(Lowered& lowered, const Piece& piece) {
    std::map<std::string, std::string> names;
    for (Buffer& b : lowered.buffers) {
      int64_t count = 1;
      bool known = b.role == Role::scratch && !piece.prepare;
      for (const SizeExpr& extent : b.shape) {
        const Result<int64_t> value = extent.evaluate({});
        known = known && value.ok();
        count *= value.ok() ? *value : 1;
      }
      // Scratch that prepare steps use too must not be shared with run steps' values.
      if (!known || mentions(lowered.prepare, b.name)) {
        made_.buffers.push_back(std::move(b));
        continue;
      }
      names[b.name] = slots_.take(b.dtype, count);
      own_slots_.push_back(names[b.name]);
    }
    return names;
  }

  static bool mentions(std::vector<Step>& steps, const std::string& name) {
    bool found = false;
    for_each_launch(steps, [&](Launch& l) {
      for (const Arg& arg : l.args)
        if (const auto* buffer = std::get_if<std::string>(&arg)) found = found || *buffer == name;
    });
    return found;
  }

  /// Kernels that differ only in names are printed once.
  void add_text(Lowered& lowered, std::map<std::string, std::string>& names) {
    (void)names;
    if (!lowered.text.empty() && texts_seen_.insert(lowered.text).second) texts_ += lowered.text + "\n";
    std::map<std::string, std::string> kernels;
    for (tile::Function& f : lowered.functions) {
      const std::string own = f.name;
      const std::string body = canonical(f);
      const auto [found, fresh] = kernel_of_.try_emplace(body, own);
      if (fresh) made_.text += with_names(body, {{"kw_this", own}}) + "\n";
      if (found->second != own) kernels[own] = found->second;
    }
    auto rename_kernel = [&](Launch& l) {
      if (const auto found = kernels.find(l.kernel); found != kernels.end()) l.kernel = found->second;
    };
    for_each_launch(lowered.prepare, rename_kernel);
    for_each_launch(lowered.steps, rename_kernel);
  }

  std::string canonical(tile::Function& f) const {
    std::map<std::string, std::string> names;
    for (size_t i = 0; i < f.params.size(); ++i) names[f.params[i].name] = fmt::format("p{}", i);
    f.name = "kw_this";
    return with_names(emit::emit(f, emit::dialect_of(r_.facts.dialect)), names);
  }

  static void rename(std::vector<Step>& steps, const std::map<std::string, std::string>& names) {
    for_each_launch(steps, [&](Launch& l) {
      for (Arg& arg : l.args)
        if (auto* name = std::get_if<std::string>(&arg))
          if (const auto found = names.find(*name); found != names.end()) *name = found->second;
    });
  }

  static void move_steps(std::vector<Step>& from, std::vector<Step>& to) {
    for (Step& s : from) to.push_back(std::move(s));
    from.clear();
  }

  void free_inputs(const Piece& piece, size_t number) {
    for (NodeId id : piece.inputs)
      if (last_use_[id] == number && !kept_.contains(id) && !r_.given_names.contains(id))
        slots_.give_back(made_.value_names.at(id));
  }

  const ComposeRequest& r_;
  const std::set<NodeId> kept_;
  Slots slots_;
  Composition made_;
  std::string texts_;
  std::set<std::string> texts_seen_;
  std::map<std::string, std::string> kernel_of_;
  std::map<NodeId, size_t> last_use_;
  std::vector<std::string> own_slots_;
};

constexpr int64_t copy_chunk = 1 << 16;

}  // namespace

int64_t count_launches(const std::vector<Step>& steps) {
  int64_t count = 0;
  for (const Step& step : steps) {
    const auto* repeat = std::get_if<std::shared_ptr<Repeat>>(&step);
    const auto times = repeat != nullptr ? (*repeat)->count.evaluate({}) : Result<int64_t>(1);
    count += repeat != nullptr && times.ok() ? *times * count_launches((*repeat)->steps) : 1;
  }
  return count;
}

void for_each_launch(std::vector<Step>& steps, const std::function<void(Launch&)>& f) {
  for (Step& step : steps) {
    if (auto* launch = std::get_if<Launch>(&step))
      f(*launch);
    else
      for_each_launch(std::get<std::shared_ptr<Repeat>>(step)->steps, f);
  }
}

std::string copy_kernel_text(DType dtype, const Facts& facts) {
  if (facts.dialect == "msl")
    return fmt::format(R"([[max_total_threads_per_threadgroup(256)]] kernel void kw_copy_{0}(
    device const {1}* from [[buffer(0)]], device {1}* to [[buffer(1)]], constant long& n [[buffer(2)]],
    uint i [[thread_position_in_grid]]) {{
  if (i < n) to[i] = from[i];
}}
)",
                       name_of(dtype), emit::msl_dialect().stored_types.at(dtype));
  return fmt::format(R"(KW_KERNEL void kw_copy_{0}(const {1}* from, {1}* to, int64_t n, KwGroup group) {{
  const int64_t begin = group.x * {2}, count = n - begin < {2} ? n - begin : {2};
  memcpy(to + begin, from + begin, static_cast<size_t>(count) * sizeof({1}));
}}
)",
                     name_of(dtype), emit::cpp_dialect().stored_types.at(dtype), copy_chunk);
}

Launch copy_launch(DType dtype, const std::string& from, const std::string& to, int64_t count, const Facts& facts) {
  const bool gpu = facts.dialect == "msl";
  const int64_t each = gpu ? 256 : copy_chunk;
  Launch l;
  l.kernel = fmt::format("kw_copy_{}", name_of(dtype));
  l.args = {from, to, ScalarArg{"i64", count, std::nullopt}};
  l.groups = {std::max<int64_t>(1, (count + each - 1) / each), 1, 1};
  if (gpu) l.group = {each, 1, 1};
  return l;
}

Result<Composition> compose(const ComposeRequest& request, const std::vector<NodeId>& kept) {
  return Composer(request, kept).run();
}

}  // namespace kw::kernel::schedule
