#include "emulator/front/lexer.h"

#include <doctest/doctest.h>

using namespace kw;
using namespace kw::emulator;

namespace {
std::vector<std::string> texts(const Lexed& lexed) {
  std::vector<std::string> all;
  for (const Token& token : lexed.tokens) all.emplace_back(token.text);
  return all;
}
}  // namespace

TEST_CASE("tokens and gaps give the source back") {
  const std::string source = "kernel void f(device float* x [[buffer(0)]]) {\n  x[0] = 1e-3h + 0x1fu; // end\n}\n";
  const auto lexed = lex(source, "a.metal");
  REQUIRE(lexed.ok());
  std::string again;
  for (const Token& token : lexed->tokens) again += std::string(token.gap) + std::string(token.text);
  CHECK(again == source);
}

TEST_CASE("numbers keep their exponents, template lists their single brackets") {
  const auto lexed = lex("a<b<1>>+1.5e+3f-.5h-0x1p-2-0xe+1", "a.metal");
  REQUIRE(lexed.ok());
  CHECK(texts(*lexed) == std::vector<std::string>{"a", "<", "b", "<", "1", ">", ">", "+", "1.5e+3f", "-", ".5h", "-",
                                                  "0x1p-2", "-", "0xe", "+", "1", ""});
}

TEST_CASE("line markers say where a token stands") {
  const auto lexed = lex("# 1 \"u.metal\"\nx\n# 40 \"in \\\"c.h\" 1\n\ny R\"(a\nb)\" z\n", "unit");
  REQUIRE(lexed.ok());
  CHECK(lexed->tokens[1].line == 1);
  CHECK(lexed->files[lexed->tokens[1].file] == "u.metal");
  CHECK(lexed->tokens[3].line == 41);
  CHECK(lexed->files[lexed->tokens[3].file] == "in \"c.h");
  CHECK(lexed->tokens[5].text == "z");
  CHECK(lexed->tokens[5].line == 42);
}

TEST_CASE("what is left open is named with its line") {
  CHECK(lex("a\n{ (b }\n", "k.metal").failure().message == "k.metal:2: this '}' closes nothing that is open");
  CHECK(lex("a\n\n{ b \n", "k.metal").failure().message == "k.metal:3: the '{' that is opened here is never closed");
  CHECK(lex("\n/* x", "k.metal").failure().message == "k.metal:2: the comment that starts here has no end");
  CHECK(lex("\n\"x", "k.metal").failure().message == "k.metal:2: the string that starts here has no end");
}
