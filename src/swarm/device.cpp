#include "swarm/device.h"

#include "base/clock.h"

namespace kw::swarm {
namespace {

class GatedSession final : public target::Session {
 public:
  GatedSession(std::unique_ptr<target::Session> session, Device& device)
      : session_(std::move(session)), device_(device) {}
  Status bind(const std::map<std::string, Tensor>& params) override { return session_->bind(params); }
  Result<target::RunReply> run(const std::vector<Tensor>& inputs, const target::RunOptions& options) override {
    return session_->run(inputs, options);
  }
  Result<target::CheckReply> check(const std::vector<Tensor>& inputs, uint64_t seed) override {
    return session_->check(inputs, seed);
  }
  Result<target::TimeReply> time(const std::vector<Tensor>& inputs, int warmup, int calls, bool by_step,
                                 const target::RunOptions& options) override {
    const Device::Turn turn(device_);
    return session_->time(inputs, warmup, calls, by_step, options);
  }

 private:
  std::unique_ptr<target::Session> session_;
  Device& device_;
};

class GatedTarget final : public target::Target {
 public:
  GatedTarget(target::Target& target, Device& device) : target_(target), device_(device) {}
  const target::Facts& facts() const override { return target_.facts(); }
  kernel::Limits limits() const override { return target_.limits(); }
  bool measures() const override { return target_.measures(); }
  Result<target::Prediction> predict(const target::Compiled& compiled, const kernel::BoundPlan& plan,
                                     const std::map<std::string, Tensor>& params,
                                     const std::vector<Tensor>& inputs) override {
    return target_.predict(compiled, plan, params, inputs);
  }
  Result<target::Compiled> compile(const std::string& source, const kernel::Plan& plan) override {
    return target_.compile(source, plan);
  }
  Result<std::unique_ptr<target::Session>> open(const target::Compiled& compiled,
                                                const kernel::BoundPlan& plan) override {
    auto session = target_.open(compiled, plan);
    if (!session) return session;
    return std::unique_ptr<target::Session>(std::make_unique<GatedSession>(std::move(*session), device_));
  }

 private:
  target::Target& target_;
  Device& device_;
};

}  // namespace

/// Books the time since the last change, then changes how many wish, wait for their turn and measure.
void Device::note(int wished, int ready, int measuring) {
  const std::lock_guard guard(mutex_);
  const double now = system_clock().now_s(), passed = now - changed_s_;
  if (measuring_ > 0) account_.busy_s += passed;
  if (measuring_ == 0 && wished_ > 0) account_.idle_waiting_s += passed;
  if (measuring_ == 0 && ready_ > 0) account_.idle_ready_s += passed;
  changed_s_ = now;
  wished_ += wished;
  ready_ += ready;
  measuring_ += measuring;
  if (measuring < 0) ++account_.measurements;
}

Device::Wish::Wish(Device& device) : device_(device) { device_.note(1, 0, 0); }
Device::Wish::~Wish() { device_.note(-1, 0, 0); }

Device::Turn::Turn(Device& device) : device_(device), wish_(device), lock_(device.turn_, std::defer_lock) {
  device_.note(0, 1, 0);
  lock_.lock();
  device_.note(0, -1, 1);
}
Device::Turn::~Turn() { device_.note(0, 0, -1); }

Device::Account Device::account() const {
  const std::lock_guard guard(mutex_);
  return account_;
}

std::unique_ptr<target::Target> gated(target::Target& target, Device& device) {
  return std::make_unique<GatedTarget>(target, device);
}

}  // namespace kw::swarm
