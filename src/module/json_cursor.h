#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kw::module {

using Json = nlohmann::json;

/// Parses JSON as torch writes it; the bare tokens NaN and +-Infinity (Python's dialect) become strings.
std::optional<Json> parse_json(const std::string& text);

/// The first fault of a long read sticks; later ones are ignored, so that readers need no check after each field.
class FaultKeeper {
 public:
  bool ok() const { return !fault_; }
  const Failure& failure() const { return *fault_; }
  void fail(Failure failure) {
    if (!fault_) fault_ = std::move(failure);
  }
  /// Fails with pt2.schema, naming the part of the file that is being read.
  void fail_schema(std::string_view what);
  std::string place = "the program";  // what is being read, for messages

 private:
  std::optional<Failure> fault_;
};

/// A typed, checked view of one JSON value. A wrong type is recorded in the keeper and reads as empty or zero.
class JsonCursor {
 public:
  JsonCursor(const Json& json, FaultKeeper& faults) : json_(&json), faults_(&faults) {}

  bool is_null() const { return json_->is_null(); }
  bool has(const char* key) const { return json_->is_object() && json_->contains(key); }
  JsonCursor at(const char* key) const;  // fails when absent
  std::string text() const;
  int64_t integer() const;
  double real() const;  // numbers, and "NaN", "Infinity", "-Infinity"
  bool boolean() const;
  std::vector<JsonCursor> items() const;                           // of an array
  std::vector<std::pair<std::string, JsonCursor>> fields() const;  // of an object
  /// A tagged union: exactly one key. Returns it and its value ("" and null on a fault).
  std::pair<std::string, JsonCursor> only_field() const;
  FaultKeeper& faults() const { return *faults_; }

 private:
  JsonCursor nothing(std::string_view fault) const;
  const Json* json_;
  FaultKeeper* faults_;
};

}  // namespace kw::module
