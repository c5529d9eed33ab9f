#include "emulator/runtime/session.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>

#include <algorithm>
#include <cstdlib>

#include "base/child.h"
#include "base/parallel.h"
#include "base/sandbox.h"
#include "emulator/runtime/symbols.h"

namespace kw::emulator {
namespace {

constexpr double load_timeout_s = 20, answer_grace_s = 5;
constexpr uint64_t reply_limit_bytes = 16u << 20;
constexpr uint64_t page_bytes = 4096, least_gap_bytes = 256 * 1024;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

struct FaultName {
  Fault fault;
  const char* kind;
};
constexpr FaultName fault_names[] = {
    {Fault::race, "race"},
    {Fault::out_of_bounds, "out-of-bounds"},
    {Fault::read_only, "read-only"},
    {Fault::uninitialised, "uninitialised"},
    {Fault::barrier_divergence, "barrier-divergence"},
    {Fault::warp_divergence, "warp-divergence"},
    {Fault::endless, "endless"},
    {Fault::threadgroup_memory, "threadgroup-memory"},
    {Fault::crash, "crash"},
};

std::string name_of(Fault fault) {
  for (const FaultName& row : fault_names)
    if (row.fault == fault) return row.kind;
  return "fault";
}

std::string triple(const Size3& at) { return fmt::format("({}, {}, {})", at[0], at[1], at[2]); }

std::string who(const RawReport& raw, const Vocabulary& words) {
  return fmt::format("thread {} of {} {}", triple(raw.thread), words.group, triple(raw.group));
}

std::string at_line(const std::string& file, uint32_t line) {
  if (line == 0) return "";
  return fmt::format(" at {}:{}", std::filesystem::path(file).filename().string(), line);
}

std::string space(const RawReport& raw, const Vocabulary& words) {
  return fmt::format("{} {}", raw.device ? "buffer" : words.group_memory, raw.memory);
}

std::string race_sentence(const RawReport& raw, const Report& report, const Vocabulary& words) {
  const bool same_group = raw.device ? raw.other_group != ~uint64_t{0} : true;
  (void)same_group;
  return fmt::format("{} {} byte {} of {}{}, which another thread {}{} with no barrier between", who(raw, words),
                     raw.write ? "writes" : "reads", raw.byte, space(raw, words), at_line(report.file, report.line),
                     raw.other_write ? "writes" : "reads", at_line(report.other_file, report.other_line));
}

std::string bounds_sentence(const RawReport& raw, const Report& report, const Vocabulary& words) {
  const std::string where = at_line(report.file, report.line);
  const char* verb = raw.write ? "writes" : "reads";
  if (raw.memory.empty()) return fmt::format("{} {} through a null or unbound pointer{}", who(raw, words), verb, where);
  const int64_t past = raw.byte + raw.access_bytes - static_cast<int64_t>(raw.memory_bytes);
  if (raw.byte < 0)
    return fmt::format("{} {} {} bytes before the start of {}{}", who(raw, words), verb, -raw.byte, space(raw, words),
                       where);
  return fmt::format("{} {} {} bytes past the end of {} ({} bytes){}", who(raw, words), verb, past, space(raw, words),
                     raw.memory_bytes, where);
}

std::string barrier_sentence(const RawReport& raw, const Report& report, const Vocabulary& words) {
  const std::string where = at_line(report.file, report.line);
  if (report.other_line)
    return fmt::format("threads of {} {} wait at different barriers: some{}, thread {}{}", words.group,
                       triple(raw.group), where, raw.other_thread, at_line(report.other_file, report.other_line));
  return fmt::format("the barrier{} is reached by {} of {} threads of {} {}; the others have ended", where, raw.count,
                     raw.memory_bytes, words.group, triple(raw.group));
}

std::string crash_sentence(const RawReport& raw, const Report& report, const Vocabulary& words) {
  const std::string where = at_line(report.file, report.line);
  if (raw.count == SIGFPE) return fmt::format("{} divides an integer by zero{}", who(raw, words), where);
  std::string what = fmt::format("{} crashes{} ({})", who(raw, words), where, ::strsignal(static_cast<int>(raw.count)));
  if (!raw.memory.empty() && raw.byte < 0)
    what += fmt::format(", {} bytes before the start of buffer {}", -raw.byte, raw.memory);
  else if (!raw.memory.empty() && raw.byte >= static_cast<int64_t>(raw.memory_bytes))
    what += fmt::format(", {} bytes past the end of buffer {}", raw.byte - static_cast<int64_t>(raw.memory_bytes),
                        raw.memory);
  return what;
}

std::string sentence_of(const RawReport& raw, const Report& report, const Vocabulary& words) {
  const std::string where = at_line(report.file, report.line);
  switch (raw.fault) {
    case Fault::race:
      return race_sentence(raw, report, words);
    case Fault::out_of_bounds:
      return bounds_sentence(raw, report, words);
    case Fault::read_only:
      return fmt::format("{} writes to {}, which the kernel takes as constant{}", who(raw, words), space(raw, words),
                         where);
    case Fault::uninitialised:
      return fmt::format("{} reads byte {} of {}, which nothing has written{}", who(raw, words), raw.byte,
                         space(raw, words), where);
    case Fault::barrier_divergence:
      return barrier_sentence(raw, report, words);
    case Fault::warp_divergence:
      return fmt::format("{} of the {} lanes that the mask{} names come there in {} {}; the others are elsewhere",
                         raw.count, raw.memory_bytes, where, words.group, triple(raw.group));
    case Fault::endless:
      return fmt::format("the kernel does not end; it was stopped{}", where);
    case Fault::threadgroup_memory:
      return fmt::format("{} grows to {} bytes with {}{}; a {} has {}", words.group_memory, raw.memory_bytes,
                         raw.memory, where, words.group, words.group_bytes);
    case Fault::crash:
      return crash_sentence(raw, report, words);
  }
  return "an unknown fault";
}

std::vector<uint64_t> code_places(const wire::Reply& reply) {
  std::vector<uint64_t> pcs;
  for (const RawReport& raw : reply.reports) {
    pcs.push_back(raw.pc);
    pcs.push_back(raw.other_pc);
  }
  return pcs;
}

}  // namespace

std::string emulator_worker() {
  if (const char* given = std::getenv("KERNELWRIGHT_EMULATOR")) return given;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  auto folder = self.parent_path();
  for (int up = 0; !error && up < 3; ++up, folder = folder.parent_path())
    if (std::filesystem::exists(folder / "kw_emu_worker")) return (folder / "kw_emu_worker").string();
  return "kw_emu_worker";
}

Session::Session(std::filesystem::path module, std::filesystem::path own_headers, const Vocabulary& words)
    : module_(std::move(module)), own_headers_(std::move(own_headers)), words_(words) {}
Session::~Session() = default;

char* Session::data(size_t buffer) { return child_->memory() + regions_[buffer].begin; }

Status Session::start() {
  const std::string worker = emulator_worker(), module = std::filesystem::absolute(module_).string();
  const uint64_t shared_bytes = regions_.empty() ? page_bytes : child_->memory_bytes();
  auto child = Child::start(contained({worker, module}, {worker, module}, {}), shared_bytes);
  if (!child) return child.failure();
  child_ = std::move(*child);
  const auto greeting = child_->ask("hello", load_timeout_s, reply_limit_bytes);
  wire::Reply reply;
  if (!greeting)
    return Failure{"run.sandbox", "the emulator's process ended while it was loading the kernels",
                   "run `kernelwright doctor` to see which sandbox layers work here"};
  if (!wire::decode(*greeting, reply)) return Failure{"emulate.module", "the emulator's process answered nonsense", ""};
  if (!reply.failure.empty()) return Failure{"emulate.module", reply.failure, ""};
  return ok_status();
}

Result<std::unique_ptr<Session>> Session::open(const std::filesystem::path& module,
                                               const std::filesystem::path& own_headers, const Vocabulary& words) {
  std::unique_ptr<Session> session(new Session(module, own_headers, words));
  if (Status status = session->start(); !status.ok()) return status.failure();
  return session;
}

Status Session::place_buffers(const std::vector<BufferSpec>& buffers) {
  // Wide gaps, so that an index somewhat off does not fall into a neighbour.
  uint64_t at = least_gap_bytes;
  std::vector<wire::RegionSpec> regions;
  for (const BufferSpec& buffer : buffers) {
    regions.push_back({buffer.name, at, buffer.bytes, buffer.initialised, buffer.must_be_written, buffer.counted});
    at += round_up(buffer.bytes, page_bytes) + least_gap_bytes + round_up(buffer.bytes / 2, page_bytes);
  }
  if (!child_->alive())
    if (Status status = start(); !status.ok()) return status;
  if (Status status = child_->resize(0); !status.ok()) return status;  // fresh zeros
  regions_ = std::move(regions);
  return child_->resize(at);
}

std::vector<Report> Session::sentences(const wire::Reply& reply) const {
  const auto places = places_of(module_, own_headers_, code_places(reply));
  std::vector<Report> reports;
  for (size_t i = 0; i < reply.reports.size(); ++i) {
    const RawReport& raw = reply.reports[i];
    Report report;
    report.kind = name_of(raw.fault);
    report.kernel = reply.report_kernels[i];
    report.file = reply.report_files[i].first;
    report.line = raw.site.line;
    report.other_file = reply.report_files[i].second;
    report.other_line = raw.other_site.line;
    if (const auto at = places.find(raw.pc); at != places.end()) {
      report.file = at->second.file;
      report.line = at->second.line;
    }
    if (const auto at = places.find(raw.other_pc); at != places.end()) {
      report.other_file = at->second.file;
      report.other_line = at->second.line;
    }
    report.sentence = sentence_of(raw, report, words_);
    const bool known = std::any_of(reports.begin(), reports.end(), [&](const Report& r) {
      return r.kind == report.kind && r.line == report.line && r.other_line == report.other_line;
    });
    if (!known) reports.push_back(std::move(report));
  }
  for (const wire::Unwritten& missing : reply.unwritten) {
    Report report;
    report.kind = "unwritten";
    const wire::RegionSpec& region = regions_.at(missing.region);
    report.buffer = region.name;
    report.sentence = fmt::format("{} of {} bytes of buffer {} were never written, the first at byte {}", missing.bytes,
                                  region.bytes, region.name, missing.first_byte);
    reports.push_back(std::move(report));
  }
  return reports;
}

Result<RunReply> Session::run(const std::vector<Dispatch>& dispatches, const RunOptions& options) {
  if (!child_->alive()) return Failure{"run.dead", "the emulator's process has already ended", ""};
  wire::Request request;
  request.memory_bytes = child_->memory_bytes();
  request.mode = options.mode;
  request.seed = options.seed;
  request.step_limit = options.step_limit;
  request.threads = options.threads > 0 ? options.threads : usable_cores();
  request.timeout_s = options.timeout_s;
  request.regions = regions_;
  request.constants = options.constants;
  request.dispatches = dispatches;
  const double limit_s = options.timeout_s * static_cast<double>(std::max<size_t>(1, dispatches.size()));
  const auto answer = child_->ask(wire::encode(request), limit_s + answer_grace_s, reply_limit_bytes);
  if (!answer) return answer.failure();
  wire::Reply reply;
  if (!wire::decode(*answer, reply)) {
    child_->kill();
    return Failure{"run.crash", "the emulator's process answered nonsense", ""};
  }
  if (reply.ended) child_->kill();
  if (!reply.failure.empty()) return Failure{"emulate.launch", reply.failure, ""};
  RunReply done;
  done.dispatches = std::move(reply.dispatches);
  done.reports = sentences(reply);
  return done;
}

}  // namespace kw::emulator
