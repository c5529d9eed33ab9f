#include "target/metal/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace kw::target {
namespace {

using emulator::BufferSpec;
using kernel::BoundPlan;
using kernel::Role;

/// Emulating takes long; a launch that exceeds this is taken for endless.
constexpr double least_launch_timeout_s = 120;
constexpr uint64_t shift_room_bytes = 64;

bool is_given(Role role) { return role == Role::input || role == Role::parameter || role == Role::state; }

/// A fault that the emulator met without checks: the candidate's, as a crash or a hang of a native kernel is.
Failure failure_of(const emulator::Report& report) {
  return {report.kind == "endless" ? "run.timeout" : "run.crash", report.sentence, ""};
}

class MetalSession final : public Session {
 public:
  MetalSession(std::shared_ptr<MetalCode> code, BoundPlan plan, int threads)
      : code_(std::move(code)), plan_(std::move(plan)), threads_(threads) {}

  Status start();
  Status bind(const std::map<std::string, Tensor>& params) override;
  Result<RunReply> run(const std::vector<Tensor>& inputs, const RunOptions& options) override;
  Result<CheckReply> check(const std::vector<Tensor>& inputs, uint64_t seed) override;
  Result<TimeReply> time(const std::vector<Tensor>&, int, int, bool, const RunOptions&) override {
    return Failure{"run.emulated", "an emulated device has no times", ""};
  }

 private:
  using Given = std::function<const Tensor*(const BoundPlan::BoundBuffer&)>;
  std::vector<BufferSpec> specs(bool checked, uint64_t room_bytes) const;
  Status place(emulator::Session& session, bool checked, uint64_t room_bytes);
  const Tensor* given(const BoundPlan::BoundBuffer& buffer, const std::vector<Tensor>& inputs) const;
  Status fill(emulator::Session& session, const std::vector<Tensor>& inputs, uint64_t shift_bytes,
              std::optional<uint32_t> pattern);
  uint64_t shift_of(const BoundPlan::BoundBuffer& buffer, uint64_t shift_bytes) const;
  std::vector<emulator::Dispatch> shifted(std::vector<emulator::Dispatch> list, uint64_t shift_bytes) const;
  emulator::RunOptions options_of(emulator::Mode mode, uint64_t seed, double timeout_s) const;
  RunReply collect(const std::vector<Tensor>& inputs, uint64_t shift_bytes);

  std::shared_ptr<MetalCode> code_;
  BoundPlan plan_;
  const int threads_;
  MetalPlan launches_;
  std::unique_ptr<emulator::Session> plain_, checked_;
  std::map<std::string, Tensor> params_;
  uint64_t calls_ = 0;
  bool prepared_ = false;
};

Status MetalSession::start() {
  auto module = code_->build(false);
  if (!module) return module.failure();
  auto launches = metal_plan(plan_, module->reflection);
  if (!launches) return launches.failure();
  launches_ = std::move(*launches);
  auto session = emulator::Session::open(module->binary, code_->toolchain().headers.parent_path());
  if (!session) return session.failure();
  plain_ = std::move(*session);
  return place(*plain_, false, shift_room_bytes);
}

std::vector<BufferSpec> MetalSession::specs(bool checked, uint64_t room_bytes) const {
  std::vector<BufferSpec> list;
  for (const BoundPlan::BoundBuffer& buffer : plan_.buffers) {
    const bool known = !checked || is_given(buffer.role);
    list.push_back({buffer.name, buffer.bytes + room_bytes, known, checked && buffer.role == Role::output});
  }
  for (size_t i = 0; i < launches_.constants.size(); ++i)
    list.push_back({fmt::format("number {}", i), launches_.constants[i].size(), true, false});
  return list;
}

Status MetalSession::place(emulator::Session& session, bool checked, uint64_t room_bytes) {
  if (Status status = session.place_buffers(specs(checked, room_bytes)); !status.ok()) return status;
  for (size_t i = 0; i < launches_.constants.size(); ++i)
    std::memcpy(session.data(plan_.buffers.size() + i), launches_.constants[i].data(), launches_.constants[i].size());
  return ok_status();
}

const Tensor* MetalSession::given(const BoundPlan::BoundBuffer& buffer, const std::vector<Tensor>& inputs) const {
  if (buffer.role == Role::input) {
    const auto index = static_cast<size_t>(buffer.index);
    return index < inputs.size() ? &inputs[index] : nullptr;
  }
  const auto at = params_.find(buffer.parameter);
  return at == params_.end() ? nullptr : &at->second;
}

/// Inputs and outputs move off their alignment by whole elements.
uint64_t MetalSession::shift_of(const BoundPlan::BoundBuffer& buffer, uint64_t shift_bytes) const {
  if (buffer.role != Role::input && buffer.role != Role::output) return 0;
  const uint64_t element = size_bytes(buffer.dtype);
  return (shift_bytes % shift_room_bytes + element - 1) / element * element % shift_room_bytes;
}

Status MetalSession::fill(emulator::Session& session, const std::vector<Tensor>& inputs, uint64_t shift_bytes,
                          std::optional<uint32_t> pattern) {
  for (size_t i = 0; i < plan_.buffers.size(); ++i) {
    const BoundPlan::BoundBuffer& buffer = plan_.buffers[i];
    char* at = session.data(i) + shift_of(buffer, shift_bytes);
    if (is_given(buffer.role)) {
      const Tensor* tensor = given(buffer, inputs);
      if (!tensor || tensor->bytes() != buffer.bytes)
        return Failure{"run.input", fmt::format("no value of the right size was given for `{}`", buffer.name), ""};
      std::memcpy(at, tensor->data, buffer.bytes);
    } else if (pattern && buffer.role != Role::prepared) {
      for (uint64_t byte = 0; byte < buffer.bytes; byte += 4)
        std::memcpy(at + byte, &*pattern, std::min<uint64_t>(4, buffer.bytes - byte));
    }
  }
  return ok_status();
}

std::vector<emulator::Dispatch> MetalSession::shifted(std::vector<emulator::Dispatch> list,
                                                      uint64_t shift_bytes) const {
  for (emulator::Dispatch& dispatch : list)
    for (auto& bound : dispatch.buffers)
      if (bound.region < plan_.buffers.size()) bound.offset = shift_of(plan_.buffers[bound.region], shift_bytes);
  return list;
}

emulator::RunOptions MetalSession::options_of(emulator::Mode mode, uint64_t seed, double timeout_s) const {
  emulator::RunOptions options;
  options.mode = mode;
  options.seed = seed;
  options.threads = threads_;
  options.timeout_s = std::max(timeout_s, least_launch_timeout_s);
  return options;
}

Status MetalSession::bind(const std::map<std::string, Tensor>& params) {
  params_ = params;
  prepared_ = false;
  return ok_status();
}

RunReply MetalSession::collect(const std::vector<Tensor>& inputs, uint64_t shift_bytes) {
  RunReply reply;
  std::map<int, Tensor> outputs;
  for (size_t i = 0; i < plan_.buffers.size(); ++i) {
    const BoundPlan::BoundBuffer& buffer = plan_.buffers[i];
    const char* at = plain_->data(i) + shift_of(buffer, shift_bytes);
    if (buffer.role == Role::output || buffer.role == Role::state) {
      Tensor tensor = Tensor::zeros(buffer.dtype, buffer.shape);
      std::memcpy(tensor.data, at, buffer.bytes);
      (buffer.role == Role::output ? outputs[buffer.index] : reply.states[buffer.parameter]) = std::move(tensor);
    } else if (is_given(buffer.role)) {
      const Tensor* tensor = given(buffer, inputs);
      reply.inputs_intact = reply.inputs_intact && std::memcmp(tensor->data, at, buffer.bytes) == 0;
    }
  }
  for (auto& [index, tensor] : outputs) reply.outputs.push_back(std::move(tensor));
  return reply;
}

/// Each call runs the threads in another order: what depends on it shows as differing results.
Result<RunReply> MetalSession::run(const std::vector<Tensor>& inputs, const RunOptions& options) {
  const auto shift = static_cast<uint64_t>(options.base_offset_bytes);
  if (Status status = fill(*plain_, inputs, shift, static_cast<uint32_t>(options.fill_bits)); !status.ok())
    return status.failure();
  std::vector<emulator::Dispatch> list;
  if (!prepared_) list = launches_.prepare;
  for (emulator::Dispatch& dispatch : shifted(launches_.steps, shift)) list.push_back(std::move(dispatch));
  emulator::RunOptions how = options_of(emulator::Mode::plain, calls_++, options.timeout_s);
  if (options.threads > 0) how.threads = options.threads;
  auto done = plain_->run(list, how);
  if (!done) return done.failure();
  if (!done->reports.empty()) return failure_of(done->reports.front());
  prepared_ = true;
  return collect(inputs, shift);
}

Result<CheckReply> MetalSession::check(const std::vector<Tensor>& inputs, uint64_t seed) {
  if (!checked_) {
    auto module = code_->build(true);
    if (!module) return module.failure();
    auto session = emulator::Session::open(module->binary, code_->toolchain().headers.parent_path());
    if (!session) return session.failure();
    checked_ = std::move(*session);
  }
  if (Status status = place(*checked_, true, 0); !status.ok()) return status.failure();
  if (Status status = fill(*checked_, inputs, 0, std::nullopt); !status.ok()) return status.failure();
  std::vector<emulator::Dispatch> list = launches_.prepare;
  list.insert(list.end(), launches_.steps.begin(), launches_.steps.end());
  auto done = checked_->run(list, options_of(emulator::Mode::checked, seed, 0));
  if (!done) return done.failure();
  CheckReply reply;
  reply.available = true;
  for (const emulator::Report& report : done->reports) reply.faults.push_back(report.kernel + ": " + report.sentence);
  uint64_t threads = 0;
  for (const auto& counts : done->dispatches) threads += counts.counts.threads;
  reply.what = fmt::format(
      "{} launches with {} threads emulated in full, in shuffled order: no race, no access out of "
      "bounds, no read of what nothing wrote, no divergent barrier, no byte left unwritten",
      list.size(), threads);
  return reply;
}

}  // namespace

Result<std::unique_ptr<Session>> open_metal_session(std::shared_ptr<MetalCode> code, const BoundPlan& plan,
                                                    int threads) {
  auto session = std::make_unique<MetalSession>(std::move(code), plan, threads);
  if (Status status = session->start(); !status.ok()) return status.failure();
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace kw::target
