#include "kernel/plan.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "kernel/plan_names.h"

namespace kw::kernel {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t max_json_bytes = 8u << 20;
constexpr int max_json_depth = 24;
constexpr size_t max_list = 1 << 16;

/// Thrown inside the parser only, turned into a Result at its door.
struct Fault {
  Failure failure;
};
[[noreturn]] void fail(const std::string& where, const std::string& what, const std::string& hint = "") {
  throw Fault{{"plan.field", "plan: " + where + " " + what, hint}};
}

/// Depth outside of strings, before the JSON library builds anything.
int json_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

Json parse_text(std::string_view text) {
  if (text.size() > max_json_bytes) throw Fault{{"plan.json", "plan: the JSON is larger than 8 MiB", ""}};
  if (json_depth(text) > max_json_depth) throw Fault{{"plan.json", "plan: the JSON is nested deeper than 24", ""}};
  std::vector<std::set<std::string>> keys;
  std::string twice;
  auto watch = [&](int, nlohmann::json::parse_event_t event, Json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) twice = value.get<std::string>();
    return true;
  };
  try {
    Json json = Json::parse(text.begin(), text.end(), watch);
    if (!twice.empty()) fail("key `" + twice + "`", "appears twice in one object");
    return json;
  } catch (const nlohmann::json::exception& error) {
    throw Fault{{"plan.json", std::string("plan: not valid JSON: ") + error.what(), "write one JSON object"}};
  }
}

void only_keys(const Json& object, const std::string& where, std::initializer_list<const char*> allowed) {
  if (!object.is_object()) fail(where, "must be an object");
  for (const auto& [key, value] : object.items()) {
    bool known = false;
    std::string list;
    for (const char* name : allowed) {
      known = known || key == name;
      list += std::string(list.empty() ? "" : ", ") + name;
    }
    if (!known) fail(where, "has the unknown key `" + key.substr(0, 40) + "`", "known keys: " + list);
  }
}
const Json& need(const Json& object, const std::string& where, const char* key) {
  auto found = object.find(key);
  if (found == object.end()) fail(where, std::string("lacks `") + key + "`");
  return *found;
}
std::string text_of(const Json& value, const std::string& where) {
  if (!value.is_string()) fail(where, "must be a string");
  auto text = value.get<std::string>();
  if (text.size() > 512) fail(where, "is longer than 512 characters");
  return text;
}
std::string identifier(const Json& value, const std::string& where) {
  auto text = text_of(value, where);
  if (!is_identifier(text)) {
    fail(where, "is `" + text.substr(0, 40) + "`, which is no name", "names are letters, digits and _, at most 64");
  }
  return text;
}
int64_t integer(const Json& value, const std::string& where, int64_t lo, int64_t hi) {
  const bool big = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (!value.is_number_integer() || big) fail(where, "must be an integer of at most 64 bits");
  const auto number = value.get<int64_t>();
  if (number < lo || number > hi) {
    fail(where, "is " + std::to_string(number) + ", outside " + std::to_string(lo) + " to " + std::to_string(hi));
  }
  return number;
}
SizeExpr size_of(const Json& value, const std::string& where) {
  if (!value.is_string()) return {integer(value, where, -(int64_t{1} << 62), int64_t{1} << 62)};
  auto parsed = SizeExpr::parse(value.get<std::string>());
  if (!parsed)
    throw Fault{{parsed.failure().id, "plan: " + where + ": " + parsed.failure().message, parsed.failure().hint}};
  return *parsed;
}
const Json& list_of(const Json& value, const std::string& where, size_t limit) {
  if (!value.is_array()) fail(where, "must be a list");
  if (value.size() > limit) fail(where, "has more than " + std::to_string(limit) + " entries");
  return value;
}

DType dtype_of(const Json& value, const std::string& where) {
  auto dtype = dtype_from_name(text_of(value, where));
  if (!dtype) fail(where, "is no dtype", "dtypes: f16, bf16, f32, f64, bool, u8, i8, i16, i32, i64");
  return *dtype;
}

Buffer buffer_of(const std::string& name, const Json& json) {
  const std::string where = "buffer `" + name + "`";
  only_keys(json, where, {"role", "index", "name", "dtype", "shape"});
  Buffer buffer;
  buffer.name = identifier(Json(name), where);
  auto role = role_from_name(text_of(need(json, where, "role"), where + ".role"));
  if (!role) fail(where + ".role", "is unknown", "roles: input, parameter, state, prepared, scratch, output");
  buffer.role = *role;
  const bool indexed = *role == Role::input || *role == Role::output;
  const bool named = *role == Role::parameter || *role == Role::state;
  if (indexed) buffer.index = static_cast<int>(integer(need(json, where, "index"), where + ".index", 0, 1 << 20));
  if (named) buffer.parameter = text_of(need(json, where, "name"), where + ".name");
  if (!indexed && json.contains("index")) fail(where, "has an `index`, which only inputs and outputs have");
  if (!named && json.contains("name")) fail(where, "has a `name`, which only parameters and states have");
  buffer.dtype_given = json.contains("dtype") || (!indexed && !named);
  if (buffer.dtype_given) buffer.dtype = dtype_of(need(json, where, "dtype"), where + ".dtype");
  if (json.contains("shape") || (!indexed && !named)) {
    for (const auto& size : list_of(need(json, where, "shape"), where + ".shape", 16)) {
      buffer.shape.push_back(size_of(size, where + ".shape"));
    }
  }
  return buffer;
}

ScalarArg scalar_of(const Json& json, const std::string& where) {
  if (json.size() != 1) fail(where, "must have one key, its type");
  const std::string type = json.begin().key();
  const Json& value = json.begin().value();
  if (!is_scalar_type(type))
    fail(where, "has the unknown type `" + type.substr(0, 40) + "`", "types: u32, i32, i64, f32");
  ScalarArg arg{type, 0, {}};
  if (type == "f32" && value.is_number()) {
    arg.real = value.get<double>();
  } else {
    arg.value = size_of(value, where);
  }
  return arg;
}

std::array<SizeExpr, 3> triple(const Json& json, const char* key, const std::string& where) {
  std::array<SizeExpr, 3> sizes{1, 1, 1};
  if (!json.contains(key)) return sizes;
  const auto& list = list_of(json[key], where + "." + key, 3);
  for (size_t i = 0; i < list.size(); ++i) sizes[i] = size_of(list[i], where + "." + key);
  return sizes;
}

Launch launch_of(const Json& json, const std::string& where) {
  only_keys(json, where, {"kernel", "args", "groups", "group"});
  Launch launch;
  launch.kernel = identifier(need(json, where, "kernel"), where + ".kernel");
  for (const auto& arg : list_of(need(json, where, "args"), where + ".args", 1024)) {
    if (arg.is_object()) {
      launch.args.emplace_back(scalar_of(arg, where + ".args"));
    } else {
      launch.args.emplace_back(identifier(arg, where + ".args"));
    }
  }
  launch.groups = triple(json, "groups", where);
  launch.group = triple(json, "group", where);
  return launch;
}

std::vector<Step> steps_of(const Json& json, const std::string& where, int depth) {
  if (depth > 4) fail(where, "nests repeats deeper than 4");
  std::vector<Step> steps;
  for (const auto& item : list_of(json, where, max_list)) {
    const std::string here = where + "[" + std::to_string(steps.size()) + "]";
    if (!item.is_object() || !item.contains("repeat")) {
      steps.emplace_back(launch_of(item, here));
      continue;
    }
    only_keys(item, here, {"repeat", "index", "steps"});
    auto repeat = std::make_shared<Repeat>();
    repeat->count = size_of(item["repeat"], here + ".repeat");
    repeat->index = identifier(need(item, here, "index"), here + ".index");
    repeat->steps = steps_of(need(item, here, "steps"), here + ".steps", depth + 1);
    steps.emplace_back(std::move(repeat));
  }
  return steps;
}

void read_symbols(const Json& json, Plan& plan) {
  if (!json.is_object()) fail("symbols", "must be an object");
  if (json.size() > 256) fail("symbols", "has more than 256 entries");
  for (const auto& [name, source] : json.items()) {
    const std::string where = "symbol `" + name.substr(0, 40) + "`";
    identifier(Json(name), where);
    only_keys(source, where, {"input", "dim"});
    plan.symbols[name] = {static_cast<int>(integer(need(source, where, "input"), where + ".input", 0, 1 << 20)),
                          static_cast<int>(integer(need(source, where, "dim"), where + ".dim", 0, 15))};
  }
}

void read_guards(const Json& json, Plan& plan) {
  for (const auto& guard : list_of(json, "guards", 256)) {
    plan.guards.push_back(size_of(guard.is_string() ? guard : Json(text_of(guard, "guard")), "guard").text());
  }
}

void read_assumes(const Json& json, Plan& plan) {
  for (const auto& word : list_of(json, "assumes", 8)) {
    plan.assumes.push_back(text_of(word, "assumes"));
    if (plan.assumes.back() != "finite") fail("assumes", "holds an unknown word", "the only one is \"finite\"");
  }
}

Plan plan_of(const Json& json) {
  only_keys(json, "the plan",
            {"format", "target", "isa", "symbols", "guards", "assumes", "buffers", "prepare", "steps"});
  if (text_of(need(json, "the plan", "format"), "format") != plan_format) {
    fail("format", "is not `" + std::string(plan_format) + "`");
  }
  Plan plan;
  plan.target = text_of(need(json, "the plan", "target"), "target");
  if (!is_target(plan.target)) fail("target", "is unknown", "targets: cpu, cuda, metal");
  if (json.contains("isa")) plan.isa = text_of(json["isa"], "isa");
  if (!is_isa(plan.isa)) fail("isa", "is unknown", "isas: avx512, avx2, neon, or none");
  if (json.contains("symbols")) read_symbols(json["symbols"], plan);
  if (json.contains("guards")) read_guards(json["guards"], plan);
  if (json.contains("assumes")) read_assumes(json["assumes"], plan);
  const auto& buffers = need(json, "the plan", "buffers");
  if (!buffers.is_object()) fail("buffers", "must be an object");
  if (buffers.size() > max_list) fail("buffers", "has more than 65536 entries");
  for (const auto& [name, buffer] : buffers.items()) plan.buffers.push_back(buffer_of(name.substr(0, 100), buffer));
  if (json.contains("prepare")) plan.prepare = steps_of(json["prepare"], "prepare", 0);
  plan.steps = steps_of(need(json, "the plan", "steps"), "steps", 0);
  return plan;
}

// ---- writing ----

/// A plain number where the expression is one.
Json json_of(const SizeExpr& size) {
  const std::string& text = size.text();
  const bool digits = !text.empty() && text.size() < 19 && text.find_first_not_of("0123456789") == std::string::npos;
  return digits ? Json(std::stoll(text)) : Json(text);
}
Json json_of(const std::array<SizeExpr, 3>& sizes) {
  return Json::array({json_of(sizes[0]), json_of(sizes[1]), json_of(sizes[2])});
}
Json json_of(const Arg& arg) {
  if (const auto* name = std::get_if<std::string>(&arg)) return *name;
  const auto& scalar = std::get<ScalarArg>(arg);
  Json json = Json::object();
  json[scalar.type] = scalar.real ? Json(*scalar.real) : json_of(scalar.value);
  return json;
}
Json json_of(const std::vector<Step>& steps);
Json json_of(const Step& step) {
  Json json = Json::object();
  if (const auto* launch = std::get_if<Launch>(&step)) {
    json["kernel"] = launch->kernel;
    json["args"] = Json::array();
    for (const auto& arg : launch->args) json["args"].push_back(json_of(arg));
    json["groups"] = json_of(launch->groups);
    json["group"] = json_of(launch->group);
    return json;
  }
  const auto& repeat = *std::get<std::shared_ptr<Repeat>>(step);
  json["repeat"] = json_of(repeat.count);
  json["index"] = repeat.index;
  json["steps"] = json_of(repeat.steps);
  return json;
}
Json json_of(const std::vector<Step>& steps) {
  Json json = Json::array();
  for (const auto& step : steps) json.push_back(json_of(step));
  return json;
}
Json json_of(const Buffer& buffer) {
  Json json = Json::object();
  json["role"] = name_of(buffer.role);
  const bool indexed = buffer.role == Role::input || buffer.role == Role::output;
  const bool named = buffer.role == Role::parameter || buffer.role == Role::state;
  if (indexed) json["index"] = buffer.index;
  if (named) json["name"] = buffer.parameter;
  if (buffer.dtype_given || (!indexed && !named)) json["dtype"] = name_of(buffer.dtype);
  if (!buffer.shape.empty() || (!indexed && !named)) {
    json["shape"] = Json::array();
    for (const auto& size : buffer.shape) json["shape"].push_back(json_of(size));
  }
  return json;
}

}  // namespace

Result<Plan> parse_plan(std::string_view text) {
  try {
    return plan_of(parse_text(text));
  } catch (const Fault& fault) {
    return fault.failure;
  }
}

std::string to_json(const Plan& plan) {
  Json json = Json::object();
  json["format"] = plan_format;
  json["target"] = plan.target;
  if (!plan.isa.empty()) json["isa"] = plan.isa;
  if (!plan.symbols.empty()) json["symbols"] = Json::object();
  for (const auto& [name, source] : plan.symbols) {
    json["symbols"][name] = Json{{"input", source.input}, {"dim", source.dim}};
  }
  if (!plan.guards.empty()) json["guards"] = plan.guards;
  if (!plan.assumes.empty()) json["assumes"] = plan.assumes;
  json["buffers"] = Json::object();
  for (const auto& buffer : plan.buffers) json["buffers"][buffer.name] = json_of(buffer);
  if (!plan.prepare.empty()) json["prepare"] = json_of(plan.prepare);
  json["steps"] = json_of(plan.steps);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace kw::kernel
