#include "swarm/journal.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

namespace kw::swarm {

Journal::Journal(const std::filesystem::path& path) : begun_s_(system_clock().now_s()) {
  if (!path.empty()) file_.open(path, std::ios::app);
}

void Journal::say(const std::string& words) {
  std::string line = fmt::format("[{:8.2f}] {}", system_clock().now_s() - begun_s_, redact(words));
  std::replace(line.begin(), line.end(), '\n', ' ');
  const std::lock_guard lock(mutex_);
  if (file_) file_ << line << std::endl;
  log_line(LogLevel::verbose, line);
}

}  // namespace kw::swarm
