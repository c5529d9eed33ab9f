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
  virtual Status remember(const ScheduleRow& row) = 0;
  virtual Result<std::optional<ScheduleRow>> best_schedule(const std::string& device, const std::string& piece_key) = 0;
  virtual Result<std::vector<ScheduleRow>> schedules(const std::string& device, const std::string& piece_key) = 0;
};

}  // namespace kw::store
