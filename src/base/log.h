#pragma once
#include <string>
#include <string_view>

namespace kw {

enum class LogLevel { quiet, normal, verbose, debug };
void set_log_level(LogLevel level);
LogLevel log_level();
/// One line on stderr if the level admits it.
void log_line(LogLevel level, std::string_view text);

}  // namespace kw
