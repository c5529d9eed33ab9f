#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/file.h"
#include "bench/oracle.h"
#include "graph/load_problem.h"
#include "module/export.h"
#include "swarm/pipeline.h"
#include "swarm/seat.h"
#include "target/cpu/cpu_target.h"
#include "target/cpu/worker.h"

// kw_replay MODULE.py RECORDING.jsonl serial|pipeline: one recorded set of attempts, step after step by one hand, or as
// the swarm does it. Both wait as long for each reply as the recording says. The compile cache must be a fresh one.
namespace kw::swarm {
namespace {

using nlohmann::json;

struct Attempt {
  kernel::Candidate candidate;
  double latency_s = 0;
};

std::vector<Attempt> read_recording(const std::string& path) {
  std::vector<Attempt> attempts;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const json row = json::parse(line);
    attempts.push_back({{row["source"], row["plan"], row["author"], "", {}}, row["latency_s"]});
  }
  return attempts;
}

struct Tally {
  std::mutex mutex;
  std::vector<double> latencies_s;
  std::map<std::string, int> outcomes;

  void take(const Judged& judged, double seconds) {
    const std::lock_guard lock(mutex);
    latencies_s.push_back(seconds);
    ++outcomes[judged.verdict.outcome == judge::Outcome::verified ? "verified" : judged.verdict.gate];
  }
};

void play(Pipeline& pipeline, const Attempt& attempt, Tally& tally) {
  Clock& clock = system_clock();
  clock.sleep_s(attempt.latency_s, {});
  const double begun = clock.now_s();
  const Judged judged = pipeline.evaluate(attempt.candidate);
  tally.take(judged, clock.now_s() - begun);
}

void play_all(Pipeline& pipeline, const std::vector<Attempt>& attempts, bool serial, Tally& tally) {
  std::map<std::string, std::vector<const Attempt*>> by_author;
  for (const Attempt& attempt : attempts) by_author[serial ? "" : attempt.candidate.author].push_back(&attempt);
  std::vector<std::thread> threads;
  for (const auto& [author, mine] : by_author)
    threads.emplace_back([&, list = &mine] {
      for (const Attempt* attempt : *list) play(pipeline, *attempt, tally);
    });
  for (std::thread& thread : threads) thread.join();
}

int run(const std::string& module, const std::string& recording, bool serial) {
  const TempDir folder("kw-replay");
  module::run_export(module, folder.path(), {.mode = "auto", .seed = 1}).value_or_throw();
  const graph::Problem problem = std::move(graph::load_problem(folder.path()).value_or_throw());
  const auto target = std::move(target::open_cpu_target({}).value_or_throw());
  bench::PythonOracle oracle({.source = problem.source, .folder = folder.path().string()});
  Device device;
  Meter meter(problem, *target, device);
  Pipeline pipeline(
      problem, *target, meter,
      {.judge = {.seed = 1, .oracle = &oracle}, .workers = serial ? 1 : 0, .dedupe = !serial, .cancelled = {}});
  Tally tally;
  const double begun = system_clock().now_s();
  play_all(pipeline, read_recording(recording), serial, tally);
  const double wall_s = system_clock().now_s() - begun;
  const Device::Account account = device.account();
  std::printf("%s\n", json{{"mode", serial ? "serial" : "pipeline"},
                           {"wall_s", wall_s},
                           {"attempts", tally.latencies_s.size()},
                           {"judged", pipeline.judged()},
                           {"equal", pipeline.twins()},
                           {"device_busy_s", account.busy_s},
                           {"device_idle_while_ready_s", account.idle_ready_s},
                           {"device_idle_while_wanted_s", account.idle_waiting_s},
                           {"latency_median_s", percentile(tally.latencies_s, 0.5)},
                           {"latency_p95_s", percentile(tally.latencies_s, 0.95)},
                           {"outcomes", tally.outcomes}}
                          .dump()
                          .c_str());
  return 0;
}

}  // namespace
}  // namespace kw::swarm

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--kw-worker") == 0) return kw::target::worker_main(argc, argv);
  if (argc != 4) return std::fprintf(stderr, "usage: kw_replay MODULE.py RECORDING.jsonl serial|pipeline\n"), 2;
  return kw::swarm::run(argv[1], argv[2], std::strcmp(argv[3], "serial") == 0);
}
