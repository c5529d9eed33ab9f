#include "base/sandbox.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

using namespace kw;

namespace {

/// How a forked child that runs `body` ends.
int status_of(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("a worker that spins is ended by its CPU time, whoever waits for it") {
  const int status = status_of([] {
    bound_resources({.address_space_bytes = uint64_t{8} << 30, .cpu_s = 1});
    volatile bool forever = true;
    while (forever) {
    }
    return 0;
  });
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGXCPU);
}

TEST_CASE("memory, files, cores, threads and CPU time are bounded") {
  const int status = status_of([] {
    bound_resources({.address_space_bytes = uint64_t{8} << 30, .cpu_s = 100, .threads = 7});
    for (const auto resource : {RLIMIT_AS, RLIMIT_FSIZE, RLIMIT_CORE, RLIMIT_NPROC, RLIMIT_CPU}) {
      rlimit limit{};
      if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 1 + static_cast<int>(resource);
    }
    return 0;
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
