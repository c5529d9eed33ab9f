#include "author/llm/prompt.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "author/llm/template.h"
#include "base/file.h"
#include "base/secret.h"
#include "graph/scalar.h"

using namespace kw;
using namespace kw::author;

namespace {

graph::Problem toy_problem() {
  graph::GraphBuilder g;
  const auto x = g.input(DType::f32, {24, 40}, "x");
  const auto w = g.param("fc.weight", graph::ParamKind::parameter, DType::f32, {33, 40});
  g.output(g.contract(x, {0, 2}, w, {1, 2}, {0, 1}));
  graph::Problem problem;
  problem.name = "toy";
  problem.source = "toy.pt2";
  problem.graph = g.take();
  problem.domains.push_back({-1, 1, 0, 0.5, true, false});
  return problem;
}

target::Facts machine() {
  target::Facts facts;
  facts.name = "A machine";
  facts.isa = "avx2";
  facts.threads = 4;
  return facts;
}

Brochure toy_brochure(std::vector<Reference> references = {}) {
  return *make_brochure(toy_problem(), machine(), 2e-6, references, {});
}

/// Compares with the file, or writes it where KW_UPDATE_GOLDEN is set.
void check_golden(const std::string& name, const std::string& text) {
  const std::string path = "tests/author/golden/" + name;
  if (std::getenv("KW_UPDATE_GOLDEN")) std::ofstream(path) << text;
  const auto golden = read_file(path);
  REQUIRE_MESSAGE(golden.ok(), "run with KW_UPDATE_GOLDEN=1 to write it");
  CHECK(*golden == text);
}

History a_history() {
  History history{.hint = "Write it.", .incumbent = Incumbent{"a/b", "best();", "{\"p\":1}", 3e-5, false}, .items = {}};
  for (int i = 1; i <= 4; ++i)
    history.items.push_back(
        {i, "try" + std::to_string(i) + "();\n", "{\"p\":" + std::to_string(i + 1) + "}", "rejected."});
  return history;
}

}  // namespace

TEST_CASE("the prompt, word for word") {
  const Brochure brochure = toy_brochure({{"a CUDA kernel", "cuda", "__global__ void k();", ""}});
  check_golden("system_cpu.md", brochure.system);
  check_golden("problem.md", brochure.problem);
  check_golden("history.md", make_prompt(brochure, a_history()).history);
}

TEST_CASE("the fixed parts are the same bytes for every attempt, and the newest tries come with their source") {
  const Brochure brochure = toy_brochure();
  const Prompt first = make_prompt(brochure, {.hint = "Go.", .incumbent = {}, .items = {}});
  const Prompt later = make_prompt(toy_brochure(), a_history());
  CHECK(first.system == later.system);
  CHECK(first.problem == later.problem);
  CHECK(later.history.find("try1();") == std::string::npos);
  CHECK(later.history.find("try4();") != std::string::npos);
  CHECK(later.history.find("Attempt 1 of yours: rejected.") != std::string::npos);
  CHECK(later.history.find("best();") != std::string::npos);
}

TEST_CASE("a target without words for it is refused, not guessed") {
  target::Facts facts = machine();
  facts.target = "abacus";
  CHECK(make_brochure(toy_problem(), facts, 1, {}, {}).failure().id == "author.target");
}

TEST_CASE("secrets reach no prompt and no brief") {
  register_secret("sk-in-the-source-1");
  const Brochure brochure = toy_brochure({{"mine", "cpp", "// sk-in-the-source-1", ""}});
  CHECK(brochure.problem.find("sk-in-the-source-1") == std::string::npos);
  History history = a_history();
  history.items[3].words = "HTTP 401: sk-in-the-source-1";
  CHECK(make_prompt(brochure, history).history.find("sk-in-the-source-1") == std::string::npos);
  const std::string brief = brief_json(toy_problem(), machine(), brochure, history);
  CHECK(brief.find("sk-in-the-source-1") == std::string::npos);
  CHECK(nlohmann::json::parse(brief)["attempts"].size() == 4);
}

TEST_CASE("templates: a fence is longer than any inside, names and values must match") {
  CHECK(fill("a {{x}} b {{x}}", {{"x", "1"}}) == "a 1 b 1");
  CHECK(fill("{{x}}", {{"x", "{{y}}"}}) == "{{y}}");
  CHECK_THROWS_AS((void)fill("{{x}}", {}), BugError);
  CHECK_THROWS_AS((void)fill("", {{"x", "1"}}), BugError);
  CHECK(fenced("cpp", "a```b") == "````cpp\na```b\n````\n");
}
