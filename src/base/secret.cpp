#include "base/secret.h"

#include <algorithm>
#include <mutex>
#include <vector>

namespace kw {
namespace {

constexpr size_t kShortest = 6;
constexpr std::string_view kMask = "[redacted]";

struct Secrets {
  std::mutex mutex;
  std::vector<std::string> values;  // longest first: one may hold another
};
Secrets& secrets() {
  static Secrets all;
  return all;
}

}  // namespace

void register_secret(std::string_view value) {
  if (value.size() < kShortest) return;
  Secrets& all = secrets();
  const std::lock_guard lock(all.mutex);
  if (std::find(all.values.begin(), all.values.end(), value) != all.values.end()) return;
  all.values.emplace_back(value);
  std::sort(all.values.begin(), all.values.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

std::string redact(std::string_view text) {
  std::string clean(text);
  Secrets& all = secrets();
  const std::lock_guard lock(all.mutex);
  for (const std::string& value : all.values)
    for (size_t at = 0; (at = clean.find(value, at)) != std::string::npos; at += kMask.size())
      clean.replace(at, value.size(), kMask);
  return clean;
}

}  // namespace kw
