#include "runtime/program.h"

#include <doctest/doctest.h>

using namespace kw::runtime;

namespace {

Program sample() {
  Program program;
  program.kernels = {"rows"};
  program.workspace_bytes = 128;
  program.buffers = {{Role::input, 0, "x y%", "f32", {4, 2}, 32, 0}, {Role::scratch, 0, "", "i64", {8}, 64, 64}};
  program.steps = {{0, {{Argument::Kind::buffer, 1, 0}, {Argument::Kind::real, 0, -0.1}}, {2, 3, 1}}};
  return program;
}

bool reads(const std::string& text) {
  Program program;
  std::string why;
  return decode(text, program, why);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a program survives its text form") {
  Program back;
  std::string why;
  const std::string text = encode(sample());
  REQUIRE(decode(text, back, why));
  CHECK(encode(back) == text);
  CHECK(back.buffers[0].name == "x y%");
  CHECK(back.buffers[1].offset == 64);
  CHECK(back.steps[0].args[1].real == -0.1);
}

TEST_CASE("a damaged program is refused") {
  const std::string text = encode(sample());
  for (size_t cut = 0; cut < text.size(); ++cut) CHECK_FALSE(reads(text.substr(0, cut)));
  CHECK_FALSE(reads(text + "x"));
  CHECK_FALSE(reads(replaced(text, "i64 64 64", "i64 64 128")));  // past the workspace's end
  CHECK_FALSE(reads(replaced(text, "i64 64 64", "i64 128 0")));   // bytes that disagree with the shape
  CHECK_FALSE(reads(replaced(text, "b 1", "b 2")));               // unknown buffer
  CHECK_FALSE(reads(replaced(text, "0 2 3 1", "1 2 3 1")));       // unknown kernel
  CHECK_FALSE(reads(replaced(text, "0 2 3 1", "0 2147483649 3 1")));
  CHECK_FALSE(reads(replaced(text, "f32", "f31")));
  CHECK_FALSE(reads(replaced(text, "steps 1", "steps 99999999999999999999")));
}
