#include <algorithm>

#include "base/sandbox.h"
#include "judge/gates.h"

/// Foreign code may run only behind walls: without them an output could have come from anywhere, a file or a socket.
namespace kw::judge {

namespace {

bool missing(const std::vector<std::string>& report, const std::string& layer) {
  return std::none_of(report.begin(), report.end(),
                      [&](const std::string& line) { return line.rfind(layer + ": yes", 0) == 0; });
}

}  // namespace

std::string missing_walls(const std::vector<std::string>& report) {
  if (missing(report, "seccomp")) return "no filter of system calls (seccomp)";
  if (missing(report, "namespaces") && missing(report, "landlock"))
    return "nothing that keeps a kernel from files (neither bubblewrap nor Landlock)";
  return "";
}

Finding gate_sandbox(Trial& trial) {
  static const std::vector<std::string> here = sandbox_report();
  const std::string hole = missing_walls(trial.options.walls.empty() ? here : trial.options.walls);
  if (hole.empty()) return passed("files, network and system calls are walled off");
  return inconclusive("the candidate cannot be contained here: " + hole + "; `kernelwright doctor` tells more");
}

}  // namespace kw::judge
