#include "app/output.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace kw::app {
namespace {

bool wants_color(const std::string& mode) {
  if (mode == "always") return true;
  if (mode == "never" || std::getenv("NO_COLOR") != nullptr) return false;
  return ::isatty(STDOUT_FILENO) == 1;
}

/// Width in terminal columns: counts UTF-8 lead bytes.
size_t display_width(const std::string& cell) {
  return static_cast<size_t>(std::count_if(cell.begin(), cell.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

Output::Output(const CommonOptions& common)
    : json_(common.json),
      show_progress_(!common.no_progress && !common.quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      color_(wants_color(common.color)) {}

void Output::object(const nlohmann::json& value) const {
  if (!json_) return;
  const std::string line = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void Output::text(std::string_view line) const {
  if (json_) return;
  std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
}

void Output::progress(std::string_view line, bool milestone) {
  if (!show_progress_) return;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%.*s", static_cast<int>(line.size()), line.data());
    line_open_ = true;
  } else if (milestone) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  }
  std::fflush(stderr);
}

void Output::clear_progress() {
  if (line_open_) std::fprintf(stderr, "\r\033[K");
  line_open_ = false;
}

std::string Output::styled(const char* code, std::string_view text) const {
  if (!color_) return std::string(text);
  return std::string("\033[") + code + "m" + std::string(text) + "\033[0m";
}

std::string Output::bold(std::string_view text) const { return styled("1", text); }
std::string Output::green(std::string_view text) const { return styled("32", text); }
std::string Output::red(std::string_view text) const { return styled("31", text); }

void report_failure(const CommonOptions& common, const Failure& failure) {
  std::fprintf(stderr, "error: %s\n", failure.message.c_str());
  if (!failure.hint.empty()) std::fprintf(stderr, "hint: %s\n", failure.hint.c_str());
  Output(common).object({{"type", "error"},
                         {"schema_version", 1},
                         {"id", failure.id},
                         {"message", failure.message},
                         {"hint", failure.hint}});
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], display_width(row[i]));
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += row[i] + std::string(widths[i] - display_width(row[i]) + 2, ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace kw::app
