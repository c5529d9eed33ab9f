#include "swarm/supervisor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "author/llm/feedback.h"
#include "author/llm/reply.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/random.h"
#include "swarm/memory.h"

namespace kw::swarm {
namespace {

constexpr int kMostFailuresInARow = 3;
constexpr int kFlatAttempts = 3;  // without a gain of its own, and an author has converged
constexpr double kGainWorthNaming = 1.01;
constexpr double kRooflineShare = 0.95;  // of the time that nothing can beat

double now_s() { return system_clock().now_s(); }

store::AttemptState state_of(judge::Outcome outcome) {
  if (outcome == judge::Outcome::verified) return store::AttemptState::verified;
  return outcome == judge::Outcome::rejected ? store::AttemptState::rejected : store::AttemptState::inconclusive;
}

PipelineOptions pipeline_options(const SuperviseOptions& options, std::function<bool()> cancelled) {
  PipelineOptions pipeline{.judge = options.judge, .workers = options.workers, .cancelled = std::move(cancelled)};
  pipeline.judge.time_limit_s = options.judge_s;
  return pipeline;
}

uint64_t seed_of(uint64_t seed, const std::string& author, int number) {
  uint64_t mixed = seed;
  for (const char c : author) mixed = mixed * 1099511628211u + static_cast<unsigned char>(c);
  return Random(mixed + static_cast<uint64_t>(number)).next();
}

std::string price_text(author::Picodollars bound, author::Picodollars left) {
  if (bound == 0) return "free";
  return fmt::format("it may cost {} of the {} left", author::usd_text(std::min(bound, left)), author::usd_text(left));
}

}  // namespace

Supervisor::Supervisor(const graph::Problem& problem, target::Target& target, store::Store& store,
                       const SuperviseOptions& options, author::Picodollars spent)
    : problem_(problem),
      target_(target),
      store_(store),
      options_(options),
      journal_(options.journal),
      device_(options.device ? *options.device : own_device_),
      meter_(problem, target, device_),
      purse_(options.budget, spent),
      pipeline_(problem, target, meter_, pipeline_options(options, [this] { return cancelled(); })),
      begun_s_(now_s()) {
  for (author::Correspondent* voice : options.voices) {
    Seat seat;
    seat.voice = voice;
    seat.index = static_cast<int>(seats_.size());
    seat.report.name = seat.arm.name = voice->name();
    seats_.push_back(std::move(seat));
  }
  search_.report.name = "search";
  search_.index = -1;
}

bool Supervisor::cancelled() const { return stop_ || interrupted() || left_s() <= 0; }

double Supervisor::left_s() const { return options_.time_s - (now_s() - begun_s_); }

Status Supervisor::prepare_brochures() {
  const std::string target = target_.facts().target;
  const auto exemplars = recall(store_, problem_, target);
  for (const auto& exemplar : exemplars) journal_.say("memory: " + exemplar.title + " goes into the prompts");
  auto plain = author::make_brochure(problem_, target_.facts(), options_.roofline_s, options_.references, exemplars);
  if (!plain) return plain.failure();
  brochure_ = starter_brochure_ = std::move(*plain);
  if (options_.starter.empty()) return ok_status();
  auto references = options_.references;
  references.push_back(
      {"a plain kernel that works, for a start", brochure_.source_tag, options_.starter, options_.starter_plan});
  auto with = author::make_brochure(problem_, target_.facts(), options_.roofline_s, references, exemplars);
  if (!with) return with.failure();
  starter_brochure_ = std::move(*with);
  return ok_status();
}

// ---- Decisions

std::string Supervisor::reason_to_stop(const Seat& seat) const {
  if (interrupted()) return "interrupted";
  if (left_s() <= 0) return "time over";
  if (seat.number > options_.attempts) return fmt::format("all {} attempts made", options_.attempts);
  if (seat.flat >= kFlatAttempts) return fmt::format("converged: {} kernels without a gain", seat.flat);
  if (seat.failed_in_a_row >= kMostFailuresInARow) return fmt::format("{} failures in a row", seat.failed_in_a_row);
  const auto best = pipeline_.best();
  if (best && options_.roofline_s > 0 && kRooflineShare * best->seconds <= options_.roofline_s)
    return "the best kernel is at the roofline";
  return "";
}

/// While money lasts for all that are ready, all go; when it is short, the best by gain per cost goes alone.
bool Supervisor::may_ask(const Seat& seat, std::string& why) const {
  std::vector<Arm> ready;
  int mine = -1, pulls = 0;
  bool in_flight = false;
  author::Picodollars needed = 0;
  for (const Seat& other : seats_) {
    pulls += other.arm.pulls;
    in_flight = in_flight || other.in_flight;
    if (!other.ready) continue;
    if (&other == &seat) mine = static_cast<int>(ready.size());
    ready.push_back(other.arm);
    needed += other.arm.bound;
  }
  const Pull pull = choose(ready, pulls, purse_.left());
  why = pull.why;
  if (pull.arm != mine) return false;
  return needed <= purse_.left() || !in_flight || seat.arm.bound <= purse_.left();
}

bool Supervisor::wait_for_grant(Seat& seat) {
  std::unique_lock lock(mutex_);
  seat.ready = true;
  while (true) {
    std::string why = reason_to_stop(seat);
    if (!why.empty()) {
      seat.ready = false;
      seat.done = true;
      seat.report.used_up = seat.report.ended.empty() && seat.number > options_.attempts;
      if (seat.report.ended.empty()) seat.report.ended = why;
      journal_.say(fmt::format("{} is not asked again: {}", seat.report.name, seat.report.ended));
      changed_.notify_all();
      return false;
    }
    if (may_ask(seat, why)) {
      seat.ready = false;
      seat.in_flight = true;
      journal_.say(fmt::format("ask {}: attempt {} of {}; {}; {}", seat.report.name, seat.number, options_.attempts,
                               why, price_text(seat.arm.bound, purse_.left())));
      changed_.notify_all();
      return true;
    }
    changed_.wait_for(lock, std::chrono::milliseconds(50));
  }
}

void Supervisor::note_gain(Seat& seat, double seconds) {
  const double before = seat.report.best_s;
  const bool gained = before == 0 || seconds * kGainWorthNaming < before;
  seat.flat = gained ? 0 : seat.flat + 1;
  if (before == 0 || seconds < before) seat.report.best_s = seconds;
  ++seat.report.verified;
  double best = 0;
  for (const Finalist& finalist : finalists_) best = best == 0 ? finalist.seconds : std::min(best, finalist.seconds);
  if (best == 0)
    seat.arm.gain += kFirstGain;
  else if (seconds < best)
    seat.arm.gain += std::log(best / seconds);
}

// ---- An author's thread

Result<Supervisor::Turn> Supervisor::begin_turn(Seat& seat) {
  Turn turn;
  turn.starter = seat.index % 2 == 1;
  turn.history.hint = hint_of(seat.index, seat.number);
  turn.history.items = seat.history;
  if (const auto best = pipeline_.best(); best && seat.number > 1)
    turn.history.incumbent =
        author::Incumbent{best->candidate.author, best->candidate.source, best->candidate.plan_json, best->seconds,
                          best->candidate.author == seat.report.name};
  turn.prompt = author::make_prompt(turn.starter ? starter_brochure_ : brochure_, turn.history);
  const std::string key =
      sha256(fmt::format("{} {} {} {}", options_.run, seat.report.name, seat.number, secret_seed()));
  auto ask = store_.open_ask(
      {.run = options_.run, .author = seat.report.name, .number = seat.number, .key = key.substr(0, 32)});
  if (!ask) return ask.failure();
  turn.ask = std::move(*ask);
  return turn;
}

void Supervisor::serve(Seat& seat) {
  while (true) {
    seat.arm.bound = seat.voice->bound(author::make_prompt(brochure_, {.hint = "", .incumbent = {}, .items = {}}));
    if (!wait_for_grant(seat)) return;
    auto turn = begin_turn(seat);
    if (!turn) {
      seat.report.ended = turn.failure().message;
      seat.number = options_.attempts + 1;
      continue;
    }
    // A reply that was paid before a kill is judged, not asked for again.
    if (turn->ask.state == store::AskState::replied) {
      take_reply(seat, *turn, turn->ask.reply);
      continue;
    }
    AskPayments payments(purse_, store_, turn->ask.id, [this] { return cancelled(); });
    const author::Letter letter{
        .prompt = turn->prompt,
        .brief_json =
            author::brief_json(problem_, target_.facts(), turn->starter ? starter_brochure_ : brochure_, turn->history),
        .key = turn->ask.key,
        .seed = seed_of(options_.seed, seat.report.name, seat.number),
        .time_left_s = std::max(1.0, left_s()),
        .cancelled = [this] { return cancelled(); }};
    const double begun = now_s();
    const auto reply = seat.voice->ask(letter, payments);
    {
      const std::lock_guard lock(mutex_);
      seat.in_flight = false;
      seat.report.spent += payments.spent();
      seat.report.requests += payments.requests();
      seat.report.usage += payments.usage();
      seat.report.asked_s += now_s() - begun;
      seat.arm.spent = seat.report.spent;
      seat.arm.seconds = seat.report.asked_s;
      ++seat.arm.pulls;
      changed_.notify_all();
    }
    if (reply)
      take_reply(seat, *turn, *reply);
    else
      take_failure(seat, *turn, reply.failure());
  }
}

void Supervisor::take_failure(Seat& seat, const Turn& turn, const Failure& failure) {
  if (failure.id == "stopped") return;
  journal_.say(
      fmt::format("{}: attempt {} failed: {} [{}]", seat.report.name, seat.number, failure.message, failure.id));
  {
    const std::lock_guard lock(mutex_);
    ++seat.report.failures[failure.id];
    failures_.push_back({"", seat.report.name + ": " + failure.message});
  }
  if (uses_up_an_attempt(failure)) {
    remember(seat, turn, {seat.number, "", "", "no usable reply: " + failure.message + "."}, 0);
    return;
  }
  (void)store_.finish_ask(turn.ask.id, store::AskState::failed, failure.message, 0);
  const std::lock_guard lock(mutex_);
  ++seat.failed_in_a_row;
  if (author::is_final(failure)) {
    seat.report.ended = failure.message;
    seat.failed_in_a_row = kMostFailuresInARow;
  } else if (seat.failed_in_a_row >= kMostFailuresInARow) {
    seat.report.ended = fmt::format("{} failures in a row, the last: {}", seat.failed_in_a_row, failure.message);
  }
}

void Supervisor::take_reply(Seat& seat, const Turn& turn, const std::string& reply) {
  const double begun = now_s();
  seat.in_flight = false;
  seat.failed_in_a_row = 0;
  const auto parsed = author::parse_reply(reply, *author::find_language(target_.facts().target));
  if (!parsed) {
    journal_.say(
        fmt::format("{}: attempt {} cannot be read: {}", seat.report.name, seat.number, parsed.failure().message));
    {
      const std::lock_guard lock(mutex_);
      ++seat.report.failures["reply"];
      latencies_s_.push_back(now_s() - begun);
    }
    remember(seat, turn, {seat.number, "", "", parsed.failure().message + "."}, 0);
    return;
  }
  kernel::Candidate candidate{parsed->source, parsed->plan_json, seat.report.name, "", {}};
  if (turn.history.incumbent)
    candidate.parent =
        kernel::Candidate{turn.history.incumbent->source, turn.history.incumbent->plan_json, "", "", {}}.key();
  const Judged judged = pipeline_.evaluate(candidate);
  if (judged.verdict.gate == "stopped" || interrupted()) return;  // judged by whoever goes on
  {
    const std::lock_guard lock(mutex_);
    latencies_s_.push_back(now_s() - begun);
  }
  take_verdict(seat, turn, candidate, judged);
}

void Supervisor::take_verdict(Seat& seat, const Turn& turn, const kernel::Candidate& candidate, const Judged& judged) {
  const bool verified = judged.verdict.outcome == judge::Outcome::verified;
  const auto best = pipeline_.best();
  std::string words = verified ? author::feedback_of_time(judged.seconds, best ? best->seconds : 0, options_.roofline_s,
                                                          judged.launches)
                               : author::feedback_of(judged.verdict, candidate.source);
  if (verified && !target_.measures()) words += "\nTimes are predicted by a model of the device.";
  if (judged.twin) words += "\nAn equal candidate was judged before; write something else.";
  const auto id = store_.plan_attempt({.run = options_.run,
                                       .author = candidate.author,
                                       .candidate_key = candidate.key(),
                                       .source = candidate.source,
                                       .plan_json = candidate.plan_json,
                                       .parent = candidate.parent});
  if (id) (void)store_.finish_attempt(*id, state_of(judged.verdict.outcome), words, judged.seconds);
  {
    const std::lock_guard lock(mutex_);
    seat.report.twins += judged.twin;
    seat.report.judged_s += judged.judged_s;
    last_verdict_ = judged.verdict;
    if (verified) {
      note_gain(seat, judged.seconds);
      finalists_.push_back({candidate, judged.seconds, seat.number, seat.index});
    } else {
      ++seat.report.failures[judged.verdict.gate];
      failures_.push_back({candidate.key(), judged.verdict.gate + ": " + judged.verdict.reason});
    }
    journal_.say(fmt::format("{}: attempt {} {}{}: {} (waited {:.2f} s, judged {:.2f} s, measured {:.2f} s)",
                             seat.report.name, seat.number, judge::name_of(judged.verdict.outcome),
                             judged.twin ? ", as its twin" : "",
                             verified ? author::time_text(judged.seconds) : judged.verdict.gate, judged.queued_s,
                             judged.judged_s, judged.measured_s));
  }
  remember(seat, turn, {seat.number, candidate.source, candidate.plan_json, words}, id ? *id : 0);
}

/// An attempt is over: stored, told, counted.
void Supervisor::remember(Seat& seat, const Turn& turn, author::HistoryItem item, int64_t attempt) {
  (void)store_.finish_ask(turn.ask.id, store::AskState::judged, item.words, attempt);
  const std::lock_guard lock(mutex_);
  seat.history.push_back(std::move(item));
  ++seat.number;
  ++seat.report.attempts;
  ++attempts_;
  seat.failed_in_a_row = 0;
  progress();
}

void Supervisor::progress() {
  if (!options_.progress) return;
  const auto best = pipeline_.best();
  const int all = static_cast<int>(seats_.size()) * options_.attempts;
  options_.progress(
      fmt::format("[{}/{}] verified {}{}, {} of {}, {:.0f} s left", attempts_, all, finalists_.size(),
                  best ? ", best " + author::time_text(best->seconds) + " by " + best->candidate.author : "",
                  author::usd_text(purse_.spent()), author::usd_text(purse_.budget()), std::max(0.0, left_s())));
}

// ---- The embedded author

void Supervisor::serve_search() {
  const author::Brief brief{
      .problem = &problem_, .facts = target_.facts(), .time_left_s = std::min(options_.search_s, left_s())};
  const double begun = now_s();
  const auto answer = options_.search->answer(brief);
  search_.report.asked_s = now_s() - begun;
  search_.report.ended = "it gave what it had";
  if (!answer) {
    search_.report.ended = answer.failure().message;
    return;
  }
  for (const kernel::Candidate& candidate : *answer) {
    if (cancelled()) return;
    const Judged judged = pipeline_.evaluate(candidate);
    const std::lock_guard lock(mutex_);
    ++search_.report.attempts;
    if (judged.verdict.outcome != judge::Outcome::verified) {
      ++search_.report.failures[judged.verdict.gate];
      journal_.say(fmt::format("search: a candidate is {} at {}: {}", judge::name_of(judged.verdict.outcome),
                               judged.verdict.gate, judged.verdict.reason));
      continue;
    }
    note_gain(search_, judged.seconds);
    finalists_.push_back({candidate, judged.seconds, 0, -1});
    journal_.say(fmt::format("search: verified, {}", author::time_text(judged.seconds)));
    progress();
    return;  // the next ones are only more cautious
  }
}

Result<SwarmResult> supervise(const graph::Problem& problem, target::Target& target, store::Store& store,
                              const SuperviseOptions& options) {
  const auto spent = store.forfeit_asks(options.run);
  if (!spent) return spent.failure();
  Supervisor supervisor(problem, target, store, options, *spent);
  if (Status ready = supervisor.prepare_brochures(); !ready) return ready.failure();
  if (Status ready = supervisor.resume(); !ready) return ready.failure();
  return supervisor.run();
}

}  // namespace kw::swarm
