#include "emulator/front/diagnostics.h"

#include <fmt/format.h>

#include <cctype>
#include <optional>

namespace kw::emulator {
namespace {

struct Line {
  Diagnostic at;
  bool is_error = false;
};

/// "file:line:column: error: words", also "fatal error" and "note".
std::optional<Line> read_line(std::string_view text) {
  for (const std::string_view kind : {": fatal error: ", ": error: ", ": note: "}) {
    const size_t found = text.find(kind);
    if (found == std::string_view::npos) continue;
    std::string_view place = text.substr(0, found);
    uint32_t numbers[2] = {0, 0};
    int count = 0;
    while (count < 2) {
      const size_t colon = place.rfind(':');
      if (colon == std::string_view::npos || colon + 1 == place.size()) break;
      uint32_t value = 0;
      bool digits = true;
      for (char c : place.substr(colon + 1)) {
        digits = digits && std::isdigit(static_cast<unsigned char>(c));
        value = value * 10 + static_cast<uint32_t>(c - '0');
      }
      if (!digits) break;
      numbers[count++] = value;
      place = place.substr(0, colon);
    }
    if (!count) return std::nullopt;
    return Line{{std::string(place), numbers[count - 1], std::string(text.substr(found + kind.size()))},
                kind != ": note: "};
  }
  return std::nullopt;
}

std::string_view line_of(std::string_view source, uint32_t line) {
  size_t at = 0;
  for (uint32_t i = 1; i < line && at != std::string_view::npos; ++i) {
    at = source.find('\n', at);
    if (at != std::string_view::npos) ++at;
  }
  if (at == std::string_view::npos || at >= source.size()) return {};
  return source.substr(at, source.find('\n', at) - at);
}

}  // namespace

std::vector<Diagnostic> read_diagnostics(std::string_view words, std::string_view own_folder, size_t limit) {
  std::vector<Diagnostic> all;
  const auto is_own = [&](const std::string& file) {
    return file.starts_with(own_folder) || file.starts_with("(kernelwright)") || file.starts_with("<");
  };
  Diagnostic includer;
  bool led_there = false;  // the last error is in a header of ours, and no note has said yet from where
  for (size_t at = 0; at < words.size();) {
    size_t end = words.find('\n', at);
    if (end == std::string_view::npos) end = words.size();
    std::string_view text = words.substr(at, end - at);
    at = end + 1;
    // "In file included from a.metal:2:", before an error in a header.
    if (constexpr std::string_view from = "In file included from "; text.starts_with(from)) {
      text = text.substr(from.size(), text.find_last_not_of(":,") + 1 - from.size());
      const auto place = read_line(std::string(text) + ": note: ");
      if (place && !is_own(place->at.file)) includer = place->at;
      continue;
    }
    const auto line = read_line(text);
    if (!line) continue;
    if (line->is_error) {
      if (all.size() == limit) break;
      all.push_back(line->at);
      led_there = is_own(line->at.file);
      if (is_own(line->at.file) && includer.line) all.back().file = includer.file, all.back().line = includer.line;
      includer = {};
    } else if (led_there && !is_own(line->at.file)) {
      led_there = false;
      all.back().file = line->at.file;
      all.back().line = line->at.line;
    }
  }
  return all;
}

std::string show_diagnostics(const std::vector<Diagnostic>& diagnostics, std::string_view source,
                             std::string_view unit_name) {
  std::string text;
  for (const Diagnostic& diagnostic : diagnostics) {
    text += fmt::format("{}{}:{}: {}", text.empty() ? "" : "\n", diagnostic.file, diagnostic.line, diagnostic.message);
    std::string_view line = diagnostic.file == unit_name ? line_of(source, diagnostic.line) : std::string_view();
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.front()))) line.remove_prefix(1);
    if (!line.empty()) text += fmt::format("\n    {}", line);
  }
  return text;
}

}  // namespace kw::emulator
