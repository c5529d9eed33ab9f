#pragma once
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>

namespace kw::swarm {

/// Every decision of a run with its reason, one line each, in `.kernelwright/RUN.log` and, with -v, on stderr.
/// Secrets do not get through.
class Journal {
 public:
  /// An empty path writes no file.
  explicit Journal(const std::filesystem::path& path);
  void say(const std::string& words);

 private:
  std::mutex mutex_;
  std::ofstream file_;
  double begun_s_;
};

}  // namespace kw::swarm
