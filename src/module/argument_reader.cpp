#include "module/argument_reader.h"

#include <fmt/format.h>

#include "module/meta_reader.h"

namespace kw::module {
namespace {

using Reader = Argument (*)(const JsonCursor&, const NameResolver&);

TensorRef read_ref(const JsonCursor& json, const NameResolver& resolve) { return {resolve(json.at("name").text())}; }

std::optional<TensorRef> read_optional_ref(const JsonCursor& json, const NameResolver& resolve) {
  const auto [tag, value] = json.only_field();
  if (tag == "as_tensor") return read_ref(value, resolve);
  if (tag != "as_none") json.faults().fail_schema("holds an optional tensor of unknown kind");
  return std::nullopt;
}

void fail_dynamic(const JsonCursor& json, const std::string& symbol) {
  json.faults().fail({"pt2.dynamic_shape",
                      fmt::format("{} takes the size `{}`, known only at run time", json.faults().place, symbol),
                      "export with static shapes, and without .item() or ops whose result size depends on data"});
}

/// SymInt-like arguments: a plain value under `plain`, or a symbol's name, which is refused.
bool is_plain(const JsonCursor& json, std::string_view plain) {
  const auto [tag, value] = json.only_field();
  if (tag == plain) return true;
  if (tag == "as_name") fail_dynamic(json, value.text());
  json.faults().fail_schema("holds a symbolic value of unknown kind");
  return false;
}

int64_t read_sym_int(const JsonCursor& json) {
  return is_plain(json, "as_int") ? json.only_field().second.integer() : 0;
}
double read_sym_float(const JsonCursor& json) {
  return is_plain(json, "as_float") ? json.only_field().second.real() : 0;
}
bool read_sym_bool(const JsonCursor& json) { return is_plain(json, "as_bool") && json.only_field().second.boolean(); }

template <class T, class ReadItem>
std::vector<T> read_list(const JsonCursor& json, ReadItem read_item) {
  std::vector<T> items;
  for (const JsonCursor& item : json.items()) items.push_back(read_item(item));
  return items;
}

Argument refuse_complex(const JsonCursor& json, const NameResolver&) {
  json.faults().fail({"pt2.dtype", json.faults().place + " takes a complex number, which is not supported",
                      "write the module with real tensors"});
  return None{};
}

Argument refuse_higher_order(const JsonCursor& json, const NameResolver&) {
  json.faults().fail({"pt2.higher_order", json.faults().place + " takes a sub-graph, operator or object",
                      "write control flow that export can unroll, and no custom classes"});
  return None{};
}

struct ArgumentRow {
  std::string_view tag;
  Reader read;
};

Argument read_none(const JsonCursor&, const NameResolver&) { return None{}; }

const ArgumentRow argument_rows[] = {
    {"as_none", read_none},
    {"as_device", read_none},
    {"as_layout", read_none},
    {"as_memory_format", read_none},
    {"as_tensor", [](const JsonCursor& j, const NameResolver& r) -> Argument { return read_ref(j, r); }},
    {"as_tensors",
     [](const JsonCursor& j, const NameResolver& r) -> Argument {
       return read_list<std::optional<TensorRef>>(j, [&](const JsonCursor& item) { return read_ref(item, r); });
     }},
    {"as_optional_tensor",
     [](const JsonCursor& j, const NameResolver& r) -> Argument {
       const auto ref = read_optional_ref(j, r);
       return ref ? Argument(*ref) : Argument(None{});
     }},
    {"as_optional_tensors",
     [](const JsonCursor& j, const NameResolver& r) -> Argument {
       return read_list<std::optional<TensorRef>>(j,
                                                  [&](const JsonCursor& item) { return read_optional_ref(item, r); });
     }},
    {"as_int", [](const JsonCursor& j, const NameResolver&) -> Argument { return j.integer(); }},
    {"as_ints",
     [](const JsonCursor& j, const NameResolver&) -> Argument {
       return read_list<int64_t>(j, [](const JsonCursor& item) { return item.integer(); });
     }},
    {"as_float", [](const JsonCursor& j, const NameResolver&) -> Argument { return j.real(); }},
    {"as_floats",
     [](const JsonCursor& j, const NameResolver&) -> Argument {
       return read_list<double>(j, [](const JsonCursor& item) { return item.real(); });
     }},
    {"as_bool", [](const JsonCursor& j, const NameResolver&) -> Argument { return j.boolean(); }},
    {"as_bools",
     [](const JsonCursor& j, const NameResolver&) -> Argument {
       return read_list<bool>(j, [](const JsonCursor& item) { return item.boolean(); });
     }},
    {"as_string", [](const JsonCursor& j, const NameResolver&) -> Argument { return j.text(); }},
    {"as_scalar_type",
     [](const JsonCursor& j, const NameResolver&) -> Argument { return read_dtype(j, j.faults().place); }},
    {"as_sym_int", [](const JsonCursor& j, const NameResolver&) -> Argument { return read_sym_int(j); }},
    {"as_sym_ints",
     [](const JsonCursor& j, const NameResolver&) -> Argument { return read_list<int64_t>(j, read_sym_int); }},
    {"as_sym_float", [](const JsonCursor& j, const NameResolver&) -> Argument { return read_sym_float(j); }},
    {"as_sym_floats",
     [](const JsonCursor& j, const NameResolver&) -> Argument { return read_list<double>(j, read_sym_float); }},
    {"as_sym_bool", [](const JsonCursor& j, const NameResolver&) -> Argument { return read_sym_bool(j); }},
    {"as_sym_bools",
     [](const JsonCursor& j, const NameResolver&) -> Argument { return read_list<bool>(j, read_sym_bool); }},
    {"as_complex", refuse_complex},
    {"as_graph", refuse_higher_order},
    {"as_operator", refuse_higher_order},
    {"as_custom_obj", refuse_higher_order},
};

/// One frame of a Python stack trace: `File "x.py", line 8, in forward` and the line of code under it.
std::vector<SourceLine> read_frames(const std::string& trace) {
  std::vector<SourceLine> frames;
  constexpr std::string_view opening = "File \"", middle = "\", line ";
  for (size_t at = trace.find(opening); at != trace.npos; at = trace.find(opening, at)) {
    const size_t file = at + opening.size(), file_end = trace.find(middle, file);
    if (file_end == trace.npos) break;
    SourceLine frame;
    frame.file = trace.substr(file, file_end - file);
    frame.line = std::atoi(trace.c_str() + file_end + middle.size());
    const size_t code = trace.find('\n', file_end), code_end = code == trace.npos ? code : trace.find('\n', code + 1);
    if (code != trace.npos)
      frame.text = trace.substr(code + 1, code_end == trace.npos ? code_end : code_end - code - 1);
    frame.text.erase(0, frame.text.find_first_not_of(' '));
    if (frame.text.starts_with(opening)) frame.text.clear();
    frames.push_back(std::move(frame));
    at = file_end;
  }
  return frames;
}

bool is_users(const SourceLine& frame) {
  return frame.file.find("/torch/") == frame.file.npos && !frame.file.starts_with("<");
}

/// "key,path,type;key,path,type;...": the innermost path.
std::string innermost_module(const std::string& stack) {
  const size_t begin = stack.rfind(';') == stack.npos ? 0 : stack.rfind(';') + 1;
  const size_t path = stack.find(',', begin);
  const size_t end = path == stack.npos ? path : stack.find(',', path + 1);
  return end == stack.npos ? "" : stack.substr(path + 1, end - path - 1);
}

}  // namespace

Argument read_argument(const JsonCursor& json, const NameResolver& resolve) {
  const auto [tag, value] = json.only_field();
  for (const ArgumentRow& row : argument_rows)
    if (row.tag == tag) return row.read(value, resolve);
  json.faults().fail_schema(fmt::format("holds an argument of unknown kind `{}`", tag));
  return None{};
}

std::vector<std::string> read_output_names(const JsonCursor& json) {
  const auto [tag, value] = json.only_field();
  if (tag == "as_tensor") return {value.at("name").text()};
  if (tag == "as_none") return {""};
  std::vector<std::string> names;
  const NameResolver keep = [](const std::string& name) { return name; };
  if (tag == "as_tensors" || tag == "as_optional_tensors") {
    const Argument read = read_argument(json, keep);
    for (const auto& ref : std::get<OptionalTensors>(read)) names.push_back(ref ? ref->name : "");
  } else if (tag == "as_optional_tensor") {
    const auto ref = read_optional_ref(value, keep);
    names.push_back(ref ? ref->name : "");
  } else if (tag == "as_sym_int" || tag == "as_sym_float" || tag == "as_sym_bool") {
    fail_dynamic(value, value.has("as_name") ? value.at("as_name").text() : "?");
  } else {
    json.faults().fail_schema(fmt::format("gives a result of unknown kind `{}`", tag));
  }
  return names;
}

SourceLine read_source(const JsonCursor& metadata) {
  SourceLine source;
  if (metadata.has("stack_trace")) {
    const auto frames = read_frames(metadata.at("stack_trace").text());
    if (!frames.empty()) source = frames.back();
    for (const SourceLine& frame : frames)
      if (is_users(frame)) source = frame;
  }
  if (metadata.has("nn_module_stack")) source.module_path = innermost_module(metadata.at("nn_module_stack").text());
  return source;
}

}  // namespace kw::module
