#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "fake_target.h"
#include "graph/graph.h"
#include "swarm/pipeline.h"
#include "swarm/swarm.h"

using namespace kw;
using namespace kw::swarm;

// The supervisor over fakes: authors that answer from a list, a target whose kernels are the interpreter.
namespace {

graph::Problem problem_of() {
  graph::GraphBuilder g;
  const auto x = g.input(DType::f32, {8, 16}, "x");
  g.output(g.map2(graph::ScalarOp::add, x, 1.0));
  graph::Problem problem;
  problem.name = "toy";
  problem.source = "toy.pt2";
  problem.graph = g.take();
  problem.loaded = std::make_shared<module::LoadedModule>();
  problem.domains.push_back({-1, 1, 0, 0.5, true, false});
  return problem;
}

constexpr const char* kPlan = R"({"format": "kernelwright-plan/1", "target": "cpu",
 "symbols": {"M": {"input": 0, "dim": 0}, "N": {"input": 0, "dim": 1}}, "guards": ["M == 8", "N == 16"],
 "buffers": {"x": {"role": "input", "index": 0}, "y": {"role": "output", "index": 0}},
 "steps": [{"kernel": "k", "args": ["x", "y"], "groups": [1, 1, 1], "group": [1, 1, 1]}]})";

/// Source that names its own speed: the fake session reads no code, so the speed is looked up by source.
std::string reply_with(const std::string& words) {
  return "```cpp\nKW_KERNEL void k(const float* x, float* y, KwGroup g) { " + words + " }\n```\n```json\n" + kPlan +
         "\n```\n";
}

/// Kernels are right unless their source says "wrong"; "us(N)" is how many microseconds a call takes, "held" keeps the
/// judge until it is let go, and what says "same" compiles to the same binary.
class ScriptedTarget final : public target::Target {
 public:
  explicit ScriptedTarget(const graph::Graph& graph) : graph_(graph) {
    wrong_.outputs = [](std::vector<Tensor>& outputs, const std::vector<Tensor>&, int) {
      store_element(outputs[0], 3, 77);
    };
  }
  const target::Facts& facts() const override { return facts_; }
  Result<target::Compiled> compile(const std::string& source, const kernel::Plan&) override {
    if (source.find("broken") != std::string::npos)
      return Failure{"compile.error", "the kernel source does not compile:\ncandidate.cpp:1:1: error: broken", ""};
    note(source);
    if (source.find("same") == std::string::npos) return target::Compiled{source, "", "", 0, false};
    std::ofstream(folder_.path() / "same") << "one binary";
    return target::Compiled{source, "", (folder_.path() / "same").string(), 0, false};
  }
  bool measures() const override { return measures_; }
  Result<target::Prediction> predict(const target::Compiled& compiled, const kernel::BoundPlan& plan,
                                     const std::map<std::string, Tensor>& params,
                                     const std::vector<Tensor>& inputs) override {
    if (!predicts_) return Target::predict(compiled, plan, params, inputs);
    const double seconds = std::atof(compiled.key.c_str() + compiled.key.find("us(") + 3) * 1e-6;
    return target::Prediction{.seconds = seconds, .steps = {{.kernel = "k", .bound = "memory", .seconds = seconds}}};
  }
  bool measures_ = true, predicts_ = true;
  Result<std::unique_ptr<target::Session>> open(const target::Compiled& compiled, const kernel::BoundPlan&) override {
    const bool wrong = compiled.key.find("wrong") != std::string::npos;
    if (compiled.key.find("held") != std::string::npos)
      for (int i = 0; i < 2000 && hold_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const size_t at = compiled.key.find("us(");
    const double seconds = at == std::string::npos ? 1e-4 : std::atof(compiled.key.c_str() + at + 3) * 1e-6;
    return std::unique_ptr<target::Session>(std::make_unique<Timed>(graph_, wrong ? wrong_ : right_, seconds));
  }
  /// Sources in the order in which they were first compiled.
  std::vector<std::string> compiled() const {
    const std::lock_guard lock(mutex_);
    return compiled_;
  }
  std::atomic<bool> hold_{true};

 private:
  class Timed final : public target::Session {
   public:
    Timed(const graph::Graph& graph, const judge::fake::Faults& faults, double seconds)
        : inner_(graph, faults), seconds_(seconds) {}
    Status bind(const std::map<std::string, Tensor>& params) override { return inner_.bind(params); }
    Result<target::RunReply> run(const std::vector<Tensor>& inputs, const target::RunOptions& options) override {
      return inner_.run(inputs, options);
    }
    Result<target::TimeReply> time(const std::vector<Tensor>&, int, int calls, bool by_step,
                                   const target::RunOptions&) override {
      return target::TimeReply{std::vector<double>(static_cast<size_t>(calls), seconds_),
                               by_step ? std::vector<double>{0.2 * seconds_, 0.8 * seconds_} : std::vector<double>{}};
    }

   private:
    judge::fake::FakeSession inner_;
    double seconds_;
  };
  void note(const std::string& source) {
    const std::lock_guard lock(mutex_);
    if (std::find(compiled_.begin(), compiled_.end(), source) == compiled_.end()) compiled_.push_back(source);
  }
  const graph::Graph& graph_;
  mutable std::mutex mutex_;
  std::vector<std::string> compiled_;
  TempDir folder_;
  judge::fake::Faults right_, wrong_;
  target::Facts facts_;
};

/// Answers from a list, at a price.
class Voice final : public author::Correspondent {
 public:
  Voice(std::string name, std::vector<std::string> replies, author::Picodollars price = 1000)
      : name_(std::move(name)), replies_(std::move(replies)), price_(price) {}
  std::string name() const override { return name_; }
  author::Picodollars bound(const author::Prompt&) const override { return 3 * price_; }
  std::string describe() const override { return ""; }
  Result<std::string> ask(const author::Letter& letter, author::Payments& payments) override {
    const auto reserved = payments.reserve(3 * price_, 3 * price_);
    if (!reserved) return reserved.failure();
    prompts.push_back(letter.prompt.history);
    keys.push_back(letter.key);
    const size_t index = asked++;
    const std::string reply = index < replies_.size() ? replies_[index] : replies_.back();
    if (reply.starts_with("fail:")) {
      if (Status kept = payments.settle({}); !kept) return kept.failure();
      return Failure{reply.substr(5), "it failed", ""};
    }
    if (Status kept = payments.settle({price_, {}, false, reply}); !kept) return kept.failure();
    return reply;
  }
  std::atomic<size_t> asked{0};
  std::vector<std::string> prompts, keys;

 private:
  std::string name_;
  std::vector<std::string> replies_;
  author::Picodollars price_;
};

struct Run {
  TempDir folder;
  graph::Problem problem = problem_of();
  ScriptedTarget target{problem.graph};
  std::unique_ptr<store::Store> store = std::move(store::Store::open(folder.path()).value_or_throw());
  SuperviseOptions options;
  Run() {
    options.run = *store->start_run({.problem = "toy", .source = "toy.py", .target = "cpu", .options_json = "{}"});
    options.attempts = 3;
    options.workers = 2;
    options.time_s = 60;
    options.journal = (folder.path() / "run.log").string();
  }
  SwarmResult go(std::vector<author::Correspondent*> voices) {
    options.voices = std::move(voices);
    return std::move(supervise(problem, target, *store, options).value_or_throw());
  }
  std::string journal() const { return read_file(folder.path() / "run.log").value_or_throw(); }
};

const AuthorReport& report(const SwarmResult& result, const std::string& name) {
  for (const AuthorReport& r : result.account.authors)
    if (r.name == name) return r;
  throw BugError("no such author");
}

}  // namespace

TEST_CASE("the fastest verified kernel wins; every other author's failures are told") {
  Run run;
  Voice slow("slow", {reply_with("us(90);"), reply_with("us(80);"), reply_with("us(70);")});
  Voice fast("fast", {reply_with("broken"), reply_with("us(20);"), reply_with("wrong us(1);")});
  Voice liar("liar", {reply_with("wrong us(2);"), "no code at all", reply_with("wrong us(2);")});
  const auto result = run.go({&slow, &fast, &liar});
  REQUIRE(result.best);
  CHECK(result.best->author == "fast");
  CHECK(result.account.best_s == doctest::Approx(20e-6));
  CHECK(report(result, "fast").won);
  CHECK(report(result, "fast").failures.at("compile") == 1);
  CHECK(report(result, "liar").failures.at("reply") == 1);
  CHECK(report(result, "liar").verified == 0);
  CHECK(report(result, "slow").best_s == doctest::Approx(70e-6));
  CHECK(result.account.spent == 9 * 1000);
  const std::string table = table_of(result.account);
  CHECK(table.find("won") != std::string::npos);
  CHECK(table.find("no verified kernel; failed: 2 numerics.own, 1 unreadable\n") != std::string::npos);
  CHECK(run.journal().find("ask fast: attempt 2 of 3; gain per cost") != std::string::npos);
  CHECK(liar.prompts[1].find("rejected at the gate `numerics.own`") != std::string::npos);
  CHECK(liar.prompts[2].find("the reply holds no fenced block") != std::string::npos);
  CHECK(fast.prompts[1].find("error: broken") != std::string::npos);
}

TEST_CASE("equal candidates are judged once") {
  Run run;
  Voice a("a", {reply_with("us(50);")}), b("b", {reply_with("/* mine */  us(50);")});
  run.options.attempts = 1;
  const auto result = run.go({&a, &b});
  CHECK(result.account.judged == 1);
  CHECK(report(result, "a").twins + report(result, "b").twins == 1);
  CHECK(report(result, "a").verified == 1);
  CHECK(report(result, "b").verified == 1);
}

TEST_CASE("the budget ends the run, and is not exceeded by a single reply") {
  for (const author::Picodollars budget : {0, 2999, 3000, 5000, 7500, 20000}) {
    CAPTURE(budget);
    Run run;
    run.options.attempts = 4;
    run.options.budget = budget;
    Voice a("a", {reply_with("us(50);"), reply_with("us(40);"), reply_with("us(30);"), reply_with("us(25);")});
    Voice b("b", {reply_with("us(51);"), reply_with("us(41);"), reply_with("us(31);"), reply_with("us(26);")});
    const auto result = run.go({&a, &b});
    CHECK(result.account.spent <= budget);
    CHECK(result.account.spent == static_cast<int64_t>(a.asked + b.asked) * 1000);
    if (budget < 3000) CHECK(a.asked + b.asked == 0);
    if (budget < 10000) CHECK(result.account.out_of_money);
    if (budget == 20000) CHECK(a.asked + b.asked == 8);
  }
}

TEST_CASE("an author that converged is left alone, one that fails is given up, one whose key is refused at once") {
  Run run;
  run.options.attempts = 9;
  Voice flat("flat",
             {reply_with("us(50);"), reply_with("us(50) + 1;"), reply_with("us(50) + 2;"), reply_with("us(50) + 3;")});
  Voice down("down", {"fail:http.connect"});
  Voice locked("locked", {"fail:llm.auth"});
  Voice refusing("refusing", {"fail:llm.refusal"});
  const auto result = run.go({&flat, &down, &locked, &refusing});
  CHECK(report(result, "flat").attempts == 4);
  CHECK(report(result, "flat").ended.find("converged") == 0);
  CHECK(down.asked == 3);
  CHECK(locked.asked == 1);
  CHECK(refusing.asked == 9);  // a refusal is an answer
  CHECK(report(result, "down").attempts == 0);
}

TEST_CASE("a kernel at the roofline ends the run") {
  Run run;
  run.options.attempts = 50;
  run.options.roofline_s = 50e-6;
  Voice a("a", {reply_with("us(90);"), reply_with("us(51);")});
  const auto result = run.go({&a});
  CHECK(a.asked == 2);
  CHECK(report(result, "a").ended == "the best kernel is at the roofline");
}

TEST_CASE("a run goes on where it was: what was paid is not asked again, what was under way counts as spent") {
  Run run;
  Voice first("a", {reply_with("us(50);"), reply_with("us(40);")});
  run.options.attempts = 2;
  run.go({&first});
  CHECK(first.asked == 2);
  // As a kill leaves it: one reply paid but not judged, one question under way.
  const auto paid = *run.store->open_ask({.run = run.options.run, .author = "a", .number = 3, .key = "k3"});
  REQUIRE(run.store->reserve_ask(paid.id, 3000).ok());
  REQUIRE(run.store->settle_ask(paid.id, 1000, "{}", reply_with("us(30);")).ok());
  const auto lost = *run.store->open_ask({.run = run.options.run, .author = "a", .number = 4, .key = "k4"});
  REQUIRE(run.store->reserve_ask(lost.id, 3000).ok());
  Voice second("a", {reply_with("us(20);")});
  run.options.attempts = 4;
  const auto result = run.go({&second});
  CHECK(second.asked == 1);
  CHECK(second.keys[0] == "k4");  // the same question under the same name
  CHECK(result.account.spent == 3 * 1000 + 3000 + 1000);
  CHECK(result.best->source.find("us(20)") != std::string::npos);
  CHECK(report(result, "a").attempts == 4);
  CHECK(second.prompts[0].find("us(30)") != std::string::npos);
}

TEST_CASE("the same replies give the same result, run after run") {
  std::string before;
  for (int i = 0; i < 3; ++i) {
    Run run;
    Voice a("a", {reply_with("us(50);"), reply_with("wrong"), reply_with("us(30);")});
    Voice b("b", {"nothing", reply_with("us(30.2);"), reply_with("broken")});
    const auto result = run.go({&a, &b});
    const std::string now = result.best->author + result.best->source + std::to_string(result.account.spent) +
                            std::to_string(report(result, "a").verified) + std::to_string(report(result, "b").verified);
    CHECK((before.empty() || before == now));
    before = now;
    CHECK(result.best->author == "b");  // as fast as the other's, and an attempt earlier
  }
}

TEST_CASE("an author is told which kernel takes the time, and attempts know what they were made from") {
  Run run;
  run.options.attempts = 2;
  std::string two = reply_with("us(50);");
  const auto swap = [&two](const std::string& from, const std::string& to) {
    REQUIRE(two.find(from) != std::string::npos);
    two.replace(two.find(from), from.size(), to);
  };
  swap("\"buffers\": {", R"("buffers": {"t": {"role": "scratch", "dtype": "f32", "shape": ["M", "N"]}, )");
  swap("\"steps\": [",
       R"("steps": [{"kernel": "first", "args": ["x", "t"], "groups": [1, 1, 1], "group": [1, 1, 1]}, )");
  Voice a("a", {two, reply_with("us(40);")});
  run.go({&a});
  CHECK(a.prompts[1].find("- `k`: 40 us, 80% of the call, 1 launch\n- `first`: 10 us, 20%") != std::string::npos);
  const auto attempts = *run.store->attempts(run.options.run);
  REQUIRE(attempts.size() == 2);
  CHECK(attempts[0].parent.empty());
  CHECK(attempts[1].parent == attempts[0].candidate_key);
}

namespace {

/// Candidates handed to a pipeline from threads of their own, in the order in which they come back.
struct Queue {
  Run run;
  Device device;
  Meter meter{run.problem, run.target, device};
  Pipeline pipeline;
  std::mutex mutex;
  std::vector<std::string> order;
  std::vector<std::thread> threads;
  explicit Queue(int workers)
      : pipeline(run.problem, run.target, meter, {.judge = {}, .workers = workers, .cancelled = {}}) {}
  ~Queue() { wait(); }
  void wait() {
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }
  void put(const std::string& author, const std::string& words) {
    threads.emplace_back([this, author, words] {
      const Judged judged = pipeline.evaluate({"void k() { " + words + " }", kPlan, author, "", {}});
      const std::lock_guard lock(mutex);
      order.push_back(author + (judged.twin ? " twin" : ""));
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // in this order
  }
  bool came_back(const std::string& who) {
    for (int i = 0; i < 1000; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      const std::lock_guard lock(mutex);
      if (std::find(order.begin(), order.end(), who) != order.end()) return true;
    }
    return false;
  }
};

}  // namespace

TEST_CASE("where the device is not here, predictions rank the kernels and are called so") {
  Run run;
  run.target.measures_ = false;
  run.options.attempts = 2;
  Voice a("a", {reply_with("us(50);"), reply_with("us(10);")}), b("b", {reply_with("us(30);")});
  const auto result = run.go({&a, &b});
  CHECK(result.best->source.find("us(10)") != std::string::npos);
  CHECK(result.account.best_s == doctest::Approx(10e-6));
  CHECK(a.prompts[1].find("predicted by a model of the device") != std::string::npos);
  CHECK(a.prompts[1].find("held up by memory") != std::string::npos);
  CHECK(table_of(result.account).find("not measured") != std::string::npos);
  Run other;
  other.target.measures_ = other.target.predicts_ = false;
  Voice c("c", {reply_with("us(50);")});
  CHECK(other.go({&c}).account.best_s > 5e-6);  // by its launch and its traffic
}

TEST_CASE("a backlog of one author does not delay another") {
  Queue queue(1);
  for (int i = 0; i < 8; ++i) queue.put("flood", "held " + std::to_string(i) + ";");
  queue.put("single", "quick;");
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // all wait for the one worker
  queue.run.target.hold_ = false;
  queue.wait();
  const auto compiled = queue.run.target.compiled();
  REQUIRE(compiled.size() == 9);
  CHECK(compiled[1].find("quick") != std::string::npos);  // right after what was under way when it came
}

TEST_CASE("equal binaries are judged once, and the second keeps no worker from others' candidates") {
  Queue queue(2);
  queue.put("first", "same held 1;");
  queue.put("second", "same held 2;");
  queue.put("third", "quick;");
  CHECK(queue.came_back("third"));
  queue.run.target.hold_ = false;
  queue.wait();
  CHECK(queue.pipeline.judged() == 2);
  CHECK(queue.pipeline.twins() == 1);
}

TEST_CASE("the device's account: busy while measuring, idle while something waits to be prepared") {
  const auto begun = std::chrono::steady_clock::now();
  Device device;
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(30)); };
  pause();
  {
    const Device::Wish wish(device);
    pause();
    const Device::Turn turn(device);
    pause();
  }
  pause();
  const Device::Account account = device.account();
  CHECK(account.measurements == 1);
  CHECK(account.busy_s >= 0.03);
  CHECK(account.idle_waiting_s >= 0.03);
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begun;
  CHECK(account.busy_s + account.idle_waiting_s <= all.count() - 0.06);  // not what nobody wished for
}
