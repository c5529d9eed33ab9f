#include "author/llm/reply.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace kw::author {
namespace {

using nlohmann::ordered_json;

struct Block {
  std::string tag, body;
  bool open = false;  // the reply ended before its fence
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

/// Thoughts may hold drafts with fences of their own.
std::string without_thoughts(std::string_view text) {
  std::string out(text);
  for (size_t open; (open = out.find("<think>")) != std::string::npos;) {
    const size_t close = out.find("</think>", open);
    if (close == std::string::npos) break;
    out.erase(open, close + 8 - open);
  }
  if (const size_t close = out.find("</think>"); close != std::string::npos) out.erase(0, close + 8);
  return out;
}

/// Length of the fence that `line` begins with, and its sign; 0 for none.
size_t fence_of(std::string_view line, char& sign) {
  line = trimmed(line);
  if (line.empty() || (line[0] != '`' && line[0] != '~')) return 0;
  sign = line[0];
  const size_t length = std::min(line.find_first_not_of(sign), line.size());
  return length >= 3 ? length : 0;
}

/// "```c++ kernel.cpp" or "```{.cpp}" names cpp.
std::string tag_of(std::string_view line) {
  line = trimmed(line);
  line.remove_prefix(std::min(line.find_first_not_of("`~"), line.size()));
  line = trimmed(line);
  while (!line.empty() && (line[0] == '{' || line[0] == '.')) line.remove_prefix(1);
  return lower(line.substr(0, line.find_first_of(" \t{}:,")));
}

std::vector<Block> blocks_of(std::string_view text) {
  std::vector<Block> blocks;
  std::optional<Block> current;
  char sign = 0, other = 0;
  size_t fence = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const size_t length = fence_of(line, other);
    if (!current && length > 0) {
      current = Block{tag_of(line), "", false};
      sign = other, fence = length;
    } else if (current && length >= fence && other == sign && trimmed(line).size() == length) {
      blocks.push_back(std::move(*current));
      current.reset();
    } else if (current) {
      current->body += std::string(line) + "\n";
    }
  }
  if (current) {
    current->open = true;
    blocks.push_back(std::move(*current));
  }
  return blocks;
}

/// Drops commas before a closing bracket, outside of strings.
std::string without_trailing_commas(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\' && i + 1 < text.size()) {
      out += c;
      out += text[++i];
      continue;
    }
    if (c == '"') quoted = !quoted;
    if (c == ',' && !quoted) {
      const size_t next = text.find_first_not_of(" \t\r\n", i + 1);
      if (next != std::string_view::npos && (text[next] == '}' || text[next] == ']')) continue;
    }
    out += c;
  }
  return out;
}

/// Deep nesting is refused before a parser sees it.
bool shallow(std::string_view text) {
  int depth = 0, deepest = 0;
  for (const char c : text) {
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if (c == '}' || c == ']') --depth;
  }
  return deepest < 64;
}

std::optional<ordered_json> object_in(std::string_view text) {
  if (!shallow(text)) return std::nullopt;
  ordered_json value = ordered_json::parse(text, nullptr, false, true);
  if (value.is_discarded()) value = ordered_json::parse(without_trailing_commas(text), nullptr, false, true);
  if (!value.is_object()) return std::nullopt;
  return value;
}

bool looks_like_plan(const ordered_json& object) { return object.contains("steps") || object.contains("buffers"); }

/// The Plan, taken out of a wrapper {"plan": {...}} where there is one.
std::optional<std::string> plan_in(const ordered_json& object) {
  const auto plan = object.find("plan");
  if (plan != object.end() && plan->is_object()) return plan->dump();
  if (plan != object.end() && plan->is_string()) return plan->get<std::string>();
  return looks_like_plan(object) ? std::optional(object.dump()) : std::nullopt;
}

bool holds(const std::vector<std::string_view>& list, const std::string& tag) {
  return std::find(list.begin(), list.end(), tag) != list.end();
}

/// An object with both parts, as structured output makes it.
std::optional<ParsedReply> whole_object(std::string_view text) {
  const auto object = object_in(trimmed(text));
  if (!object) return std::nullopt;
  const auto source = object->find("source");
  const auto plan = plan_in(*object);
  if (source == object->end() || !source->is_string() || !plan) return std::nullopt;
  return ParsedReply{source->get<std::string>(), *plan};
}

bool is_json_tag(const std::string& tag) { return tag == "json" || tag == "jsonc" || tag == "json5" || tag == "plan"; }

}  // namespace

Result<ParsedReply> parse_reply(std::string_view raw, const Language& language) {
  const std::string text = without_thoughts(raw);
  if (auto whole = whole_object(text)) return *whole;
  ParsedReply found;
  bool source_open = false, broken_plan = false;
  for (const Block& block : blocks_of(text)) {
    const bool braced = trimmed(block.body).starts_with('{');
    const bool plan_like = is_json_tag(block.tag) || (braced && !holds(language.accepted, block.tag));
    if (plan_like) {
      if (auto whole = whole_object(block.body)) return *whole;
      const auto object = object_in(trimmed(block.body));
      const auto plan = object ? plan_in(*object) : std::nullopt;
      if (plan) found.plan_json = *plan;
      broken_plan = broken_plan || !object;
    } else if (holds(language.accepted, block.tag) || block.tag.empty()) {
      found.source = block.body;
      source_open = block.open;
    }
  }
  if (found.source.empty())
    return Failure{"reply.source",
                   "the reply holds no fenced block of source marked `" + std::string(language.tag) + "`", ""};
  if (found.plan_json.empty() && source_open)
    return Failure{"reply.cut", "the reply ends inside its source block; write less, or shorter", ""};
  if (found.plan_json.empty())
    return Failure{"reply.plan",
                   broken_plan ? "the `json` block of the reply is not valid JSON"
                               : "the reply holds no fenced block marked `json` with the Plan",
                   ""};
  return found;
}

}  // namespace kw::author
