#include <doctest/doctest.h>

#include "base/process.h"

using namespace kw;

TEST_CASE("a process gets its input and gives back its output and exit code") {
  const auto reply = run_process({"sh", "-c", "cat; echo oops >&2; exit 3"}, {.stdin_text = "hello"});
  REQUIRE(reply.ok());
  CHECK(reply->out == "hello");
  CHECK(reply->err == "oops\n");
  CHECK(reply->exit_code == 3);
}

TEST_CASE("a process that hangs is killed with its children") {
  const auto reply = run_process({"sh", "-c", "sleep 100 & sleep 100"}, {.timeout_s = 0.2});
  REQUIRE(reply.ok());
  CHECK(reply->timed_out);
  CHECK(reply->exit_code == 128 + 9);
}

TEST_CASE("endless output is cut at the limit") {
  const auto reply = run_process({"sh", "-c", "yes | head -c 1000000"}, {.output_limit_bytes = 1000});
  REQUIRE(reply.ok());
  CHECK(reply->out.size() == 1000);
  CHECK(reply->output_cut);
}

TEST_CASE("a missing program is a failure with a hint") {
  const auto reply = run_process({"no-such-program-here"});
  REQUIRE_FALSE(reply.ok());
  CHECK(reply.failure().id == "process.start");
}

TEST_CASE("the environment is added to, a large input does not block") {
  const std::string large(1 << 20, 'x');
  const auto reply =
      run_process({"sh", "-c", "echo $KW_TEST; wc -c"}, {.stdin_text = large, .env = {{"KW_TEST", "yes"}}});
  REQUIRE(reply.ok());
  CHECK(reply->out == "yes\n1048576\n");
}
