#include "emulator/lint/lint.h"

#include <doctest/doctest.h>

#include <set>
#include <sstream>

#include "base/file.h"

using namespace kw;
using namespace kw::emulator;

namespace {

struct Case {
  std::string rule, words, source;
  uint32_t line = 0;
};

std::vector<Case> read_cases(const std::string& path) {
  std::istringstream text(read_file(path).value_or_throw());
  std::vector<Case> cases;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("#") && cases.empty()) continue;
    if (!line.starts_with("=== ")) {
      cases.back().source += line + "\n";
      continue;
    }
    Case made;
    std::istringstream head(line.substr(4));
    head >> made.rule >> made.line;
    std::getline(head >> std::ws, made.words);
    cases.push_back(made);
  }
  return cases;
}

std::vector<Finding> findings_of(const std::string& source, Dialect dialect = Dialect::metal) {
  const auto lexed = lex(source, "case", dialect);
  REQUIRE_MESSAGE(lexed.ok(), lexed.failure().message);
  const auto declarations = outline(*lexed);
  const auto kernels = find_kernels(*lexed, declarations);
  REQUIRE_MESSAGE(kernels.ok(), kernels.failure().message);
  return lint(*lexed, declarations, *kernels);
}

void check_rules(const std::string& path, Dialect dialect) {
  std::set<std::string> shown;
  for (const Case& one : read_cases(path)) {
    INFO(one.source);
    const auto findings = findings_of(one.source, dialect);
    if (one.rule == "ok") {
      CHECK_MESSAGE(findings.empty(), (findings.empty() ? "" : findings[0].rule + ": " + findings[0].message));
      continue;
    }
    shown.insert(one.rule);
    bool found = false;
    for (const Finding& finding : findings)
      found = found || (finding.rule == one.rule && finding.line == one.line &&
                        finding.message.find(one.words) != std::string::npos);
    CHECK_MESSAGE(found, one.rule << " should say \"" << one.words
                                  << "\"; first: " << (findings.empty() ? "nothing" : findings[0].message));
  }
  for (const LintRule& rule : lint_rules(dialect))
    CHECK_MESSAGE(shown.count(std::string(rule.name)), rule.name << " has no example");
}

}  // namespace

TEST_CASE("every rule for Metal finds its example at its line, and nothing where there is nothing") {
  check_rules("tests/emulator/lint_cases.txt", Dialect::metal);
}

TEST_CASE("every rule for CUDA finds its example at its line, and nothing where there is nothing") {
  check_rules("tests/emulator/cuda_lint_cases.txt", Dialect::cuda);
}

TEST_CASE("findings come once a line, in order") {
  const auto findings = findings_of("double a(double x) { return x; }\nfloat* b;\ndouble c();\n");
  REQUIRE(findings.size() >= 2);
  CHECK(findings.front().line == 1);
  CHECK(findings.back().line == 3);
}
