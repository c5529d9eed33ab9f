#include "store/store.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <string_view>

#include "store/sqlite.h"

namespace kw::store {

namespace {

constexpr int64_t schema_version = 3;

constexpr const char* schema = R"sql(
CREATE TABLE run(
  id TEXT PRIMARY KEY, problem TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL, options_json TEXT NOT NULL,
  state TEXT NOT NULL, result_json TEXT NOT NULL, started_s REAL NOT NULL);
CREATE TABLE attempt(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES run(id), author TEXT NOT NULL,
  candidate_key TEXT NOT NULL, source TEXT NOT NULL, plan_json TEXT NOT NULL, state TEXT NOT NULL,
  reason TEXT NOT NULL, seconds REAL NOT NULL);
CREATE INDEX attempt_by_run ON attempt(run);
CREATE TABLE schedule(
  device TEXT NOT NULL, piece_key TEXT NOT NULL, schedule TEXT NOT NULL, seconds REAL NOT NULL,
  PRIMARY KEY(device, piece_key, schedule));
PRAGMA user_version = 1;
)sql";

/// What version 2 adds; a store of version 1 takes it up as it is.
constexpr const char* schema_2 = R"sql(
CREATE TABLE ask(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES run(id), author TEXT NOT NULL,
  number INTEGER NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, reserved INTEGER NOT NULL, spent INTEGER NOT NULL,
  requests INTEGER NOT NULL, usage_json TEXT NOT NULL, reply TEXT NOT NULL, reason TEXT NOT NULL,
  attempt INTEGER NOT NULL, UNIQUE(run, author, number));
CREATE TABLE exemplar(
  problem_key TEXT NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL, features_json TEXT NOT NULL,
  author TEXT NOT NULL, source TEXT NOT NULL, plan_json TEXT NOT NULL, seconds REAL NOT NULL,
  PRIMARY KEY(problem_key, target));
PRAGMA user_version = 2;
)sql";

constexpr const char* schema_3 = R"sql(
ALTER TABLE attempt ADD COLUMN parent TEXT NOT NULL DEFAULT '';
PRAGMA user_version = 3;
)sql";

/// What turns a store of version I + 1 into the next.
constexpr const char* upgrades[] = {schema_2, schema_3};

constexpr std::array<std::string_view, 6> state_names = {"planned",  "running",      "verified",
                                                         "rejected", "inconclusive", "failed"};

std::string to_text(AttemptState state) { return std::string(state_names[static_cast<size_t>(state)]); }

Result<AttemptState> state_from(std::string_view text) {
  for (size_t i = 0; i < state_names.size(); ++i)
    if (state_names[i] == text) return static_cast<AttemptState>(i);
  return Failure{"store.corrupt", "the store holds an attempt in the unknown state '" + std::string(text) + "'", ""};
}

constexpr std::array<std::string_view, 5> ask_names = {"planned", "sent", "replied", "failed", "judged"};

std::string to_text(AskState state) { return std::string(ask_names[static_cast<size_t>(state)]); }

Result<AskState> ask_state_from(std::string_view text) {
  for (size_t i = 0; i < ask_names.size(); ++i)
    if (ask_names[i] == text) return static_cast<AskState>(i);
  return Failure{"store.corrupt", "the store holds a question in the unknown state '" + std::string(text) + "'", ""};
}

constexpr const char* ask_columns =
    "id,run,author,number,key,state,reserved,spent,requests,usage_json,reply,reason,attempt";

Result<AskRow> ask_of(const Statement& s) {
  const Result<AskState> state = ask_state_from(s.text(5));
  if (!state) return state.failure();
  return AskRow{s.integer(0), s.text(1),    s.text(2),    static_cast<int>(s.integer(3)), s.text(4),
                *state,       s.integer(6), s.integer(7), static_cast<int>(s.integer(8)), s.text(9),
                s.text(10),   s.text(11),   s.integer(12)};
}

/// What `make` makes of each row that is left.
template <class Row, class Make>
Result<std::vector<Row>> rows_of(Statement& select, Make make) {
  std::vector<Row> rows;
  while (true) {
    const Result<bool> more = select.step();
    if (!more) return more.failure();
    if (!*more) return rows;
    Result<Row> row = make(select);
    if (!row) return row.failure();
    rows.push_back(std::move(*row));
  }
}

Result<int64_t> read_integer(Database& database, const char* sql) {
  Statement statement(database, sql);
  const Result<bool> row = statement.step();
  if (!row) return row.failure();
  return *row ? statement.integer(0) : 0;
}

Result<std::string> read_text(Database& database, const char* sql) {
  Statement statement(database, sql);
  const Result<bool> row = statement.step();
  if (!row) return row.failure();
  return *row ? statement.text(0) : std::string();
}

Failure corrupt(const Database& database, const std::string& words) {
  return {"store.corrupt", "the store " + database.path().string() + " is damaged: " + words,
          "move it away: a new store is then made, and earlier results are forgotten"};
}

Status check_intact(Database& database) {
  const Result<std::string> words = read_text(database, "PRAGMA quick_check(1)");
  if (!words) return words.failure();
  return *words == "ok" ? ok_status() : Status(corrupt(database, *words));
}

/// Makes the tables in a new file; refuses another version's. Two processes may open a new file at once.
Status prepare_schema(Database& database) {
  Transaction transaction(database);
  if (Status begun = transaction.begin(); !begun) return begun;
  const Result<int64_t> version = read_integer(database, "PRAGMA user_version");
  if (!version) return version.failure();
  if (*version == schema_version) return transaction.commit();
  if (*version < 0 || *version > schema_version)
    return Failure{"store.version",
                   "the store " + database.path().string() + " has schema version " + std::to_string(*version) +
                       ", this program reads " + std::to_string(schema_version),
                   "use the kernelwright that wrote it, or move it away"};
  if (*version == 0) {
    const Result<int64_t> tables = read_integer(database, "SELECT count(*) FROM sqlite_master");
    if (!tables) return tables.failure();
    if (*tables != 0) return corrupt(database, "it is a database of another program");
    if (Status made = database.execute(schema); !made) return made;
  }
  for (int64_t from = std::max<int64_t>(*version, 1); from < schema_version; ++from)
    if (Status grown = database.execute(upgrades[from - 1]); !grown) return grown;
  return transaction.commit();
}

/// FULL: each commit is on the disk when the call returns, so that neither kill -9 nor a power cut undoes it.
Status prepare_connection(Database& database) {
  const Result<std::string> mode = read_text(database, "PRAGMA journal_mode=WAL");
  if (!mode) return mode.failure();
  if (Status set = database.execute("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON"); !set) return set;
  if (Status intact = check_intact(database); !intact) return intact;
  return prepare_schema(database);
}

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(Database database) : database_(std::move(database)) {}

  Result<std::string> start_run(const RunRow& row) override {
    const std::lock_guard lock(mutex_);
    Transaction transaction(database_);
    if (Status begun = transaction.begin(); !begun) return begun.failure();
    Result<std::string> id = row.id.empty() ? next_id() : Result<std::string>(row.id);
    if (!id) return id;
    Statement insert(database_, "INSERT INTO run VALUES(?,?,?,?,?,?,?,?)");
    insert.bind(*id).bind(row.problem).bind(row.source).bind(row.target).bind(row.options_json);
    insert.bind(row.state.empty() ? std::string("running") : row.state).bind(row.result_json).bind(row.started_s);
    if (Status done = insert.run(); !done) return done.failure();
    if (Status done = transaction.commit(); !done) return done.failure();
    return id;
  }

  Status finish_run(const std::string& id, const std::string& state, const std::string& result_json) override {
    const std::lock_guard lock(mutex_);
    Statement update(database_, "UPDATE run SET state=?, result_json=? WHERE id=?");
    return run_one(update.bind(state).bind(result_json).bind(id), "run " + id);
  }

  Result<std::vector<RunRow>> runs(int limit) override {
    const std::lock_guard lock(mutex_);
    Statement select(database_,
                     "SELECT id,problem,source,target,options_json,state,result_json,started_s FROM run "
                     "ORDER BY started_s DESC, rowid DESC LIMIT ?");
    select.bind(int64_t{limit});
    return rows_of<RunRow>(select, [](const Statement& s) -> Result<RunRow> {
      return RunRow{s.text(0), s.text(1), s.text(2), s.text(3), s.text(4), s.text(5), s.text(6), s.real(7)};
    });
  }

  Result<int64_t> plan_attempt(const AttemptRow& row) override {
    const std::lock_guard lock(mutex_);
    Statement insert(database_,
                     "INSERT INTO attempt(run,author,candidate_key,source,plan_json,state,reason,seconds,parent) "
                     "VALUES(?,?,?,?,?,?,?,?,?) RETURNING id");
    insert.bind(row.run).bind(row.author).bind(row.candidate_key).bind(row.source).bind(row.plan_json);
    insert.bind(to_text(row.state)).bind(row.reason).bind(row.seconds).bind(row.parent);
    const Result<bool> made = insert.step();
    if (!made) return made.failure();
    const int64_t id = insert.integer(0);
    // The row is committed only when the statement has run to its end.
    if (Status done = insert.run(); !done) return done.failure();
    return id;
  }

  Status finish_attempt(int64_t id, AttemptState state, const std::string& reason, double seconds) override {
    const std::lock_guard lock(mutex_);
    Statement update(database_, "UPDATE attempt SET state=?, reason=?, seconds=? WHERE id=?");
    return run_one(update.bind(to_text(state)).bind(reason).bind(seconds).bind(id), "attempt " + std::to_string(id));
  }

  Result<std::vector<AttemptRow>> attempts(const std::string& run) override {
    const std::lock_guard lock(mutex_);
    Statement select(database_,
                     "SELECT id,run,author,candidate_key,source,plan_json,state,reason,seconds,parent FROM attempt "
                     "WHERE run=? ORDER BY id");
    select.bind(run);
    return rows_of<AttemptRow>(select, [](const Statement& s) -> Result<AttemptRow> {
      const Result<AttemptState> state = state_from(s.text(6));
      if (!state) return state.failure();
      return AttemptRow{s.integer(0), s.text(1), s.text(2), s.text(3), s.text(4),
                        s.text(5),    *state,    s.text(7), s.real(8), s.text(9)};
    });
  }

  Result<AskRow> open_ask(const AskRow& row) override {
    const std::lock_guard lock(mutex_);
    Statement insert(database_,
                     "INSERT OR IGNORE INTO ask(run,author,number,key,state,reserved,spent,requests,usage_json,reply,"
                     "reason,attempt) VALUES(?,?,?,?,'planned',0,0,0,'','','',0)");
    insert.bind(row.run).bind(row.author).bind(int64_t{row.number}).bind(row.key);
    if (Status done = insert.run(); !done) return done.failure();
    const std::string sql = std::string("SELECT ") + ask_columns + " FROM ask WHERE run=? AND author=? AND number=?";
    Statement select(database_, sql.c_str());
    select.bind(row.run).bind(row.author).bind(int64_t{row.number});
    const Result<bool> found = select.step();
    if (!found) return found.failure();
    check(*found, "a row that was just written is gone");
    return ask_of(select);
  }

  Status reserve_ask(int64_t id, int64_t reserved) override {
    const std::lock_guard lock(mutex_);
    Statement update(database_, "UPDATE ask SET state='sent', reserved=?, requests=requests+1 WHERE id=?");
    return run_one(update.bind(reserved).bind(id), "question " + std::to_string(id));
  }

  Status settle_ask(int64_t id, int64_t amount, const std::string& usage_json, const std::string& reply) override {
    const std::lock_guard lock(mutex_);
    Statement update(database_,
                     "UPDATE ask SET reserved=0, spent=spent+?, usage_json=?, reply=?, "
                     "state=CASE WHEN ?='' THEN state ELSE 'replied' END WHERE id=?");
    update.bind(amount).bind(usage_json).bind(reply).bind(reply).bind(id);
    return run_one(update, "question " + std::to_string(id));
  }

  Status finish_ask(int64_t id, AskState state, const std::string& reason, int64_t attempt) override {
    const std::lock_guard lock(mutex_);
    Statement update(database_, "UPDATE ask SET state=?, reason=?, attempt=? WHERE id=?");
    return run_one(update.bind(to_text(state)).bind(reason).bind(attempt).bind(id), "question " + std::to_string(id));
  }

  Result<int64_t> forfeit_asks(const std::string& run) override {
    const std::lock_guard lock(mutex_);
    Statement update(database_, "UPDATE ask SET spent=spent+reserved, reserved=0 WHERE run=? AND reserved<>0");
    if (Status done = update.bind(run).run(); !done) return done.failure();
    Statement sum(database_, "SELECT coalesce(sum(spent), 0) FROM ask WHERE run=?");
    const Result<bool> row = sum.bind(run).step();
    if (!row) return row.failure();
    return sum.integer(0);
  }

  Result<std::vector<AskRow>> asks(const std::string& run) override {
    const std::lock_guard lock(mutex_);
    const std::string sql = std::string("SELECT ") + ask_columns + " FROM ask WHERE run=? ORDER BY id";
    Statement select(database_, sql.c_str());
    select.bind(run);
    return rows_of<AskRow>(select, ask_of);
  }

  Status keep_exemplar(const ExemplarRow& row) override {
    const std::lock_guard lock(mutex_);
    Statement insert(database_, "INSERT OR REPLACE INTO exemplar VALUES(?,?,?,?,?,?,?,?)");
    insert.bind(row.problem_key).bind(row.name).bind(row.target).bind(row.features_json).bind(row.author);
    return insert.bind(row.source).bind(row.plan_json).bind(row.seconds).run();
  }

  Result<std::vector<ExemplarRow>> exemplars(const std::string& target) override {
    const std::lock_guard lock(mutex_);
    Statement select(database_,
                     "SELECT problem_key,name,target,features_json,author,source,plan_json,seconds FROM exemplar "
                     "WHERE target=? ORDER BY problem_key");
    select.bind(target);
    return rows_of<ExemplarRow>(select, [](const Statement& s) -> Result<ExemplarRow> {
      return ExemplarRow{s.text(0), s.text(1), s.text(2), s.text(3), s.text(4), s.text(5), s.text(6), s.real(7)};
    });
  }

  Status remember(const ScheduleRow& row) override {
    const std::lock_guard lock(mutex_);
    Statement insert(database_, "INSERT OR REPLACE INTO schedule VALUES(?,?,?,?)");
    return insert.bind(row.device).bind(row.piece_key).bind(row.schedule).bind(row.seconds).run();
  }

  Result<std::optional<ScheduleRow>> best_schedule(const std::string& device, const std::string& piece_key) override {
    Result<std::vector<ScheduleRow>> rows = schedules(device, piece_key);
    if (!rows) return rows.failure();
    return rows->empty() ? std::optional<ScheduleRow>() : rows->front();
  }

  /// Fastest first.
  Result<std::vector<ScheduleRow>> schedules(const std::string& device, const std::string& piece_key) override {
    const std::lock_guard lock(mutex_);
    Statement select(database_,
                     "SELECT device,piece_key,schedule,seconds FROM schedule WHERE device=? AND piece_key=? "
                     "ORDER BY seconds, schedule");
    select.bind(device).bind(piece_key);
    return rows_of<ScheduleRow>(select, [](const Statement& s) -> Result<ScheduleRow> {
      return ScheduleRow{s.text(0), s.text(1), s.text(2), s.real(3)};
    });
  }

 private:
  Result<std::string> next_id() {
    const Result<int64_t> last = read_integer(database_, "SELECT coalesce(max(rowid), 0) FROM run");
    if (!last) return last.failure();
    return "r" + std::to_string(*last + 1);
  }

  Status run_one(Statement& update, const std::string& what) {
    if (Status done = update.run(); !done) return done;
    const Result<int64_t> changed = read_integer(database_, "SELECT changes()");
    if (!changed) return changed.failure();
    if (*changed == 1) return ok_status();
    return Failure{"store.unknown", "the store holds no " + what, ""};
  }

  std::mutex mutex_;
  Database database_;
};

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    return Failure{"store.unwritable", "the folder " + folder.string() + " cannot be made: " + error.message(),
                   "check the folder's permissions and the free space of its disk"};
  Result<Database> database = Database::open(folder / "store.db");
  if (!database) return database.failure();
  if (Status ready = prepare_connection(*database); !ready) return ready.failure();
  return std::unique_ptr<Store>(std::make_unique<SqliteStore>(std::move(*database)));
}

}  // namespace kw::store
