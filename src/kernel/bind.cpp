#include <cmath>
#include <limits>
#include <set>

#include "kernel/plan.h"
#include "kernel/plan_names.h"

namespace kw::kernel {
namespace {

using Symbols = std::map<std::string, int64_t>;
struct Fault {
  Failure failure;
};
[[noreturn]] void fail(const char* id, const std::string& message, const std::string& hint = "") {
  throw Fault{{id, "plan: " + message, hint}};
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

bool owned_by_module(Role role) { return role != Role::prepared && role != Role::scratch; }

class Binder {
 public:
  Binder(const Plan& plan, const Signature& signature, const Limits& limits)
      : plan_(plan), signature_(signature), limits_(limits) {}

  BoundPlan bind() {
    bind_symbols();
    check_guards();
    for (const auto& buffer : plan_.buffers) bind_buffer(buffer);
    unroll(plan_.prepare, true, bound_.prepare);
    unroll(plan_.steps, false, bound_.steps);
    check_coverage();
    return std::move(bound_);
  }

 private:
  int64_t value_of(const SizeExpr& size, const std::string& where) {
    auto value = size.evaluate(symbols_);
    if (!value)
      throw Fault{{value.failure().id, "plan: " + where + ": " + value.failure().message, value.failure().hint}};
    return *value;
  }

  void bind_symbols() {
    for (const auto& [name, source] : plan_.symbols) {
      const auto input = static_cast<size_t>(source.input), dim = static_cast<size_t>(source.dim);
      if (source.input < 0 || input >= signature_.inputs.size()) {
        fail("plan.symbol", "symbol `" + name + "` names input " + std::to_string(source.input) + " of " +
                                std::to_string(signature_.inputs.size()));
      }
      const auto& shape = signature_.inputs[input].shape;
      if (source.dim < 0 || dim >= shape.size()) {
        fail("plan.symbol",
             "symbol `" + name + "` names dimension " + std::to_string(source.dim) + " of shape " + text_of(shape));
      }
      symbols_[name] = shape[dim];
    }
  }

  void check_guards() {
    for (const auto& guard : plan_.guards) {
      auto parsed = SizeExpr::parse(guard);
      if (!parsed) throw Fault{parsed.failure()};
      if (value_of(*parsed, "guard") != 0) continue;
      std::string values;
      for (const auto& [name, value] : symbols_) values += " " + name + "=" + std::to_string(value);
      fail("plan.guard", "guard `" + guard + "` does not hold for" + values, "these shapes need another Plan");
    }
  }

  // ---- buffers ----

  /// What the module says of a buffer that it owns.
  const Signature::Slot& slot_of(const Buffer& buffer) {
    const std::string where = "buffer `" + buffer.name + "`: ";
    if (buffer.role == Role::input || buffer.role == Role::output) {
      const auto& slots = buffer.role == Role::input ? signature_.inputs : signature_.outputs;
      const auto index = static_cast<size_t>(buffer.index);
      if (buffer.index >= 0 && index < slots.size()) return slots[index];
      fail("plan.role", where + std::string(name_of(buffer.role)) + " " + std::to_string(buffer.index) +
                            " does not exist, the module has " + std::to_string(slots.size()));
    }
    auto found = signature_.parameters.find(buffer.parameter);
    if (found == signature_.parameters.end()) {
      fail("plan.role", where + "the module has no parameter or buffer `" + buffer.parameter + "`");
    }
    const bool changes = changed_by_calls(buffer.parameter);
    if (buffer.role == Role::state && !changes) {
      fail("plan.role", where + "`" + buffer.parameter + "` does not change in a call", "use role parameter");
    }
    if (buffer.role == Role::parameter && changes) {
      fail("plan.role", where + "`" + buffer.parameter + "` changes in a call", "use role state");
    }
    return found->second;
  }
  bool changed_by_calls(const std::string& name) const {
    for (const auto& state : signature_.states) {
      if (state == name) return true;
    }
    return false;
  }

  std::vector<int64_t> shape_of(const Buffer& buffer) {
    std::vector<int64_t> shape;
    for (const auto& size : buffer.shape) {
      const int64_t value = value_of(size, "buffer `" + buffer.name + "`");
      if (value < 0) fail("plan.shape", "buffer `" + buffer.name + "` has the negative size " + std::to_string(value));
      shape.push_back(value);
    }
    return shape;
  }

  void bind_buffer(const Buffer& buffer) {
    if (!is_identifier(buffer.name)) fail("plan.buffer", "`" + buffer.name.substr(0, 40) + "` is no buffer name");
    if (!numbers_.emplace(buffer.name, static_cast<int>(bound_.buffers.size())).second) {
      fail("plan.buffer", "buffer `" + buffer.name + "` is declared twice");
    }
    BoundPlan::BoundBuffer made{buffer.name, buffer.role, buffer.index, buffer.parameter, buffer.dtype, {}, 0};
    made.shape = shape_of(buffer);
    if (owned_by_module(buffer.role)) {
      const auto& slot = slot_of(buffer);
      check_single(buffer);
      if (buffer.dtype_given && buffer.dtype != slot.dtype) {
        fail("plan.dtype", "buffer `" + buffer.name + "` is declared " + std::string(kw::name_of(buffer.dtype)) +
                               ", the module has " + std::string(kw::name_of(slot.dtype)));
      }
      if (!buffer.shape.empty() && made.shape != slot.shape) {
        fail("plan.shape", "buffer `" + buffer.name + "` is declared " + text_of(made.shape) + ", the module has " +
                               text_of(slot.shape));
      }
      made.dtype = slot.dtype;
      made.shape = slot.shape;
    }
    made.bytes = bytes_of(made);
    bound_.buffers.push_back(std::move(made));
  }
  void check_single(const Buffer& buffer) {
    const std::string key = std::string(name_of(buffer.role)) + " " +
                            (buffer.parameter.empty() ? std::to_string(buffer.index) : "`" + buffer.parameter + "`");
    if (!module_owned_.insert(key).second) {
      fail("plan.buffer", "buffer `" + buffer.name + "`: " + key + " has a buffer already", "declare it once");
    }
  }
  size_t bytes_of(const BoundPlan::BoundBuffer& buffer) {
    int64_t bytes = static_cast<int64_t>(size_bytes(buffer.dtype));
    for (int64_t size : buffer.shape) {
      if (__builtin_mul_overflow(bytes, size, &bytes)) bytes = std::numeric_limits<int64_t>::max();
    }
    if (bytes > limits_.max_bytes || __builtin_add_overflow(total_bytes_, bytes, &total_bytes_) ||
        total_bytes_ > limits_.max_bytes) {
      fail("plan.limit", "buffer `" + buffer.name + "` " + text_of(buffer.shape) + " exceeds the limit of " +
                             std::to_string(limits_.max_bytes) + " bytes for all buffers");
    }
    return static_cast<size_t>(bytes);
  }

  // ---- launches ----

  void unroll(const std::vector<Step>& steps, bool preparing, std::vector<BoundPlan::BoundLaunch>& to) {
    for (const auto& step : steps) {
      if (const auto* launch = std::get_if<Launch>(&step)) {
        if (++launches_ > limits_.max_launches) {
          fail("plan.limit", "more than " + std::to_string(limits_.max_launches) + " launches after unrolling");
        }
        to.push_back(bind_launch(*launch, preparing));
        continue;
      }
      unroll_repeat(*std::get<std::shared_ptr<Repeat>>(step), preparing, to);
    }
  }
  void unroll_repeat(const Repeat& repeat, bool preparing, std::vector<BoundPlan::BoundLaunch>& to) {
    const int64_t count = value_of(repeat.count, "repeat");
    if (count < 0 || count > limits_.max_launches) {
      fail("plan.limit",
           "a repeat of " + std::to_string(count) + " turns is outside 0 to " + std::to_string(limits_.max_launches));
    }
    if (!is_identifier(repeat.index) || symbols_.contains(repeat.index)) {
      fail("plan.symbol", "repeat index `" + repeat.index + "` hides another symbol or is no name");
    }
    for (int64_t turn = 0; turn < count; ++turn) {
      if (++turns_ > limits_.max_launches) {
        fail("plan.limit", "more than " + std::to_string(limits_.max_launches) + " turns of repeats");
      }
      symbols_[repeat.index] = turn;
      unroll(repeat.steps, preparing, to);
    }
    symbols_.erase(repeat.index);
  }

  BoundPlan::BoundLaunch bind_launch(const Launch& launch, bool preparing) {
    if (!is_identifier(launch.kernel)) fail("plan.kernel", "`" + launch.kernel.substr(0, 40) + "` is no kernel name");
    if (launch.args.size() > static_cast<size_t>(limits_.max_args)) {
      fail("plan.limit",
           "kernel `" + launch.kernel + "` has more than " + std::to_string(limits_.max_args) + " arguments");
    }
    BoundPlan::BoundLaunch made{launch.kernel, {}, {}, {}, {}};
    for (const auto& arg : launch.args) bind_arg(launch, arg, preparing, made);
    auto [known, fresh] = arg_types_.emplace(launch.kernel, made.arg_types);
    if (!fresh && known->second != made.arg_types) {
      fail("plan.arity", "kernel `" + launch.kernel + "` is launched with different argument types",
           "give it the same number and types of arguments everywhere");
    }
    made.groups = bind_grid(launch.groups, 0, limits_.max_groups, launch.kernel, "groups");
    made.group = bind_grid(launch.group, 1, limits_.max_group, launch.kernel, "group");
    return made;
  }

  void bind_arg(const Launch& launch, const Arg& arg, bool preparing, BoundPlan::BoundLaunch& made) {
    if (const auto* scalar = std::get_if<ScalarArg>(&arg)) return bind_scalar(launch, *scalar, made);
    const auto& name = std::get<std::string>(arg);
    auto found = numbers_.find(name);
    if (found == numbers_.end()) {
      fail("plan.buffer", "kernel `" + launch.kernel + "` names the unknown buffer `" + name.substr(0, 40) + "`",
           "declare it under \"buffers\"");
    }
    const auto& buffer = bound_.buffers[static_cast<size_t>(found->second)];
    const bool constant =
        buffer.role == Role::parameter || buffer.role == Role::prepared || buffer.role == Role::scratch;
    if (preparing && !constant) {
      fail("plan.role",
           "kernel `" + launch.kernel + "` in prepare uses `" + name + "`, which is " +
               std::string(name_of(buffer.role)),
           "prepare sees only parameter, prepared and scratch buffers");
    }
    (preparing ? prepared_args_ : step_args_).insert(found->second);
    made.args.emplace_back(found->second);
    made.arg_types.push_back(std::string(kw::name_of(buffer.dtype)) + "*");
  }

  void bind_scalar(const Launch& launch, const ScalarArg& scalar, BoundPlan::BoundLaunch& made) {
    const std::string where = "kernel `" + launch.kernel + "`";
    if (!is_scalar_type(scalar.type))
      fail("plan.dtype", where + " has an argument of unknown type `" + scalar.type + "`");
    made.arg_types.push_back(scalar.type);
    if (scalar.type == "f32") {
      const double real = scalar.real ? *scalar.real : static_cast<double>(value_of(scalar.value, where));
      if (!std::isfinite(real)) fail("plan.arithmetic", where + " has an f32 argument that is not finite");
      made.args.emplace_back(real);
      return;
    }
    const int64_t value = value_of(scalar.value, where);
    const bool fits = scalar.type == "i64" || (scalar.type == "u32" ? value >= 0 && value <= UINT32_MAX
                                                                    : value >= INT32_MIN && value <= INT32_MAX);
    if (!fits) fail("plan.arithmetic", where + ": " + std::to_string(value) + " does not fit " + scalar.type);
    made.args.emplace_back(value);
  }

  std::array<int64_t, 3> bind_grid(const std::array<SizeExpr, 3>& sizes, int64_t least, int64_t most,
                                   const std::string& kernel, const std::string& what) {
    std::array<int64_t, 3> bound{};
    int64_t product = 1;
    for (size_t i = 0; i < 3; ++i) {
      bound[i] = value_of(sizes[i], "kernel `" + kernel + "`." + what);
      const bool over = bound[i] < least || __builtin_mul_overflow(product, std::max<int64_t>(bound[i], 1), &product);
      if (over || product > most) {
        fail("plan.limit", "kernel `" + kernel + "`: " + what + " has " + std::to_string(bound[i]) + ", allowed are " +
                               std::to_string(least) + " to " + std::to_string(most) + " in all");
      }
    }
    return bound;
  }

  // ---- coverage ----

  void check_coverage() {
    for (size_t i = 0; i < signature_.outputs.size(); ++i) need_output(static_cast<int>(i));
    for (const auto& state : signature_.states) need_state(state);
    for (size_t i = 0; i < bound_.buffers.size(); ++i) {
      const auto& buffer = bound_.buffers[i];
      const int number = static_cast<int>(i);
      if (buffer.role == Role::prepared && step_args_.contains(number) && !prepared_args_.contains(number)) {
        fail("plan.unwritten", "prepared buffer `" + buffer.name + "` is used but no prepare step has it");
      }
    }
  }
  void need_output(int index) {
    for (size_t i = 0; i < bound_.buffers.size(); ++i) {
      const auto& buffer = bound_.buffers[i];
      if (buffer.role == Role::output && buffer.index == index) return need_argument(i);
    }
    fail("plan.unwritten", "output " + std::to_string(index) + " has no buffer", "declare one with role output");
  }
  void need_state(const std::string& name) {
    for (size_t i = 0; i < bound_.buffers.size(); ++i) {
      const auto& buffer = bound_.buffers[i];
      if (buffer.role == Role::state && buffer.parameter == name) return need_argument(i);
    }
    fail("plan.unwritten", "state `" + name + "` has no buffer", "a call must update it: declare one with role state");
  }
  void need_argument(size_t number) {
    if (bound_.buffers[number].bytes == 0 || step_args_.contains(static_cast<int>(number))) return;
    fail("plan.unwritten", std::string(name_of(bound_.buffers[number].role)) + " buffer `" +
                               bound_.buffers[number].name + "` is an argument of no step");
  }

  const Plan& plan_;
  const Signature& signature_;
  const Limits& limits_;
  BoundPlan bound_;
  Symbols symbols_;
  std::map<std::string, int> numbers_;
  std::set<std::string> module_owned_;
  std::map<std::string, std::vector<std::string>> arg_types_;
  std::set<int> prepared_args_, step_args_;
  int64_t total_bytes_ = 0, launches_ = 0, turns_ = 0;
};

}  // namespace

Result<BoundPlan> bind_plan(const Plan& plan, const Signature& signature, const Limits& limits) {
  try {
    return Binder(plan, signature, limits).bind();
  } catch (const Fault& fault) {
    return fault.failure;
  }
}

void resolve_dtypes(Plan& plan, const BoundPlan& bound) {
  check(plan.buffers.size() == bound.buffers.size(), "a bound Plan keeps its buffers' order");
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    plan.buffers[i].dtype = bound.buffers[i].dtype;
    plan.buffers[i].dtype_given = true;
  }
}

}  // namespace kw::kernel
