#include "bench/oracle.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>

#include "base/file.h"

using namespace kw;
using namespace kw::bench;

namespace {

/// A stand-in for Python: a shell script with that body.
std::string script(const TempDir& folder, const std::string& body) {
  const std::string path = (folder.path() / "python").string();
  std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
  ::chmod(path.c_str(), 0755);
  return path;
}

struct Asked {
  std::vector<std::string> ids;
  double seconds = 0;
};

/// The same question twice.
Asked ask_twice(const std::string& python, double limit_s) {
  PythonOracle oracle({.threads = 1, .oracle_limit_s = limit_s, .python = python});
  const auto start = std::chrono::steady_clock::now();
  Asked asked;
  for (int i = 0; i < 2; ++i) {
    const auto reply = oracle.run({Tensor::zeros(DType::f32, {1000})}, {});
    asked.ids.push_back(reply.ok() ? "" : reply.failure().id);
  }
  asked.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return asked;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("an oracle that does not start, ends early or hangs says so, and is not tried again") {
  const TempDir folder("kw-oracle-test");
  CHECK(ask_twice("/nonexistent/python", 5).ids == Ids{"oracle.start", "oracle.start"});
  CHECK(ask_twice(script(folder, "exit 1"), 5).ids == Ids{"oracle.gone", "oracle.gone"});
  const Asked hung = ask_twice(script(folder, "sleep 100 & sleep 100"), 0.5);
  CHECK(hung.ids == Ids{"oracle.timeout", "oracle.timeout"});
  CHECK(hung.seconds < 3);
  const Asked deaf = ask_twice(script(folder, "exec sleep 100"), 0.5);
  CHECK(deaf.ids[0] == "oracle.timeout");
}

TEST_CASE("an answer in pieces is read whole, and nonsense is a failure of one answer only") {
  const TempDir folder("kw-oracle-test");
  CHECK(
      ask_twice(script(folder, "while read line; do printf '{\"error\"'; sleep 0.1; echo ': \"no\"}'; done"), 5).ids ==
      Ids{"oracle.run", "oracle.run"});
  CHECK(ask_twice(script(folder, "while read line; do echo nonsense; done"), 5).ids == Ids{"oracle.run", "oracle.run"});
}
