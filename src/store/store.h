#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace kw::store {

enum class AttemptState { planned, running, verified, rejected, inconclusive, failed };

struct RunRow {
  std::string id, problem, source, target, options_json, state, result_json;
  double started_s = 0;
};
struct AttemptRow {
  int64_t id = 0;
  std::string run, author, candidate_key, source, plan_json;
  AttemptState state = AttemptState::planned;
  std::string reason;
  double seconds = 0;  // measured time of one call; 0 when not measured
  std::string parent;  // key of the candidate that its author was shown as the best so far, or ""
};
enum class AskState { planned, sent, replied, failed, judged };
/// One question to a text author. Amounts are in 10^-12 USD.
struct AskRow {
  int64_t id = 0;
  std::string run, author;
  int number = 0;   // of the author's attempts, from 1
  std::string key;  // sent along, so that a server can tell a repeated question
  AskState state = AskState::planned;
  int64_t reserved = 0;  // of a request that is under way
  int64_t spent = 0;
  int requests = 0;
  std::string usage_json, reply, reason;
  int64_t attempt = 0;  // the attempt that its candidate became; 0 for none
};
/// A kernel that won, for later problems like its own.
struct ExemplarRow {
  std::string problem_key, name, target, features_json, author, source, plan_json;
  double seconds = 0;
};
/// What a schedule measured on a device for a shape class: read by later searches.
struct ScheduleRow {
  std::string device, piece_key, schedule;
  double seconds = 0;
};

/// One SQLite file (WAL) in `.kernelwright/`. Every write is durable when the call returns.
class Store {
 public:
  /// fails: store.unwritable, store.corrupt, store.version
  static Result<std::unique_ptr<Store>> open(const std::filesystem::path& folder);
  virtual ~Store() = default;
  virtual Result<std::string> start_run(const RunRow& row) = 0;
  virtual Status finish_run(const std::string& id, const std::string& state, const std::string& result_json) = 0;
  virtual Result<std::vector<RunRow>> runs(int limit) = 0;
  virtual Result<int64_t> plan_attempt(const AttemptRow& row) = 0;  // before it runs
  virtual Status finish_attempt(int64_t id, AttemptState state, const std::string& reason, double seconds) = 0;
  virtual Result<std::vector<AttemptRow>> attempts(const std::string& run) = 0;
  /// The row of this run, author and number: as it is stored, or newly made.
  virtual Result<AskRow> open_ask(const AskRow& row) = 0;
  /// Before a request leaves: what it may cost is then part of the spend until it is settled.
  virtual Status reserve_ask(int64_t id, int64_t reserved) = 0;
  /// The request's price and, with it in one step, its reply ("" for none).
  virtual Status settle_ask(int64_t id, int64_t amount, const std::string& usage_json, const std::string& reply) = 0;
  virtual Status finish_ask(int64_t id, AskState state, const std::string& reason, int64_t attempt) = 0;
  /// Requests that were under way when the run was killed count as spent. returns: the run's whole spend
  virtual Result<int64_t> forfeit_asks(const std::string& run) = 0;
  virtual Result<std::vector<AskRow>> asks(const std::string& run) = 0;
  virtual Status keep_exemplar(const ExemplarRow& row) = 0;
  virtual Result<std::vector<ExemplarRow>> exemplars(const std::string& target) = 0;
  virtual Status remember(const ScheduleRow& row) = 0;
  virtual Result<std::optional<ScheduleRow>> best_schedule(const std::string& device, const std::string& piece_key) = 0;
  virtual Result<std::vector<ScheduleRow>> schedules(const std::string& device, const std::string& piece_key) = 0;
};

}  // namespace kw::store
