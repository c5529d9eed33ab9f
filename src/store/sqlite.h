#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace kw::store {

/// One SQLite connection. Failures carry the id that the store promises: store.corrupt, store.unwritable,
/// store.busy or store.query.
class Database {
 public:
  static Result<Database> open(const std::filesystem::path& path);
  Database(Database&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}
  Database& operator=(Database&&) = delete;
  ~Database();

  /// Runs statements that take no values and whose rows nobody reads.
  Status execute(const char* sql);
  Failure failure() const;  // of the last call
  sqlite3* handle() const { return handle_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  Database(sqlite3* handle, std::filesystem::path path) : handle_(handle), path_(std::move(path)) {}
  sqlite3* handle_;
  std::filesystem::path path_;
};

/// A prepared statement with its values bound in order: `Statement s(db, sql); s.bind(name).bind(3); s.step()`.
class Statement {
 public:
  Statement(Database& database, const char* sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(const std::string& text);
  Statement& bind(int64_t number);
  Statement& bind(double number);
  /// True when a row is there to be read, false at the end.
  Result<bool> step();
  /// Runs to the end; rows are dropped.
  Status run();
  std::string text(int column) const;
  int64_t integer(int column) const;
  double real(int column) const;

 private:
  Database& database_;
  sqlite3_stmt* handle_ = nullptr;
  int bound_ = 0;
};

/// Rolls back on destruction unless committed.
class Transaction {
 public:
  explicit Transaction(Database& database) : database_(database) {}
  ~Transaction();
  Status begin();
  Status commit();

 private:
  Database& database_;
  bool open_ = false;
};

}  // namespace kw::store
