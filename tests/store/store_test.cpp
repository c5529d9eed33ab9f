#include "store/store.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/file.h"
#include "base/random.h"

using namespace kw;
using namespace kw::store;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<Store> open_store(const fs::path& folder) { return std::move(Store::open(folder).value_or_throw()); }

RunRow a_run() { return {"", "mlp", "mlp.py", "cpu", "{}", "", "", 1.5}; }

AttemptRow an_attempt(const std::string& run) {
  AttemptRow row;
  row.run = run;
  row.author = "search";
  row.candidate_key = "abc";
  row.source = "void f() {}";
  row.plan_json = "{\"format\":\"kernelwright-plan/1\"}";
  return row;
}

/// Writes attempts for ever, telling each decided id on `pipe` after the call that decided it returned.
[[noreturn]] void write_attempts(const fs::path& folder, int pipe) {
  const std::unique_ptr<Store> store = open_store(folder);
  const std::string run = *store->start_run(a_run());
  while (true) {
    const int64_t id = *store->plan_attempt(an_attempt(run));
    if (!store->finish_attempt(id, AttemptState::verified, "kept", 0.25)) _exit(1);
    if (write(pipe, &id, sizeof id) != sizeof id) _exit(1);
  }
}

/// Starts such a writer, kills it after `microseconds`, returns the ids that it had reported.
std::vector<int64_t> kill_a_writer(const fs::path& folder, int microseconds) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) write_attempts(folder, ends[1]);
  close(ends[1]);
  std::vector<int64_t> ids;
  int64_t id = 0;
  if (read(ends[0], &id, sizeof id) == sizeof id) ids.push_back(id);  // it is well under way
  usleep(static_cast<useconds_t>(microseconds));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  while (read(ends[0], &id, sizeof id) == sizeof id) ids.push_back(id);
  close(ends[0]);
  return ids;
}

void write_bytes(const fs::path& path, const std::string& bytes, std::streamoff at = 0) {
  std::fstream file(path, at ? std::ios::in | std::ios::out | std::ios::binary : std::ios::out | std::ios::binary);
  file.seekp(at);
  file << bytes;
}

}  // namespace

TEST_CASE("a run and its attempts come back as written, in order") {
  const TempDir dir;
  const auto store = open_store(dir.path() / ".kernelwright");
  const std::string run = *store->start_run(a_run());
  const std::string other = *store->start_run(a_run());
  CHECK(run != other);
  const int64_t first = *store->plan_attempt(an_attempt(run));
  const int64_t second = *store->plan_attempt(an_attempt(run));
  CHECK(store->finish_attempt(first, AttemptState::rejected, "tail wrong", 0).ok());
  CHECK(store->finish_run(run, "done", "{\"verdict\":\"verified\"}").ok());

  const std::vector<AttemptRow> attempts = *store->attempts(run);
  REQUIRE(attempts.size() == 2);
  CHECK(attempts[0].state == AttemptState::rejected);
  CHECK(attempts[0].reason == "tail wrong");
  CHECK(attempts[1].id == second);
  CHECK(attempts[1].state == AttemptState::planned);
  CHECK(attempts[1].plan_json == an_attempt(run).plan_json);
  CHECK(store->attempts(other)->empty());

  const std::vector<RunRow> runs = *store->runs(10);
  REQUIRE(runs.size() == 2);
  CHECK(runs[0].id == other);  // newest first
  CHECK(runs[0].state == "running");
  CHECK(runs[1].result_json == "{\"verdict\":\"verified\"}");
  CHECK(store->runs(1)->size() == 1);
}

TEST_CASE("the best schedule is the fastest, and a later measurement replaces an earlier one") {
  const TempDir dir;
  const auto store = open_store(dir.path());
  CHECK(!store->best_schedule("cpu", "gemm")->has_value());
  CHECK(store->remember({"cpu", "gemm", "tile=6", 2e-3}).ok());
  CHECK(store->remember({"cpu", "gemm", "tile=8", 1e-3}).ok());
  CHECK(store->remember({"gpu", "gemm", "tile=9", 1e-6}).ok());
  CHECK(store->best_schedule("cpu", "gemm")->value().schedule == "tile=8");
  CHECK(store->remember({"cpu", "gemm", "tile=8", 3e-3}).ok());
  CHECK(store->best_schedule("cpu", "gemm")->value().schedule == "tile=6");
  CHECK(store->schedules("cpu", "gemm")->size() == 2);
}

TEST_CASE("what names no row is refused") {
  const TempDir dir;
  const auto store = open_store(dir.path());
  CHECK(store->finish_attempt(7, AttemptState::verified, "", 0).failure().id == "store.unknown");
  CHECK(store->finish_run("r9", "done", "").failure().id == "store.unknown");
  CHECK(!store->plan_attempt(an_attempt("r9")).ok());
}

TEST_CASE("two connections write one store") {
  const TempDir dir;
  const auto one = open_store(dir.path()), two = open_store(dir.path());
  const std::string run = *one->start_run(a_run());
  CHECK(two->plan_attempt(an_attempt(run)).ok());
  CHECK(one->plan_attempt(an_attempt(run)).ok());
  CHECK(one->attempts(run)->size() == 2);
}

TEST_CASE("kill -9 at random moments loses nothing that was decided") {
  const TempDir dir;
  Random random(secret_seed());
  for (int round = 0; round < 8; ++round) {
    const fs::path folder = dir.path() / "store";
    const size_t before = fs::exists(folder) ? open_store(folder)->runs(100)->size() : 0;
    const std::vector<int64_t> ids = kill_a_writer(folder, static_cast<int>(random.integer(0, 40000)));
    REQUIRE(!ids.empty());
    const auto store = open_store(folder);
    const std::vector<RunRow> runs = *store->runs(100);
    REQUIRE(runs.size() == before + 1);
    const std::vector<AttemptRow> attempts = *store->attempts(runs[0].id);
    size_t found = 0;
    for (const AttemptRow& row : attempts)
      for (const int64_t id : ids) found += row.id == id && row.state == AttemptState::verified && row.reason == "kept";
    CHECK(found == ids.size());
    CHECK(attempts.size() <= ids.size() + 2);  // at most one told nowhere and one planned
  }
}

TEST_CASE("a damaged file is named with what to do") {
  const TempDir dir;
  SUBCASE("no database at all") { write_bytes(dir.path() / "store.db", std::string(8192, 'x')); }
  SUBCASE("pages overwritten") {
    {
      const auto store = open_store(dir.path());
      const std::string run = *store->start_run(a_run());
      for (int i = 0; i < 200; ++i) REQUIRE(store->plan_attempt(an_attempt(run)).ok());
    }
    write_bytes(dir.path() / "store.db", std::string(20000, '\xee'), 4096);
  }
  SUBCASE("cut short") {
    {
      const auto store = open_store(dir.path());
      const std::string run = *store->start_run(a_run());
      for (int i = 0; i < 200; ++i) REQUIRE(store->plan_attempt(an_attempt(run)).ok());
    }
    fs::resize_file(dir.path() / "store.db", 6000);
  }
  const auto opened = Store::open(dir.path());
  REQUIRE(!opened.ok());
  CHECK(opened.failure().id == "store.corrupt");
  CHECK(opened.failure().message.find("store.db") != std::string::npos);
  CHECK(opened.failure().hint.find("move it away") != std::string::npos);
}

TEST_CASE("a folder that cannot be made is unwritable") {
  const TempDir dir;
  write_bytes(dir.path() / "file", "in the way");
  CHECK(Store::open(dir.path() / "file" / "inner").failure().id == "store.unwritable");
  fs::create_directory(dir.path() / "store.db");
  CHECK(Store::open(dir.path()).failure().id == "store.unwritable");
}

TEST_CASE("a full disk is a failure, not a crash, and what was decided stays") {
  const TempDir dir;
  std::string run;
  {
    const auto store = open_store(dir.path());
    run = *store->start_run(a_run());
  }
  const pid_t child = fork();
  if (child == 0) {  // a file size limit stands for the full disk
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100000, 100000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto store = open_store(dir.path());
    AttemptRow big = an_attempt(run);
    big.source.assign(300000, 's');
    const Result<int64_t> written = store->plan_attempt(big);
    _exit(!written.ok() && written.failure().id == "store.unwritable" ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(open_store(dir.path())->runs(10)->size() == 1);
}

TEST_CASE("a store of an earlier version is taken up as it is") {
  const TempDir dir;
  std::string run;
  {
    const auto store = open_store(dir.path());
    run = *store->start_run({.problem = "p", .source = "p.py", .target = "cpu", .options_json = "{}"});
    REQUIRE(store->plan_attempt(an_attempt(run)).ok());
  }
  sqlite3* raw = nullptr;
  REQUIRE(sqlite3_open((dir.path() / "store.db").c_str(), &raw) == SQLITE_OK);
  REQUIRE(sqlite3_exec(raw,
                       "ALTER TABLE attempt DROP COLUMN parent; DROP TABLE ask; DROP TABLE exemplar;"
                       "PRAGMA user_version=1",
                       nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(raw);
  const auto store = open_store(dir.path());
  AttemptRow child = an_attempt(run);
  child.parent = "its parent";
  REQUIRE(store->plan_attempt(child).ok());
  const auto attempts = *store->attempts(run);
  REQUIRE(attempts.size() == 2);
  CHECK(attempts[0].parent.empty());
  CHECK(attempts[1].parent == "its parent");
  CHECK(store->asks(run)->empty());
}

TEST_CASE("another version's store is refused, and so is another program's database") {
  const TempDir dir;
  sqlite3* raw = nullptr;
  REQUIRE(sqlite3_open((dir.path() / "store.db").c_str(), &raw) == SQLITE_OK);
  SUBCASE("later version") {
    REQUIRE(sqlite3_exec(raw, "PRAGMA user_version=99", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(raw);
    CHECK(Store::open(dir.path()).failure().id == "store.version");
  }
  SUBCASE("another program") {
    REQUIRE(sqlite3_exec(raw, "CREATE TABLE bookmarks(url)", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(raw);
    CHECK(Store::open(dir.path()).failure().id == "store.corrupt");
  }
}
