#include "author/llm/reply.h"

#include <doctest/doctest.h>

#include "author/llm/feedback.h"

using namespace kw;
using namespace kw::author;

namespace {

const std::string kSource = "KW_KERNEL void k(float* y, KwGroup group) { y[0] = 1; }\n";
const std::string kPlan = R"({"steps":[{"kernel":"k","args":["y"]}]})";

Result<ParsedReply> parse(const std::string& text) { return parse_reply(text, *find_language("cpu")); }

std::string block(const std::string& fence, const std::string& tag, const std::string& body) {
  return fence + tag + "\n" + body + "\n" + fence + "\n";
}

}  // namespace

TEST_CASE("a reply's form is forgiven") {
  const std::string source = kSource.substr(0, kSource.size() - 1);
  const std::vector<std::pair<const char*, std::string>> rows = {
      {"as asked", block("```", "cpp", source) + block("```", "json", kPlan)},
      {"plan first", block("```", "json", kPlan) + block("```", "cpp", source)},
      {"tildes", block("~~~", "cpp", source) + block("~~~~", "json", kPlan)},
      {"other tags", block("```", "C++ kernel.cpp", source) + block("```", "jsonc", kPlan)},
      {"braces", block("```", "{.cpp}", source) + block("```", "JSON", kPlan)},
      {"no tags", block("```", "", source) + block("```", "", kPlan)},
      {"text around",
       "Sure!\n\n" + block("```", "cpp", source) + "\nand the plan:\n" + block("```", "json", kPlan) + "Done."},
      {"thoughts", "<think>\n" + block("```", "cpp", "draft") + "</think>" + block("```", "cpp", source) +
                       block("```", "json", kPlan)},
      {"lost think tag",
       block("```", "cpp", "draft") + "</think>" + block("```", "cpp", source) + block("```", "json", kPlan)},
      {"a draft before", block("```", "cpp", "draft") + block("```", "cpp", source) + block("```", "json", kPlan)},
      {"last fence open", block("```", "cpp", source) + "```json\n" + kPlan},
      {"trailing commas",
       block("```", "cpp", source) + block("```", "json", R"({"steps":[{"kernel":"k","args":["y",],},],})")},
      {"comments", block("```", "cpp", source) + block("```", "json", "// the plan\n" + kPlan)},
      {"wrapped plan", block("```", "cpp", source) + block("```", "json", "{\"plan\": " + kPlan + "}")},
      {"indented", "1. Source:\n   ```cpp\n" + source + "\n   ```\n" + block("```", "json", kPlan)},
      {"longer fence", block("`````", "cpp", source) + block("```", "json", kPlan)},
  };
  for (const auto& [name, text] : rows) {
    CAPTURE(name);
    const auto reply = parse(text);
    REQUIRE_MESSAGE(reply.ok(), reply.failure().message);
    CHECK(reply->source == kSource);
    CHECK(reply->plan_json.find("\"kernel\":\"k\"") != std::string::npos);
    std::string crlf;
    for (const char c : text) crlf += c == '\n' ? "\r\n" : std::string(1, c);
    const auto windows = parse(crlf);
    REQUIRE(windows.ok());
    CHECK(windows->source == kSource);
  }
  const auto object = parse(R"({"source": "int x;", "plan": {"steps": []}})");
  REQUIRE(object.ok());
  CHECK(object->source == "int x;");
  CHECK(parse(block("```", "json", R"({"source": "int x;", "plan": {"steps": []}})"))->source == "int x;");
}

TEST_CASE("nothing but form is forgiven") {
  CHECK(parse("").failure().id == "reply.source");
  CHECK(parse("The capital of France is Paris.").failure().id == "reply.source");
  CHECK(parse(block("```", "python", "import torch")).failure().id == "reply.source");
  CHECK(parse(block("```", "cpp", kSource)).failure().id == "reply.plan");
  CHECK(parse(block("```", "cpp", kSource) + block("```", "json", "{\"steps\": [}")).failure().message ==
        "the `json` block of the reply is not valid JSON");
  CHECK(parse("```cpp\n" + kSource).failure().id == "reply.cut");
  CHECK(parse(block("```", "cpp", kSource) + block("```", "json", std::string(200, '['))).failure().id == "reply.plan");
  // A wrong Plan is handed on as it is: the judge says what is wrong with it.
  CHECK(parse(block("```", "cpp", kSource) + block("```", "json", R"({"steps": 7, "colour": "red"})"))->plan_json ==
        R"({"steps":7,"colour":"red"})");
}

TEST_CASE("feedback quotes the lines that the compiler names, and the witness") {
  judge::Verdict verdict;
  verdict.outcome = judge::Outcome::rejected;
  verdict.gate = "compile";
  verdict.reason =
      "the kernel source does not compile:\ncandidate.cpp:2:3: error: 'z' was not declared\n [compile.error]";
  const std::string words = feedback_of(verdict, "first\n  z = 1;\nthird\n");
  CHECK(words.find("rejected at the gate `compile`") == 0);
  CHECK(words.find("   2 |   z = 1;\n") != std::string::npos);
  verdict.gate = "numerics.own";
  verdict.reason = "3 of 8 elements are wrong";
  verdict.witness = judge::Witness{
      .suite = "normal", .seed = 5, .output = 0, .index = {3, 7}, .expected = 1.5, .got = 2, .bound = 1e-6};
  const std::string numbers = feedback_of(verdict, "");
  CHECK(numbers.find("with normal inputs, output 0 at [3, 7] should be 1.5 and is 2; at most 1e-06 off") !=
        std::string::npos);
  CHECK(numbers.find('5' + std::string(" seed")) == std::string::npos);
  CHECK(feedback_of_time(2e-5, 1e-5, 5e-6) ==
        "verified, 20 us a call. The best so far takes 10 us, 2.00 times less. The machine's limits would allow 5 us "
        "(25% of it is reached).");
}
