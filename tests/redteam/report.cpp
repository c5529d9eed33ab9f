#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/file.h"
#include "base/random.h"
#include "batch.h"
#include "field.h"
#include "judge/execute.h"
#include "judge/gates.h"
#include "operators.h"
#include "problems.h"
#include "target/cpu/cpu_target.h"

/// kw_judge_report: hostile candidates, mutants and honest candidates before the judge, and the mutants before the
/// checks that others use. Writes JSON; scripts/judge_report.py makes the tables of it.
namespace kw::redteam {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Settings {
  std::string out;
  int threads = 2;
  uint64_t seed = 1;       // of the sites that operators pick
  int hand_sites = 3;      // of each operator in each hand-written kernel
  int schedule_sites = 1;  // in each scheduled kernel
  int batch = 40;
  int sample = 0;  // > 0: that many mutants, and as many others in proportion
  bool verbose = false;
  std::vector<std::string> parts = {"red_team", "honest", "mutants"};
  bool does(const char* part) const { return std::find(parts.begin(), parts.end(), part) != parts.end(); }
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// What became of one candidate.
struct Fate {
  bool built = false;
  judge::Verdict verdict;
  std::array<bool, field_rows.size()> field{};
  std::string equality;  // of a survivor: "machine code", "bits", or "" where outputs differ
};

class Bench {
 public:
  explicit Bench(const Settings& settings)
      : settings_(settings),
        folder_("kw-judge-report"),
        toolchain_(std::move(target::find_toolchain(folder_.path()).value_or_throw())),
        cpu_(std::move(target::open_cpu_target({.threads = 2, .cache_dir = folder_.path()}).value_or_throw())) {
    for (const graph::Problem& problem : problems()) prepare_field(problem);
  }

  target::Target& cpu() { return *cpu_; }
  /// Judges all of them, in batches, on all threads.
  std::vector<Fate> judge_all(const std::vector<Work>& works, bool with_field, const char* what);
  /// Are the mutant's machine code, or its outputs in every suite, those of the right kernel?
  std::string equality(const Work& mutant, const Work& correct);

 private:
  void judge_batch(const std::vector<Work>& works, size_t begin, size_t end, bool with_field, std::vector<Fate>& fates);
  Fate judge_one(const Work& work, const Built& built, bool with_field);
  bool same_bits(const Work& mutant, const Work& correct);

  Settings settings_;
  TempDir folder_;
  target::Toolchain toolchain_;
  std::unique_ptr<target::Target> cpu_;
};

judge::JudgeOptions report_options() {
  judge::JudgeOptions options;
  options.time_limit_s = 40;  // far more than is needed: waiting for other work must decide nothing
  return options;
}

Fate Bench::judge_one(const Work& work, const Built& built, bool with_field) {
  Fate fate;
  fate.built = true;
  const auto target = target_for(built, *cpu_);
  fate.verdict = judge::judge(*work.problem, work.candidate, *target, report_options());
  if (!with_field) return fate;
  const auto plan = kernel::parse_plan(work.candidate.plan_json);
  const auto bound = kernel::bind_plan(*plan, kernel::signature_of(work.problem->graph));
  if (!bound) return fate;
  const auto session = target->open(built.compiled, *bound);
  if (session) fate.field = pass_field(*work.problem, **session);
  return fate;
}

void Bench::judge_batch(const std::vector<Work>& works, size_t begin, size_t end, bool with_field,
                        std::vector<Fate>& fates) {
  std::vector<const Work*> batch;
  for (size_t i = begin; i < end; ++i) batch.push_back(&works[i]);
  const auto built = build(toolchain_, batch, cpu_->facts().isa);
  for (size_t i = begin; i < end; ++i)
    if (built[i - begin]) fates[i] = judge_one(works[i], *built[i - begin], with_field);
}

std::vector<Fate> Bench::judge_all(const std::vector<Work>& works, bool with_field, const char* what) {
  std::vector<Fate> fates(works.size());
  std::atomic<size_t> next{0};
  std::mutex mutex;
  const auto start = Clock::now();
  const auto step = static_cast<size_t>(settings_.batch);
  const auto body = [&] {
    for (size_t begin; (begin = next.fetch_add(step)) < works.size();) {
      judge_batch(works, begin, std::min(begin + step, works.size()), with_field, fates);
      const std::lock_guard lock(mutex);
      std::fprintf(stderr, "[%s %zu of %zu, %.0f s]\n", what, std::min(begin + step, works.size()), works.size(),
                   seconds_since(start));
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < settings_.threads; ++i) threads.emplace_back(body);
  for (std::thread& thread : threads) thread.join();
  return fates;
}

Result<std::string> binary_of(const Work& work, target::Target& cpu) {
  auto plan = kernel::parse_plan(work.candidate.plan_json);
  if (!plan) return plan.failure();
  const auto bound = kernel::bind_plan(*plan, kernel::signature_of(work.problem->graph));
  if (!bound) return bound.failure();
  kernel::resolve_dtypes(*plan, *bound);
  const auto compiled = cpu.compile(work.candidate.source, *plan);
  if (!compiled) return compiled.failure();
  return read_file(compiled->binary_path);
}

Result<std::unique_ptr<target::Session>> open_alone(const Work& work, target::Target& cpu) {
  auto plan = kernel::parse_plan(work.candidate.plan_json).value_or_throw();
  const auto bound = kernel::bind_plan(plan, kernel::signature_of(work.problem->graph)).value_or_throw();
  kernel::resolve_dtypes(plan, bound);
  const auto compiled = cpu.compile(work.candidate.source, plan);
  if (!compiled) return compiled.failure();
  return cpu.open(*compiled, bound);
}

constexpr int equality_draws = 40;  // of each suite

bool Bench::same_bits(const Work& mutant, const Work& correct) {
  auto one = open_alone(mutant, *cpu_), two = open_alone(correct, *cpu_);
  if (!one || !two) return false;
  Random seeds(settings_.seed);
  for (const judge::SuiteRow& suite : judge::suite_table())
    for (int i = 0; i < equality_draws; ++i) {
      judge::Case given;
      given.key.suite = suite.name;
      const uint64_t seed = seeds.next();
      given.inputs = judge::draw_inputs(*mutant.problem, suite.name, seed, -1, 8);
      given.params =
          judge::draw_params(*mutant.problem, i % 2 ? judge::ParamDraw::redrawn : judge::ParamDraw::own, seed, 8);
      const auto a = judge::execute(*mutant.problem, **one, given, {});
      const auto b = judge::execute(*mutant.problem, **two, given, {});
      if (a.fault || b.fault || judge::first_difference(a.outputs, b.outputs)) return false;
    }
  return true;
}

std::string Bench::equality(const Work& mutant, const Work& correct) {
  const auto a = binary_of(mutant, *cpu_), b = binary_of(correct, *cpu_);
  if (a && b && *a == *b) return "machine code";
  return same_bits(mutant, correct) ? "bits" : "";
}

// ---- the parts of the report ----

/// Every n-th, spread over the whole list by the seed.
template <class T>
std::vector<T> sampled(std::vector<T> list, size_t count, uint64_t seed) {
  if (count == 0 || list.size() <= count) return list;
  Random random(seed);
  for (size_t i = list.size(); i > 1; --i)
    std::swap(list[i - 1], list[static_cast<size_t>(random.integer(0, static_cast<int64_t>(i) - 1))]);
  list.resize(count);
  return list;
}

ordered_json witness_json(const judge::Verdict& verdict) {
  return {{"outcome", std::string(name_of(verdict.outcome))}, {"gate", verdict.gate}, {"reason", verdict.reason}};
}

ordered_json report_honest(Bench& bench, const Settings& settings) {
  std::vector<Work> works = honest_variants();
  for (const std::vector<Work>& more : {hand_written(), scheduled(bench.cpu().facts(), 6)})
    works.insert(works.end(), more.begin(), more.end());
  works = sampled(works, static_cast<size_t>(settings.sample) / 3, settings.seed);
  const std::vector<Fate> fates = bench.judge_all(works, false, "honest");
  ordered_json failures = ordered_json::array();
  std::map<std::string, int> outcomes;
  double seconds = 0;
  for (size_t i = 0; i < works.size(); ++i) {
    const std::string outcome = fates[i].built ? std::string(name_of(fates[i].verdict.outcome)) : "not built";
    ++outcomes[outcome];
    seconds += fates[i].verdict.seconds;
    if (outcome == "verified") continue;
    ordered_json row = {{"candidate", works[i].base}};
    row.update(witness_json(fates[i].verdict));
    failures.push_back(row);
  }
  return {{"candidates", works.size()},
          {"outcomes", outcomes},
          {"seconds_each", seconds / works.size()},
          {"not_verified", failures}};
}

struct Pool {
  std::vector<Work> mutants;
  std::vector<Work> bases;  // the correct kernel of each
};

void append(Pool& pool, const Work& correct, std::vector<Work> more) {
  for (Work& work : more) {
    pool.mutants.push_back(std::move(work));
    pool.bases.push_back(correct);
  }
}

Pool make_pool(Bench& bench, const Settings& settings) {
  Pool pool;
  uint64_t seed = settings.seed;
  for (const Work& correct : hand_written()) append(pool, correct, mutants_of(correct, settings.hand_sites, ++seed));
  for (const Work& correct : scheduled(bench.cpu().facts(), 1)) {
    const bool dear = correct.candidate.source.size() > 30000;  // seconds of the compiler's time each
    ++seed;
    append(pool, correct, sampled(mutants_of(correct, settings.schedule_sites, seed), dear ? 8 : 0, seed));
  }
  std::map<std::string, Work> defaults;
  for (const Work& correct : scheduled(bench.cpu().facts(), 1)) defaults.emplace(correct.problem->name, correct);
  for (const graph::Problem& problem : problems())
    append(pool, defaults.at(problem.name), graph_mutants(problem, bench.cpu().facts()));
  if (settings.sample == 0) return pool;
  std::vector<size_t> order(pool.mutants.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  Pool small;
  for (const size_t i : sampled(order, static_cast<size_t>(settings.sample), settings.seed)) {
    small.mutants.push_back(pool.mutants[i]);
    small.bases.push_back(pool.bases[i]);
  }
  return small;
}

/// What a table row counts.
struct Tally {
  int mutants = 0, killed = 0, equivalent = 0;
};

ordered_json to_json(const std::map<std::string, Tally>& tallies) {
  ordered_json json = ordered_json::object();
  for (const auto& [name, t] : tallies)
    json[name] = {{"mutants", t.mutants}, {"killed", t.killed}, {"equivalent", t.equivalent}};
  return json;
}

/// Why no check of outputs can tell it from the right kernel, where somebody found out; survivors.txt.
std::string reason_of(const Work& work) {
  static const std::vector<Block> known = read_blocks("survivors.txt");
  for (const Block& block : known)
    if (work.base.rfind(block.fields[0], 0) == 0 && work.operation == block.fields[1]) return block.fields[2];
  return "";
}

ordered_json survivor(const Work& work, bool same_bits) {
  return {{"kernel", work.base},
          {"operator", work.operation},
          {"site", work.site},
          {"same_bits", same_bits},
          {"reason", reason_of(work)}};
}

ordered_json report_mutants(Bench& bench, const Settings& settings) {
  Pool pool = make_pool(bench, settings);
  std::fprintf(stderr, "[%zu mutants]\n", pool.mutants.size());
  std::vector<Fate> fates = bench.judge_all(pool.mutants, true, "mutants");
  std::map<std::string, Tally> by_operator, by_family;
  std::map<std::string, int> by_gate;
  std::array<int, field_rows.size()> slipped{};
  int counted = 0, killed = 0, equal_code = 0, equal_bits = 0, stillborn = 0;
  ordered_json survivors = ordered_json::array();
  for (size_t i = 0; i < fates.size(); ++i) {
    const Work& work = pool.mutants[i];
    Fate& fate = fates[i];
    if (!fate.built && fate.verdict.gates.empty()) {
      ++stillborn;  // does not compile, or its Plan does not bind: no fault that a check of outputs need see
      continue;
    }
    // Inconclusive is no kill: a machine too busy to decide must not flatter the score.
    const bool dead = fate.verdict.outcome == judge::Outcome::rejected;
    if (!dead) fate.equality = bench.equality(work, pool.bases[i]);
    Tally &op = by_operator[work.operation], &family = by_family[work.family];
    ++op.mutants, ++family.mutants;
    if (!fate.equality.empty()) {
      ++(fate.equality == "bits" ? equal_bits : equal_code), ++op.equivalent, ++family.equivalent;
      if (fate.equality == "bits") survivors.push_back(survivor(work, true));
      continue;
    }
    ++counted;
    op.killed += dead, family.killed += dead, killed += dead;
    if (dead) ++by_gate[fate.verdict.gate];
    for (size_t row = 0; row < field_rows.size(); ++row) slipped[row] += fate.field[row];
    if (dead) continue;
    survivors.push_back(survivor(work, false));
  }
  ordered_json field = ordered_json::array();
  for (size_t row = 0; row < field_rows.size(); ++row)
    field.push_back({{"check", std::string(field_rows[row].name)}, {"passed", slipped[row]}, {"of", counted}});
  field.push_back({{"check", "kernelwright"}, {"passed", counted - killed}, {"of", counted}});
  return {{"operators", by_operator.size()},
          {"mutants", pool.mutants.size() - static_cast<size_t>(stillborn)},
          {"stillborn", stillborn},
          {"equivalent", equal_code},
          {"counted", counted},
          {"killed", killed},
          {"same_bits", equal_bits},
          {"same_bits_draws", equality_draws * static_cast<int>(judge::suite_table().size())},
          {"field", field},
          {"by_gate", by_gate},
          {"by_family", to_json(by_family)},
          {"by_operator", to_json(by_operator)},
          {"survivors", survivors}};
}

// ---- hostile candidates ----

size_t gate_rank(const std::string& gate) {
  const std::vector<judge::GateRow>& table = judge::gate_table();
  const std::string name = gate == "binary" ? "compile" : gate;
  for (size_t i = 0; i < table.size(); ++i)
    if (table[i].name == name) return i;
  for (size_t i = 0; i < table.size(); ++i)
    if (table[i].name == "numerics" && gate.rfind("numerics.", 0) == 0) return i;
  throw BugError("no such gate: " + gate);
}

/// Fields: name | row of the catalogue | problem | gate that must catch it | groups | scratch.
/// A line "--- plan" ends the source: what follows is the Plan, else it is made.
Work hostile_work(const Block& block) {
  Work work;
  work.problem = &problem_named(block.fields[2]);
  const size_t cut = block.text.find("--- plan\n");
  work.candidate.source = block.text.substr(0, cut);
  std::vector<int64_t> scratch;
  if (block.fields[5] != "none") scratch.push_back(std::stoll(block.fields[5]));
  work.candidate.plan_json = cut == std::string::npos
                                 ? plan_for(*work.problem, work.candidate.source, std::stoll(block.fields[4]), scratch)
                                 : block.text.substr(cut + 9);
  work.candidate.author = "red team";
  work.base = block.fields[0];
  return work;
}

ordered_json report_red_team(const Settings& settings) {
  const std::vector<Block> blocks =
      sampled(read_blocks("hostile.txt"), static_cast<size_t>(settings.sample) / 3, settings.seed);
  std::vector<judge::Verdict> verdicts(blocks.size());
  std::atomic<size_t> next{0};
  const auto body = [&] {
    for (size_t i; (i = next.fetch_add(1)) < blocks.size();) {
      const Work work = hostile_work(blocks[i]);
      // The target keeps its toolchain once found: each thread needs its own.
      const auto cpu = std::move(target::open_cpu_target({.threads = 2}).value_or_throw());
      verdicts[i] = judge::judge(*work.problem, work.candidate, *cpu, report_options());
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < settings.threads; ++i) threads.emplace_back(body);
  for (std::thread& thread : threads) thread.join();
  ordered_json rows = ordered_json::array();
  int caught = 0;
  std::set<std::string> names;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const judge::Verdict& verdict = verdicts[i];
    check(names.insert(blocks[i].fields[0]).second, "two hostile candidates of one name");
    const bool good =
        verdict.outcome != judge::Outcome::verified && gate_rank(verdict.gate) <= gate_rank(blocks[i].fields[3]);
    caught += good;
    ordered_json row = {{"name", blocks[i].fields[0]},
                        {"row", blocks[i].fields[1]},
                        {"gate", blocks[i].fields[3]},
                        {"caught_by", verdict.gate},
                        {"caught", good}};
    if (!good) row.update(witness_json(verdict));
    if (settings.verbose)
      std::fprintf(stderr, "%-50s %-14s %s: %s\n", blocks[i].fields[0].c_str(), blocks[i].fields[3].c_str(),
                   verdict.gate.c_str(), verdict.reason.substr(0, 150).c_str());
    rows.push_back(row);
  }
  return {{"candidates", blocks.size()}, {"caught", caught}, {"rows", rows}};
}

/// Prints the summary and everything that should not be; true when nothing is.
bool tell(const ordered_json& report) {
  bool good = true;
  const auto complain = [&](const char* what, const ordered_json& row) {
    fmt::print("{}: {}\n", what, row.dump());
    good = false;
  };
  if (report.contains("red_team")) {
    const ordered_json& red = report["red_team"];
    fmt::print("red team: {} of {} caught\n", red["caught"].get<int>(), red["candidates"].get<int>());
    for (const auto& row : red["rows"])
      if (!row["caught"].get<bool>()) complain("not caught", row);
  }
  if (report.contains("honest")) {
    fmt::print("honest: {} of {}\n", report["honest"]["outcomes"].dump(), report["honest"]["candidates"].get<int>());
    for (const auto& row : report["honest"]["not_verified"]) complain("not verified", row);
  }
  if (report.contains("mutants")) {
    const ordered_json& m = report["mutants"];
    fmt::print("mutants: {} of {} killed ({} more are equivalent)\n", m["killed"].get<int>(), m["counted"].get<int>(),
               m["equivalent"].get<int>() + m["same_bits"].get<int>());
    for (const auto& row : m["survivors"])
      if (!row["same_bits"].get<bool>() && row["reason"].get<std::string>().empty()) complain("survived", row);
  }
  return good;
}

int run(const Settings& settings) {
  Bench bench(settings);
  ordered_json report = {{"device", bench.cpu().facts().name},
                         {"isa", bench.cpu().facts().isa},
                         {"compiler", target::compiler_version()},
                         {"seed", settings.seed}};
  const auto part = [&](const char* name, const std::function<ordered_json()>& make) {
    if (!settings.does(name)) return;
    const auto began = Clock::now();
    report[name] = make();
    report[name]["seconds"] = seconds_since(began);
  };
  part("red_team", [&] { return report_red_team(settings); });
  part("honest", [&] { return report_honest(bench, settings); });
  part("mutants", [&] { return report_mutants(bench, settings); });
  if (!settings.out.empty()) std::ofstream(settings.out) << report.dump(1) << "\n";
  return tell(report) ? 0 : 1;
}

}  // namespace
}  // namespace kw::redteam

int main(int argc, char** argv) {
  kw::redteam::Settings settings;
  CLI::App app("The judge before hostile, faulty and honest candidates.");
  app.add_option("--out", settings.out, "JSON to write");
  app.add_option("--threads", settings.threads);
  app.add_option("--seed", settings.seed);
  app.add_option("--batch", settings.batch);
  app.add_option("--sample", settings.sample, "That many mutants only, and a third of it of the others");
  app.add_option("--hand-sites", settings.hand_sites);
  app.add_option("--schedule-sites", settings.schedule_sites);
  app.add_option("--parts", settings.parts, "red_team, honest, mutants")->delimiter(',');
  app.add_flag("--verbose", settings.verbose);
  CLI11_PARSE(app, argc, argv);
  return kw::redteam::run(settings);
}
