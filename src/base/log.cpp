#include "base/log.h"

#include <atomic>
#include <cstdio>

#include "base/secret.h"

namespace kw {
namespace {
std::atomic<LogLevel> current_level{LogLevel::normal};
}

void set_log_level(LogLevel level) { current_level = level; }

LogLevel log_level() { return current_level; }

void log_line(LogLevel level, std::string_view text) {
  if (level > current_level.load()) return;
  std::fprintf(stderr, "%s\n", redact(text).c_str());
}

}  // namespace kw
