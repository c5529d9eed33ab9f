#include "swarm/pipeline.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "judge/draw.h"
#include "swarm/normalise.h"

namespace kw::swarm {
namespace {

constexpr size_t kReferenceBytes = size_t{128} << 20;
constexpr int kLowPriority = 15;

double now_s() { return system_clock().now_s(); }

/// The oracle is one process; the pipeline is many threads.
class SharedOracle final : public judge::FrameworkOracle {
 public:
  explicit SharedOracle(judge::FrameworkOracle& oracle) : oracle_(oracle) {}
  Result<judge::FrameworkReply> run(const std::vector<Tensor>& inputs,
                                    const std::map<std::string, Tensor>& params) override {
    const std::lock_guard lock(mutex_);
    return oracle_.run(inputs, params);
  }

 private:
  std::mutex mutex_;
  judge::FrameworkOracle& oracle_;
};

judge::Verdict refusal(judge::Outcome outcome, const std::string& gate, const std::string& reason) {
  judge::Verdict verdict;
  verdict.outcome = outcome;
  verdict.gate = gate;
  verdict.reason = reason;
  return verdict;
}

/// A fault of ours must not end a run that others paid for.
judge::Verdict internal(const std::exception& error) {
  return refusal(judge::Outcome::inconclusive, "internal", std::string("internal error: ") + error.what());
}

/// The verdict and time of an equal candidate; how long this one waited is its own.
Judged as_twin(Judged judged, const Judged& own) {
  judged.twin = true;
  judged.queued_s = own.queued_s;
  judged.judged_s = own.judged_s;
  judged.measured_s = 0;
  return judged;
}

/// Measurements must not wait for compilers: on Linux a thread's priority is its own and its children's.
void lower_priority() {
#ifdef __linux__
  (void)::setpriority(PRIO_PROCESS, 0, std::max(kLowPriority, ::getpriority(PRIO_PROCESS, 0)));
#endif
}

}  // namespace

Pipeline::Pipeline(const graph::Problem& problem, target::Target& target, Meter& meter, PipelineOptions options)
    : problem_(problem),
      target_(target),
      meter_(meter),
      options_(std::move(options)),
      signature_(kernel::signature_of(problem.graph)),
      cache_(kReferenceBytes) {
  options_.judge.quick = true;
  options_.judge.cache = &cache_;
  if (options_.judge.oracle != nullptr) {
    oracle_ = std::make_unique<SharedOracle>(*options_.judge.oracle);
    options_.judge.oracle = oracle_.get();
  }
  warm_ = std::async(std::launch::async, [this] { warm_up(); }).share();
  const int count = options_.workers > 0 ? options_.workers : usable_cores();
  for (int i = 0; i < count; ++i) workers_.emplace_back([this] { work(); });
}

Pipeline::~Pipeline() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

/// PyTorch takes seconds to start: no candidate's time is spent on that.
void Pipeline::warm_up() {
  if (options_.judge.oracle == nullptr) return;
  (void)options_.judge.oracle->run(judge::draw_inputs(problem_, "own", 1, 0, 8), problem_.params());
}

/// What was not decided says nothing about the next one that is equal.
void Pipeline::forget(const std::string& key) {
  const std::lock_guard lock(mutex_);
  twins_.erase(key);
}

std::optional<judge::Verdict> Pipeline::cheap_gates(const kernel::Candidate& candidate) const {
  const auto words = [](const Failure& failure) { return failure.message + " [" + failure.id + "]"; };
  const auto plan = kernel::parse_plan(candidate.plan_json);
  if (!plan) return refusal(judge::Outcome::rejected, "plan", words(plan.failure()));
  if (plan->target != target_.facts().target)
    return refusal(judge::Outcome::rejected, "plan", "the Plan is for the target `" + plan->target + "`");
  const auto bound = kernel::bind_plan(*plan, signature_, target_.limits());
  if (!bound) return refusal(judge::Outcome::rejected, "plan", words(bound.failure()));
  return std::nullopt;
}

/// The verdict that an equal candidate has or will have; else `mine` stands for this one from now on.
std::optional<Pipeline::Future> Pipeline::find_twin(const std::string& key, std::promise<Judged>& mine) {
  const std::lock_guard lock(mutex_);
  const auto found = twins_.find(key);
  if (found != twins_.end()) {
    ++twins_found_;
    return found->second;
  }
  twins_[key] = mine.get_future().share();
  return std::nullopt;
}

Judged Pipeline::evaluate(const kernel::Candidate& candidate) {
  if (auto refused = cheap_gates(candidate)) return {.verdict = std::move(*refused)};
  if (!options_.dedupe) return through_queue(candidate);
  std::promise<Judged> mine;
  const std::string key = normal_key(candidate.source, candidate.plan_json);
  if (const auto twin = find_twin(key, mine)) return as_twin(twin->get(), {});
  Judged judged = through_queue(candidate);
  mine.set_value(judged);
  if (judged.verdict.outcome == judge::Outcome::inconclusive) forget(key);
  return judged;
}

Judged Pipeline::through_queue(const kernel::Candidate& candidate) {
  std::future<Finding> done;
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({&candidate, {}, now_s()});
    done = queue_.back().done.get_future();
  }
  wake_.notify_one();
  const Finding found = done.get();
  Judged judged = found.twin ? as_twin(found.twin->get(), found.judged) : found.judged;
  if (judged.verdict.outcome == judge::Outcome::verified && judged.seconds == 0) measure(candidate, judged);
  return judged;
}

void Pipeline::measure(const kernel::Candidate& candidate, Judged& judged) {
  const double begun = now_s();
  const std::optional<Best> incumbent = best();
  const auto measured = meter_.measure(candidate, incumbent ? &incumbent->candidate : nullptr);
  judged.measured_s = now_s() - begun;
  if (!measured) {
    judged.verdict = refusal(judge::Outcome::inconclusive, "time", measured.failure().message);
    return;
  }
  judged.seconds = measured->seconds;
  judged.launches = measured->launches;
  if (measured->incumbent_s > 0) restore(incumbent->candidate, measured->incumbent_s);
  restore(candidate, measured->seconds);
}

void Pipeline::restore(const kernel::Candidate& candidate, double seconds) {
  const std::lock_guard lock(mutex_);
  if (!best_ || seconds < best_->seconds) best_ = Best{candidate, seconds};
}

std::optional<Best> Pipeline::best() const {
  const std::lock_guard lock(mutex_);
  return best_;
}

int Pipeline::judged() const {
  const std::lock_guard lock(mutex_);
  return judged_;
}

int Pipeline::twins() const {
  const std::lock_guard lock(mutex_);
  return twins_found_;
}

/// The waiting job of whoever was served least; the first of its kind.
std::list<Pipeline::Job>::iterator Pipeline::next_job() {
  return std::min_element(queue_.begin(), queue_.end(), [this](const Job& a, const Job& b) {
    return served_s_[a.candidate->author] < served_s_[b.candidate->author];
  });
}

void Pipeline::work() {
  lower_priority();
  while (true) {
    std::list<Job> mine;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      mine.splice(mine.begin(), queue_, next_job());
    }
    Job& job = mine.front();
    const double begun = now_s();
    const bool stopped = options_.cancelled && options_.cancelled();
    Finding found;
    try {
      if (stopped)
        found.judged.verdict = refusal(judge::Outcome::inconclusive, "stopped", "the run was stopped");
      else
        found = judge_once(*job.candidate);
    } catch (const std::exception& error) {
      found.judged.verdict = internal(error);
    }
    found.judged.queued_s = begun - job.queued_at_s;
    found.judged.judged_s = now_s() - begun;
    {
      const std::lock_guard lock(mutex_);
      served_s_[job.candidate->author] += found.judged.judged_s;
    }
    job.done.set_value(std::move(found));
  }
}

/// Compiles, looks whether an equal binary was judged, judges. A twin's verdict and time hold for this one too.
Pipeline::Finding Pipeline::judge_once(const kernel::Candidate& candidate) {
  std::promise<Judged> mine;
  std::string key;
  auto plan = kernel::parse_plan(candidate.plan_json);
  const auto bound = kernel::bind_plan(*plan, signature_, target_.limits());
  kernel::resolve_dtypes(*plan, *bound);
  const auto compiled = target_.compile(candidate.source, *plan);
  if (compiled && options_.dedupe && !compiled->binary_path.empty())
    if (const auto binary = read_file(compiled->binary_path)) {
      key = sha256(*binary) + sha256(normal_plan(candidate.plan_json));
      if (auto twin = find_twin(key, mine)) return {.judged = {}, .twin = std::move(twin)};
    }
  Judged judged = judge_it(candidate);
  mine.set_value(judged);
  if (judged.verdict.outcome == judge::Outcome::inconclusive) forget(key);
  return {.judged = std::move(judged), .twin = {}};
}

Judged Pipeline::judge_it(const kernel::Candidate& candidate) {
  warm_.wait();
  {
    const std::lock_guard lock(mutex_);
    ++judged_;
  }
  try {
    return {.verdict = judge::judge(problem_, candidate, target_, options_.judge)};
  } catch (const std::exception& error) {
    return {.verdict = internal(error)};
  }
}

}  // namespace kw::swarm
