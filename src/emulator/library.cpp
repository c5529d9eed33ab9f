#include "emulator/library.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace kw::emulator {
namespace {

constexpr uint64_t max_threads = uint64_t{1} << 32;

std::string names_of(const std::vector<const ArgumentDescription*>& arguments) {
  std::string names;
  for (const ArgumentDescription* argument : arguments) names += (names.empty() ? "" : ", ") + argument->name;
  return names;
}

Status check_coverage(const KernelDescription& kernel) {
  for (const ArgumentDescription& argument : kernel.arguments)
    if (argument.source == ArgumentSource::unsupported)
      return Failure{"emulate.coverage",
                     fmt::format("{} takes {} {} (line {}), which the emulator does not run", kernel.name,
                                 argument.type, argument.name, argument.line),
                     "textures, samplers, ray tracing and tensor operations need a Mac"};
  return ok_status();
}

Status check_dim(const KernelDescription& kernel, const Dim& dim) {
  uint64_t group = 1, threads = 1;
  for (size_t i = 0; i < 3; ++i) {
    if (dim.group[i] == 0 || dim.threads[i] == 0)
      return Failure{"emulate.launch", fmt::format("{} is launched with a size of 0", kernel.name), ""};
    group *= dim.group[i];
    if (threads > max_threads / dim.threads[i] || group > max_group_threads)
      threads = max_threads + 1;
    else
      threads *= dim.threads[i];
    if (group > max_group_threads) break;
  }
  const uint32_t most =
      kernel.max_total_threads ? std::min(kernel.max_total_threads, max_group_threads) : max_group_threads;
  if (group > most)
    return Failure{"emulate.launch",
                   fmt::format("{} is launched with {} x {} x {} threads a {}; {} are the most", kernel.name,
                               dim.group[0], dim.group[1], dim.group[2], row_of(kernel.dialect).words.group, most),
                   fmt::format("use more and smaller {}s", row_of(kernel.dialect).words.group)};
  if (threads > max_threads)
    return Failure{"emulate.launch",
                   fmt::format("{} is launched with {} x {} x {} threads, more than 2^32", kernel.name, dim.threads[0],
                               dim.threads[1], dim.threads[2]),
                   "launch a part of the grid"};
  return ok_status();
}

Status check_threadgroup(const KernelDescription& kernel, const std::vector<wire::GroupBytes>& given) {
  const Vocabulary& words = row_of(kernel.dialect).words;
  for (const ArgumentDescription& argument : kernel.arguments) {
    if (argument.source != ArgumentSource::threadgroup || kernel.dialect == Dialect::cuda) continue;
    const auto at = std::find_if(given.begin(), given.end(),
                                 [&](const wire::GroupBytes& bytes) { return bytes.index == argument.index; });
    if (at == given.end() || at->bytes == 0)
      return Failure{"emulate.arity",
                     fmt::format("{} needs the size of its threadgroup argument {}", kernel.name, argument.name),
                     fmt::format("add --threadgroup-bytes {}=BYTES", argument.index.value_or(0))};
  }
  uint64_t total = 0;
  for (const wire::GroupBytes& bytes : given) total += bytes.bytes;
  if (total > words.group_bytes)
    return Failure{"emulate.launch",
                   fmt::format("{} bytes of {}; {} are the most", total, words.group_memory, words.group_bytes), ""};
  return ok_status();
}

/// CUDA's `extern __shared__` memory stands at the beginning, also where the launch gives none.
std::vector<wire::GroupBytes> with_dynamic(const KernelDescription& kernel, std::vector<wire::GroupBytes> given) {
  for (const ArgumentDescription& argument : kernel.arguments)
    if (kernel.dialect == Dialect::cuda && argument.source == ArgumentSource::threadgroup && given.empty())
      given.push_back({0, 0});
  return given;
}

}  // namespace

Result<std::unique_ptr<Library>> Library::open(const KernelSource& source, const LibraryOptions& options) {
  auto toolchain = find_host_toolchain(options.cache_dir);
  if (!toolchain) return toolchain.failure();
  CompileOptions compile;
  compile.mode.checked = options.mode != Mode::plain;
  compile.mode.profile = options.mode == Mode::profile;
  compile.mode.fast_math = options.fast_math;
  compile.kernels = options.kernels;
  auto module = compile_source(*toolchain, source, compile);
  if (!module) return module.failure();
  auto session = Session::open(module->binary, toolchain->headers.parent_path(), row_of(source.dialect).words);
  if (!session) return session.failure();
  return std::unique_ptr<Library>(new Library(std::move(*module), std::move(*session)));
}

std::vector<const ArgumentDescription*> buffer_arguments(const KernelDescription& kernel) {
  std::vector<const ArgumentDescription*> found;
  for (const ArgumentDescription& argument : kernel.arguments)
    if (argument.source == ArgumentSource::buffer && argument.index) found.push_back(&argument);
  std::sort(found.begin(), found.end(), [](const auto* a, const auto* b) { return *a->index < *b->index; });
  return found;
}

uint32_t Job::buffer(const BufferSpec& spec, std::string content) {
  buffers_.push_back(spec);
  contents_.push_back(std::move(content));
  return static_cast<uint32_t>(buffers_.size() - 1);
}

uint32_t Job::constant(const std::string& bytes) {
  const auto [at, fresh] = constants_.try_emplace(bytes, 0);
  if (fresh)
    at->second = buffer({fmt::format("constant {}", constants_.size()), bytes.size(), true, false, false}, bytes);
  return at->second;
}

Status Job::launch(const KernelDescription& kernel, const std::vector<uint32_t>& buffers,
                   const std::vector<wire::GroupBytes>& threadgroup, const Dim& dim) {
  if (Status status = check_coverage(kernel); !status.ok()) return status;
  const auto arguments = buffer_arguments(kernel);
  if (arguments.size() != buffers.size())
    return Failure{"emulate.arity",
                   fmt::format("{} takes {} buffer arguments ({}) and was given {}", kernel.name, arguments.size(),
                               names_of(arguments), buffers.size()),
                   "give them in the order of their indices"};
  if (Status status = check_dim(kernel, dim); !status.ok()) return status;
  if (Status status = check_threadgroup(kernel, threadgroup); !status.ok()) return status;
  Dispatch dispatch;
  dispatch.kernel = kernel.name;
  dispatch.dim = dim;
  dispatch.threadgroup = with_dynamic(kernel, threadgroup);
  for (size_t i = 0; i < buffers.size(); ++i) {
    dispatch.buffers.push_back({*arguments[i]->index, buffers[i], 0});
    if (arguments[i]->is_written)
      written_by_[buffers_.at(buffers[i]).name] = {kernel.name, kernel.file, arguments[i]->line};
  }
  dispatches_.push_back(std::move(dispatch));
  return ok_status();
}

Result<RunReply> Job::run(Session& session, const RunOptions& options) {
  if (Status status = session.place_buffers(buffers_); !status.ok()) return status.failure();
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (!contents_[i].empty()) std::memcpy(session.data(i), contents_[i].data(), contents_[i].size());
    if (contents_[i].empty() && !buffers_[i].initialised)
      for (uint64_t at = 0; at + 2 <= buffers_[i].bytes; at += 2) {
        const uint16_t poison = KW_EMU_POISON16;
        std::memcpy(session.data(i) + at, &poison, 2);
      }
  }
  auto reply = session.run(dispatches_, options);
  if (!reply) return reply;
  for (Report& report : reply->reports)
    if (const auto at = written_by_.find(report.buffer); report.kind == "unwritten" && at != written_by_.end()) {
      report.kernel = at->second.kernel;
      report.file = at->second.file;
      report.line = at->second.line;
    }
  return reply;
}

namespace {

std::string ratio(uint64_t part, uint64_t whole) {
  return whole ? fmt::format("{:.2f}", static_cast<double>(part) / static_cast<double>(whole)) : "-";
}

/// How many simdgroups of 96 a core holds, if threadgroup memory (60 KiB a core) and the group's size decide; registers
/// are not known here.
std::string occupancy(const wire::DispatchCounts& counts, const Dim& dim) {
  constexpr uint32_t core_bytes = 60 * 1024, core_simdgroups = 96;
  const uint32_t threads = dim.group[0] * dim.group[1] * dim.group[2];
  const uint32_t simdgroups = (threads + lanes_per_simdgroup - 1) / lanes_per_simdgroup;
  uint32_t groups = core_simdgroups / simdgroups;
  if (counts.threadgroup_bytes) groups = std::min(groups, core_bytes / counts.threadgroup_bytes);
  return fmt::format("{} of {} simdgroups a core (estimate, registers unknown)", groups * simdgroups, core_simdgroups);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> profile_lines(const wire::DispatchCounts& c, const Dim& dim) {
  const ProfileCounts& p = c.profile;
  return {
      {"bytes read", fmt::format("{} ({} different)", p.device_read_bytes, c.least_read_bytes)},
      {"bytes written", fmt::format("{} ({} different)", p.device_written_bytes, c.least_written_bytes)},
      {"flops", fmt::format("{}", p.flops)},
      {"barriers", fmt::format("{}", c.counts.barriers)},
      {"simdgroup barriers", fmt::format("{}", c.counts.simdgroup_barriers)},
      {"simdgroup operations",
       fmt::format("{} reductions, {} shuffles, {} matrix, {} votes", c.counts.simd_operations[0],
                   c.counts.simd_operations[1], c.counts.simd_operations[2], c.counts.simd_operations[3])},
      {"atomics", fmt::format("{}", p.atomics)},
      {"threadgroup memory", fmt::format("{} bytes; {} read, {} written", c.threadgroup_bytes, p.threadgroup_read_bytes,
                                         p.threadgroup_written_bytes)},
      {"bank conflicts", fmt::format("{} in {} accesses", p.bank_conflicts, p.threadgroup_accesses)},
      {"uncoalesced accesses", fmt::format("{} of {}; {} lines of 128 bytes where {} would do", p.uncoalesced_accesses,
                                           p.device_accesses, p.device_lines, p.device_least_lines)},
      {"lanes at work", ratio(p.lane_instructions, p.slot_instructions)},
      {"occupancy", occupancy(c, dim)},
      {"followed threadgroups", fmt::format("{} of {}", p.followed_groups, c.counts.groups)},
  };
}

std::vector<std::pair<std::string, uint64_t>> profile_numbers(const wire::DispatchCounts& c) {
  const ProfileCounts& p = c.profile;
  return {
      {"threads", c.counts.threads},
      {"threadgroups", c.counts.groups},
      {"read_bytes", p.device_read_bytes},
      {"written_bytes", p.device_written_bytes},
      {"least_read_bytes", c.least_read_bytes},
      {"least_written_bytes", c.least_written_bytes},
      {"flops", p.flops},
      {"barriers", c.counts.barriers},
      {"simdgroup_barriers", c.counts.simdgroup_barriers},
      {"simd_reductions", c.counts.simd_operations[0]},
      {"simd_shuffles", c.counts.simd_operations[1]},
      {"simd_matrix_operations", c.counts.simd_operations[2]},
      {"simd_votes", c.counts.simd_operations[3]},
      {"atomics", p.atomics},
      {"threadgroup_bytes", c.threadgroup_bytes},
      {"threadgroup_read_bytes", p.threadgroup_read_bytes},
      {"threadgroup_written_bytes", p.threadgroup_written_bytes},
      {"threadgroup_accesses", p.threadgroup_accesses},
      {"bank_conflicts", p.bank_conflicts},
      {"device_accesses", p.device_accesses},
      {"uncoalesced_accesses", p.uncoalesced_accesses},
      {"device_lines", p.device_lines},
      {"least_device_lines", p.device_least_lines},
      {"lane_instructions", p.lane_instructions},
      {"slot_instructions", p.slot_instructions},
      {"followed_threadgroups", p.followed_groups},
  };
}

}  // namespace kw::emulator
