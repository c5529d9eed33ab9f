#include "author/llm/template.h"

#include <algorithm>
#include <set>

#include "base/result.h"

namespace kw::author {

std::string fill(std::string_view text, const std::map<std::string, std::string>& values) {
  std::string out;
  std::set<std::string> used;
  for (size_t at = 0; at < text.size();) {
    const size_t open = text.find("{{", at);
    out += text.substr(at, open - at);
    if (open == std::string_view::npos) break;
    const size_t close = text.find("}}", open);
    check(close != std::string_view::npos, "a template with an open {{");
    const std::string name(text.substr(open + 2, close - open - 2));
    const auto value = values.find(name);
    check(value != values.end(), "a template names a value that is not given");
    out += value->second;
    used.insert(name);
    at = close + 2;
  }
  check(used.size() == values.size(), "a template does not use a value that is given");
  return out;
}

std::string fenced(std::string_view tag, std::string_view code) {
  size_t longest = 2, run = 0;
  for (const char c : code) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  const bool ended = code.empty() || code.ends_with('\n');
  return fence + std::string(tag) + "\n" + std::string(code) + (ended ? "" : "\n") + fence + "\n";
}

}  // namespace kw::author
