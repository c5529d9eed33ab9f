#include "store/sqlite.h"

#include <sqlite3.h>

#include "base/secret.h"

namespace kw::store {

namespace {

struct ErrorRow {
  int code;  // SQLite's primary result code
  const char* id;
  const char* hint;
};

constexpr const char* move_away = "move it away: a new store is then made, and earlier results are forgotten";
constexpr const char* make_room = "check the folder's permissions and the free space of its disk";

constexpr ErrorRow error_rows[] = {
    {SQLITE_NOTADB, "store.corrupt", move_away},
    {SQLITE_CORRUPT, "store.corrupt", move_away},
    {SQLITE_FULL, "store.unwritable", make_room},
    {SQLITE_READONLY, "store.unwritable", make_room},
    {SQLITE_IOERR, "store.unwritable", make_room},
    {SQLITE_CANTOPEN, "store.unwritable", make_room},
    {SQLITE_PERM, "store.unwritable", make_room},
    {SQLITE_AUTH, "store.unwritable", make_room},
    {SQLITE_BUSY, "store.busy", "another kernelwright holds the store: wait for it or stop it"},
    {SQLITE_LOCKED, "store.busy", "another kernelwright holds the store: wait for it or stop it"},
};

}  // namespace

Result<Database> Database::open(const std::filesystem::path& path) {
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  Database database(handle, path);
  if (code != SQLITE_OK) return database.failure();
  sqlite3_extended_result_codes(handle, 0);
  sqlite3_busy_timeout(handle, 10000);
  return database;
}

Database::~Database() { sqlite3_close_v2(handle_); }

Status Database::execute(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return failure();
  return ok_status();
}

Failure Database::failure() const {
  const int code = handle_ ? sqlite3_errcode(handle_) & 0xff : SQLITE_NOMEM;
  const std::string words = handle_ ? sqlite3_errmsg(handle_) : "out of memory";
  for (const ErrorRow& row : error_rows)
    if (row.code == code) return {row.id, "the store " + path_.string() + " cannot be used: " + words, row.hint};
  return {"store.query", "the store " + path_.string() + " refused a statement: " + words,
          "move it away: a new store is then made, and earlier results are forgotten"};
}

Statement::Statement(Database& database, const char* sql) : database_(database) {
  sqlite3_prepare_v2(database.handle(), sql, -1, &handle_, nullptr);
}

Statement::~Statement() { sqlite3_finalize(handle_); }

Statement& Statement::bind(const std::string& words) {
  const std::string text = redact(words);  // nothing that is stored shows a key
  sqlite3_bind_text64(handle_, ++bound_, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind(int64_t number) {
  sqlite3_bind_int64(handle_, ++bound_, number);
  return *this;
}

Statement& Statement::bind(double number) {
  sqlite3_bind_double(handle_, ++bound_, number);
  return *this;
}

Result<bool> Statement::step() {
  if (!handle_) return database_.failure();
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_.failure();
}

Status Statement::run() {
  while (true) {
    const Result<bool> row = step();
    if (!row) return row.failure();
    if (!*row) return ok_status();
  }
}

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return bytes ? std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(handle_, column))) : std::string();
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }
double Statement::real(int column) const { return sqlite3_column_double(handle_, column); }

Status Transaction::begin() {
  Status status = database_.execute("BEGIN IMMEDIATE");
  open_ = status.ok();
  return status;
}

Status Transaction::commit() {
  Status status = database_.execute("COMMIT");
  if (status) open_ = false;
  return status;
}

Transaction::~Transaction() {
  if (open_) (void)database_.execute("ROLLBACK");
}

}  // namespace kw::store
