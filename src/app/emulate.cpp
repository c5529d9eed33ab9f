#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "app/emulate_args.h"
#include "app/options.h"
#include "app/output.h"
#include "base/file.h"
#include "emulator/library.h"
#include "kernel/plan.h"
#include "target/cpu/toolchain.h"

// emulate: Metal kernels on this machine.
namespace kw::app {
namespace {

namespace fs = std::filesystem;
using namespace kw::emulator;
using nlohmann::json;

struct Work {
  Job job;
  std::vector<uint32_t> outputs;   // buffers to show
  std::vector<ElementType> types;  // of every buffer of the job
};

/// --groups and --group, or --threads and --group.
Dim dim_of(const EmulateOptions& options) {
  Dim dim;
  dim.group = parse_size3("--group", options.group).value_or_throw();
  if (!options.threads_grid.empty()) {
    dim.threads = parse_size3("--threads", options.threads_grid).value_or_throw();
    return dim;
  }
  if (options.groups.empty())
    throw UserError({"arguments", "--groups is missing", "say how many threadgroups: --groups 64 or --groups 8,8,1"});
  const Size3 groups = parse_size3("--groups", options.groups).value_or_throw();
  for (size_t i = 0; i < 3; ++i) {
    const uint64_t threads = uint64_t{groups[i]} * dim.group[i];
    if (threads > std::numeric_limits<uint32_t>::max())
      throw UserError({"emulate.launch", "the grid has more than 2^32 threads", "launch a part of it"});
    dim.threads[i] = static_cast<uint32_t>(threads);
  }
  return dim;
}

uint32_t add_argument(Work& work, const EmulateArg& arg, const std::string& name) {
  if (arg.is_scalar()) {
    const uint32_t number = work.job.constant(arg.content);
    work.types.resize(std::max<size_t>(work.types.size(), number + 1), arg.type);
    return number;
  }
  BufferSpec spec{name, arg.bytes(), arg.kind != EmulateArg::Kind::out, arg.kind == EmulateArg::Kind::out};
  const uint32_t number = work.job.buffer(spec, arg.content);
  work.types.resize(std::max<size_t>(work.types.size(), number + 1), arg.type);
  return number;
}

const KernelDescription& kernel_called(const Reflection& reflection, const std::string& name) {
  if (const KernelDescription* found = reflection.find(name)) return *found;
  std::string known;
  for (const KernelDescription& kernel : reflection.kernels)
    if (known.size() < 200) known += (known.empty() ? "" : ", ") + kernel.name;
  throw UserError({"emulate.kernel", fmt::format("there is no kernel {}", name),
                   known.empty() ? "the source has no kernels" : "the source has " + known});
}

void gather_kernel(Work& work, const Reflection& reflection, const EmulateOptions& options, uint64_t seed) {
  const KernelDescription& kernel = kernel_called(reflection, options.kernel);
  const auto arguments = buffer_arguments(kernel);
  std::vector<uint32_t> buffers;
  for (size_t i = 0; i < options.args.size(); ++i) {
    const EmulateArg arg = parse_argument(options.args[i], seed + i).value_or_throw();
    const std::string name = i < arguments.size() ? arguments[i]->name : fmt::format("argument {}", i);
    buffers.push_back(add_argument(work, arg, name));
    if (!arg.is_scalar() && i < arguments.size() && arguments[i]->is_written) work.outputs.push_back(buffers.back());
  }
  std::vector<wire::GroupBytes> threadgroup;
  for (const std::string& text : options.threadgroup_bytes)
    threadgroup.push_back(parse_group_bytes(text).value_or_throw());
  Status status = work.job.launch(kernel, buffers, threadgroup, dim_of(options));
  status.value_or_throw();
}

/// What a Plan asks of its module, taken from the Plan itself and from --arg for the inputs.
kernel::Signature signature_of(const kernel::Plan& plan, const std::vector<EmulateArg>& inputs) {
  kernel::Signature signature;
  std::map<std::string, int64_t> symbols;
  for (const EmulateArg& input : inputs) {
    const auto dtype = dtype_from_name(input.type.name);
    if (!dtype) throw UserError({"arguments", "a module has no inputs of " + std::string(input.type.name), ""});
    signature.inputs.push_back({*dtype, input.shape});
  }
  for (const auto& [name, source] : plan.symbols)
    if (static_cast<size_t>(source.input) < inputs.size() &&
        static_cast<size_t>(source.dim) < inputs[static_cast<size_t>(source.input)].shape.size())
      symbols[name] = inputs[static_cast<size_t>(source.input)].shape[static_cast<size_t>(source.dim)];
  for (const kernel::Buffer& buffer : plan.buffers) {
    kernel::Signature::Slot slot{buffer.dtype, {}};
    for (const kernel::SizeExpr& extent : buffer.shape) slot.shape.push_back(extent.evaluate(symbols).value_or_throw());
    if (buffer.role == kernel::Role::output) {
      signature.outputs.resize(std::max(signature.outputs.size(), static_cast<size_t>(buffer.index) + 1));
      signature.outputs[static_cast<size_t>(buffer.index)] = slot;
    } else if (buffer.role == kernel::Role::parameter || buffer.role == kernel::Role::state) {
      signature.parameters[buffer.parameter] = slot;
      if (buffer.role == kernel::Role::state) signature.states.push_back(buffer.parameter);
    }
  }
  return signature;
}

std::string scalar_bytes(const std::string& type, const std::variant<int, int64_t, double>& value) {
  char bytes[8];
  const auto keep = [&](auto typed) {
    std::memcpy(bytes, &typed, sizeof typed);
    return std::string(bytes, sizeof typed);
  };
  if (const double* real = std::get_if<double>(&value)) return keep(static_cast<float>(*real));
  const int64_t integer = std::get<int64_t>(value);
  if (type == "f32") return keep(static_cast<float>(integer));
  if (type == "u32") return keep(static_cast<uint32_t>(integer));
  if (type == "i32") return keep(static_cast<int32_t>(integer));
  return keep(integer);
}

/// The element type of an argument as written in the source, if it is one that a Plan can name.
std::string plan_type(const ArgumentDescription& argument) {
  static const std::pair<const char*, const char*> rows[] = {{"float", "f32"}, {"half", "f16"}, {"bfloat", "bf16"},
                                                             {"int", "i32"},   {"uint", "u32"}, {"long", "i64"}};
  std::string word;
  for (const char c : argument.type)
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_')
      word += c;
    else if (word == "const" || word == "volatile")
      word.clear();
    else if (!word.empty())
      break;
  for (const auto& [metal, plan] : rows)
    if (word == metal) return plan;
  return "";
}

void check_types(const KernelDescription& kernel, const kernel::BoundPlan::BoundLaunch& launch) {
  const auto arguments = buffer_arguments(kernel);
  for (size_t i = 0; i < std::min(arguments.size(), launch.arg_types.size()); ++i) {
    std::string given = launch.arg_types[i];
    if (!given.empty() && given.back() == '*') given.pop_back();
    const std::string wanted = plan_type(*arguments[i]);
    if (!wanted.empty() && wanted != given)
      throw UserError({"emulate.signature",
                       fmt::format("{} takes {} as {} (line {}), and the Plan gives {}", kernel.name,
                                   arguments[i]->name, arguments[i]->type, arguments[i]->line, given),
                       "make the Plan's dtype and the kernel's argument agree"});
  }
}

void gather_plan(Work& work, const Reflection& reflection, const EmulateOptions& options, uint64_t seed) {
  const std::string text = read_file(options.plan).value_or_throw();
  const kernel::Plan plan = kernel::parse_plan(text).value_or_throw();
  std::vector<EmulateArg> inputs;
  for (size_t i = 0; i < options.args.size(); ++i)
    inputs.push_back(parse_argument(options.args[i], seed + i).value_or_throw());
  kernel::Limits limits;
  limits.max_group = max_group_threads;
  limits.max_args = 31;
  const kernel::BoundPlan bound = kernel::bind_plan(plan, signature_of(plan, inputs), limits).value_or_throw();
  for (const auto& buffer : bound.buffers) {
    EmulateArg arg;
    arg.type = *element_type(name_of(buffer.dtype));
    arg.shape = buffer.shape;
    arg.kind = EmulateArg::Kind::out;
    if (buffer.role == kernel::Role::input) arg = inputs[static_cast<size_t>(buffer.index)];
    if (buffer.role == kernel::Role::parameter || buffer.role == kernel::Role::state)
      arg = random_argument(arg.type, arg.shape, seed + 1000 + work.job.buffers().size());
    const uint32_t number = work.job.buffer(
        {buffer.name, buffer.bytes, arg.kind != EmulateArg::Kind::out, buffer.role == kernel::Role::output},
        arg.content);
    work.types.push_back(arg.type);
    if (buffer.role == kernel::Role::output) work.outputs.push_back(number);
  }
  std::vector<kernel::BoundPlan::BoundLaunch> launches = bound.prepare;
  launches.insert(launches.end(), bound.steps.begin(), bound.steps.end());
  for (const auto& launch : launches) {
    const KernelDescription& kernel = kernel_called(reflection, launch.kernel);
    std::vector<uint32_t> buffers;
    for (size_t i = 0; i < launch.args.size(); ++i)
      buffers.push_back(std::holds_alternative<int>(launch.args[i])
                            ? static_cast<uint32_t>(std::get<int>(launch.args[i]))
                            : work.job.constant(scalar_bytes(launch.arg_types[i], launch.args[i])));
    work.types.resize(work.job.buffers().size(), *element_type("i32"));
    Dim dim;
    for (size_t i = 0; i < 3; ++i) {
      dim.group[i] = static_cast<uint32_t>(launch.group[i]);
      dim.threads[i] = static_cast<uint32_t>(launch.groups[i] * launch.group[i]);
    }
    Status status = work.job.launch(kernel, buffers, {}, dim);
    status.value_or_throw();
    check_types(kernel, launch);
  }
}

json output_json(Session& session, const Work& work, uint32_t number, size_t shown) {
  const BufferSpec& spec = work.job.buffers()[number];
  const ElementType type = work.types[number];
  const uint64_t count = spec.bytes / type.bytes;
  double sum = 0, least = INFINITY, most = -INFINITY;
  uint64_t odd = 0;
  json first = json::array();
  for (uint64_t i = 0; i < count; ++i) {
    const double value = type.load(session.data(number) + i * type.bytes);
    if (i < shown) first.push_back(std::isfinite(value) ? json(value) : json(fmt::format("{}", value)));
    if (!std::isfinite(value)) {
      ++odd;
      continue;
    }
    sum += value;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  const uint64_t finite = count - odd;
  return {{"name", spec.name},
          {"dtype", type.name},
          {"elements", count},
          {"first", first},
          {"mean", finite ? json(sum / static_cast<double>(finite)) : json()},
          {"min", finite ? json(least) : json()},
          {"max", finite ? json(most) : json()},
          {"not_finite", odd}};
}

json report_json(const Report& report) {
  json one = {{"kind", report.kind}, {"message", report.sentence}, {"kernel", report.kernel}};
  if (report.line) one["at"] = fmt::format("{}:{}", report.file, report.line);
  if (report.other_line) one["other"] = fmt::format("{}:{}", report.other_file, report.other_line);
  return one;
}

/// Kinds that mean the launch did not come to its end.
bool could_not_run(const std::string& kind) {
  return kind == "endless" || kind == "crash" || kind == "threadgroup-memory";
}

void save_outputs(Session& session, const Work& work, const std::string& folder) {
  if (folder.empty()) return;
  std::error_code error;
  fs::create_directories(folder, error);
  for (const uint32_t number : work.outputs) {
    const BufferSpec& spec = work.job.buffers()[number];
    Status status =
        write_file_atomic(fs::path(folder) / (spec.name + ".bin"), std::string_view(session.data(number), spec.bytes));
    status.value_or_throw();
  }
}

void show(const Output& out, const json& result, const RunReply& reply, Job& job, bool profile) {
  for (size_t i = 0; i < reply.dispatches.size(); ++i) {
    const auto& counts = reply.dispatches[i];
    out.text(fmt::format("{}: {} threads in {} threadgroups, {:.3f} s on this machine", job.dispatches()[i].kernel,
                         counts.counts.threads, counts.counts.groups, counts.seconds));
    if (!profile) continue;
    std::vector<std::vector<std::string>> rows{{"count", "value"}};
    for (const auto& [name, value] : profile_lines(counts, job.dispatches()[i].dim)) rows.push_back({name, value});
    out.text(table_text(rows));
  }
  for (const json& output : result["outputs"])
    out.text(fmt::format("{}: {} {}, mean {}, min {}, max {}, not finite {}, first {}",
                         output["name"].get<std::string>(), output["elements"].dump(),
                         output["dtype"].get<std::string>(), output["mean"].dump(), output["min"].dump(),
                         output["max"].dump(), output["not_finite"].dump(), output["first"].dump()));
  for (const Report& report : reply.reports)
    out.text(fmt::format("{} {}", out.red(report.kind + ":"), report.sentence));
}

/// --dialect, else what the file's name says, else Metal.
Dialect dialect_of(const EmulateOptions& options) {
  if (options.dialect.empty()) return dialect_of_file(options.source).value_or(Dialect::metal);
  if (const auto named = dialect_named(options.dialect)) return *named;
  throw UserError({"arguments", fmt::format("no dialect is called {}", options.dialect), "metal or cuda"});
}

}  // namespace

int run_emulate(const CommonOptions& common, const EmulateOptions& options) {
  if (options.plan.empty() == options.kernel.empty())
    throw UserError({"arguments", "give either --plan or --kernel",
                     "kernelwright emulate kernels.metal --kernel NAME --groups 4 --group 256 --arg ..."});
  KernelSource source;
  source.text = read_file(options.source).value_or_throw();
  source.name = options.source;
  source.include_dirs.push_back(fs::absolute(options.source).parent_path());
  for (const std::string& folder : options.include_dirs) source.include_dirs.emplace_back(folder);
  source.defines = options.defines;
  source.dialect = dialect_of(options);
  LibraryOptions library_options;
  library_options.mode = options.profile ? Mode::profile : options.check ? Mode::checked : Mode::plain;
  library_options.cache_dir = target::default_cache_dir();
  if (!options.kernel.empty()) library_options.kernels = {options.kernel};
  const auto library = std::move(Library::open(source, library_options).value_or_throw());
  const uint64_t seed = common.seed ? common.seed : 1;
  Work work;
  if (options.plan.empty())
    gather_kernel(work, library->reflection(), options, seed);
  else
    gather_plan(work, library->reflection(), options, seed);
  RunOptions run;
  run.mode = library_options.mode;
  run.seed = options.schedule_seed;
  run.step_limit = options.step_limit;
  run.timeout_s = options.timeout_s;
  run.threads = options.cores;
  for (const std::string& text : options.constants)
    run.constants.push_back(parse_constant(text, library->reflection()).value_or_throw());
  const RunReply reply = work.job.run(library->session(), run).value_or_throw();
  for (const Report& report : reply.reports)
    if (could_not_run(report.kind))
      throw UserError({"emulate." + report.kind, report.sentence,
                       report.kind == "endless" ? "raise --timeout if the kernel only needs longer" : ""});
  json result = {{"type", "result"},
                 {"schema_version", 1},
                 {"outputs", json::array()},
                 {"reports", json::array()},
                 {"launches", json::array()}};
  for (const uint32_t number : work.outputs)
    result["outputs"].push_back(output_json(library->session(), work, number, options.shown));
  for (const Report& report : reply.reports) result["reports"].push_back(report_json(report));
  for (size_t i = 0; i < reply.dispatches.size(); ++i) {
    json launch = {{"kernel", work.job.dispatches()[i].kernel}, {"seconds", reply.dispatches[i].seconds}};
    if (options.profile)
      for (const auto& [name, value] : profile_numbers(reply.dispatches[i])) launch[name] = value;
    result["launches"].push_back(launch);
  }
  save_outputs(library->session(), work, options.save);
  const Output out(common);
  out.object(result);
  show(out, result, reply, work.job, options.profile);
  return reply.reports.empty() ? 0 : 1;
}

}  // namespace kw::app
