#include <doctest/doctest.h>

#include "target/cpu/elf_check.h"
#include "target/cpu/source_check.h"
#include "target/cpu/toolchain.h"

using namespace kw;
using namespace kw::target;

TEST_CASE("source that stays inside its translation unit passes") {
  CHECK(check_source("// asm #include \"x\"\n#define N 4\n#pragma GCC unroll 4\nconst char* s = \"asm\\\"\";\n").ok());
  CHECK(check_source("KW_KERNEL void f(float* y, KwGroup g) { y[g.x] = 1'000; }\n").ok());
}

TEST_CASE("source that reaches outside is refused, however it is spelled") {
  for (const char* text : {"#include <stdio.h>",
                           "  #  include \"x\"",
                           "#in\\\nclude <x>",
                           "%:include <x>",
                           "/* */ # include <x>",
                           "void f() { asm(\"nop\"); }",
                           "void f() { __as\\\nm__(\"nop\"); }",
                           "#define A(x, y) x##y",
                           "#pragma GCC push_options",
                           "#line 4 \"x\"",
                           "#embed \"/etc/passwd\"",
                           "__attribute__((constructor)) void f() {}",
                           "[[gnu::constructor]] void f() {}",
                           "thread_local int x;",
                           "const char* s = R\"(x)\";",
                           "const char* f = __FILE__;",
                           "int \\u0061sm;",
                           "__attribute__((section(\".x\"))) int x;",
                           "#if __has_include(<x>)\n#endif",
                           "_Pragma(\"x\")",
                           "void f(int c) { switch (c) { case'\"': asm(\"nop\"); } }"}) {
    CAPTURE(text);
    const Status status = check_source(text);
    REQUIRE_FALSE(status.ok());
    CHECK(status.failure().id == "source.forbidden");
  }
  CHECK(check_source("int a;\nint b;\n#include <x>\n").failure().message.find("line 3") != std::string::npos);
}

TEST_CASE("a damaged binary is refused, not read past its end") {
  std::vector<std::byte> bytes(4096, std::byte{0x7f});
  CHECK(check_binary(bytes).failure().id == "binary.damaged");
  CHECK(check_binary({}).failure().id == "binary.damaged");
}
