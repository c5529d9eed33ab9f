#include "module/json_cursor.h"

#include <fmt/format.h>

#include <limits>

namespace kw::module {
namespace {

const Json null_json;

/// Puts quotes round bare NaN, Infinity and -Infinity outside strings.
std::string quote_bare_floats(const std::string& text) {
  std::string out;
  out.reserve(text.size() + 64);
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    if (in_string && text[i] == '\\' && i + 1 < text.size()) {
      out.append(text, i, 2);
      i += 2;
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    std::string_view token;
    for (std::string_view candidate : {"NaN", "-Infinity", "Infinity"})
      if (!in_string && text.compare(i, candidate.size(), candidate) == 0) token = candidate;
    if (token.empty()) {
      out += text[i++];
    } else {
      out.append("\"").append(token).append("\"");
      i += token.size();
    }
  }
  return out;
}

}  // namespace

std::optional<Json> parse_json(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) json = Json::parse(quote_bare_floats(text), nullptr, false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

void FaultKeeper::fail_schema(std::string_view what) {
  fail({"pt2.schema", fmt::format("{} {}", place, what), "export it again with torch 2.8 to 2.14"});
}

JsonCursor JsonCursor::nothing(std::string_view fault) const {
  faults_->fail_schema(fault);
  return {null_json, *faults_};
}

JsonCursor JsonCursor::at(const char* key) const {
  if (!has(key)) return nothing(fmt::format("lacks `{}`", key));
  return {(*json_)[key], *faults_};
}

std::string JsonCursor::text() const {
  if (json_->is_string()) return json_->get<std::string>();
  nothing("holds something else where a text belongs");
  return {};
}

int64_t JsonCursor::integer() const {
  const bool fits =
      json_->is_number_integer() && (!json_->is_number_unsigned() || json_->get<uint64_t>() <= uint64_t{INT64_MAX});
  if (fits) return json_->get<int64_t>();
  nothing("holds something else where an integer belongs");
  return 0;
}

double JsonCursor::real() const {
  if (json_->is_number()) return json_->get<double>();
  const std::string token = json_->is_string() ? json_->get<std::string>() : "";
  if (token == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (token == "Infinity") return std::numeric_limits<double>::infinity();
  if (token == "-Infinity") return -std::numeric_limits<double>::infinity();
  nothing("holds something else where a number belongs");
  return 0;
}

bool JsonCursor::boolean() const {
  if (json_->is_boolean()) return json_->get<bool>();
  nothing("holds something else where true or false belongs");
  return false;
}

std::vector<JsonCursor> JsonCursor::items() const {
  std::vector<JsonCursor> items;
  if (!json_->is_array()) nothing("holds something else where a list belongs");
  if (json_->is_array())
    for (const Json& item : *json_) items.emplace_back(item, *faults_);
  return items;
}

std::vector<std::pair<std::string, JsonCursor>> JsonCursor::fields() const {
  std::vector<std::pair<std::string, JsonCursor>> fields;
  if (!json_->is_object()) nothing("holds something else where an object belongs");
  if (json_->is_object())
    for (const auto& [key, value] : json_->items()) fields.emplace_back(key, JsonCursor{value, *faults_});
  return fields;
}

std::pair<std::string, JsonCursor> JsonCursor::only_field() const {
  if (json_->is_object() && json_->size() == 1) return fields().front();
  return {"", nothing("holds a union that has not exactly one member")};
}

}  // namespace kw::module
