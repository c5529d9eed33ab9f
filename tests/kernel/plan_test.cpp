#include <doctest/doctest.h>

#include <string>

#include "base/random.h"
#include "kernel/candidate.h"
#include "kernel/plan.h"

using namespace kw;
using namespace kw::kernel;

namespace {

const char* const good_plan = R"json({"format": "kernelwright-plan/1", "target": "cpu", "isa": "avx2",
 "symbols": {"B": {"input": 0, "dim": 0}, "N": {"input": 0, "dim": 1}},
 "guards": ["N % 4 == 0"],
 "buffers": {"x": {"role": "input", "index": 0}, "w": {"role": "parameter", "name": "fc.weight", "dtype": "f32"},
             "m": {"role": "state", "name": "mean"},
             "wt": {"role": "prepared", "dtype": "f32", "shape": ["N", "N"]},
             "s": {"role": "scratch", "dtype": "f64", "shape": ["ceil_div(B, 4)"]},
             "y": {"role": "output", "index": 0, "dtype": "f32", "shape": ["B", "N"]}},
 "prepare": [{"kernel": "transpose", "args": ["w", "wt", {"u32": "N"}], "groups": ["N/4", "N/4", 1]}],
 "steps": [{"kernel": "rows", "args": ["x", "wt", "y", "m", "s", {"f32": 0.5}, {"i64": "N*B"}], "groups": ["B", 1, 1]},
           {"repeat": 3, "index": "t", "steps": [{"kernel": "turn", "args": ["y", {"i32": "t*2"}]}]}]})json";

Signature good_signature() {
  Signature s;
  s.inputs = {{DType::f32, {6, 8}}};
  s.outputs = {{DType::f32, {6, 8}}};
  s.parameters = {{"fc.weight", {DType::f32, {8, 8}}}, {"mean", {DType::f32, {8}}}};
  s.states = {"mean"};
  return s;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}
Failure parse_failure(const std::string& text) {
  auto plan = parse_plan(text);
  REQUIRE_FALSE(plan.ok());
  return plan.failure();
}
Failure bind_failure(const std::string& text, const Signature& signature = good_signature(),
                     const Limits& limits = {}) {
  auto plan = parse_plan(text);
  INFO((plan.ok() ? "" : plan.failure().message));
  REQUIRE(plan.ok());
  auto bound = bind_plan(*plan, signature, limits);
  REQUIRE_FALSE(bound.ok());
  return bound.failure();
}
int64_t value_of(const std::string& text) {
  auto e = SizeExpr::parse(text);
  REQUIRE(e.ok());
  auto v = e->evaluate({{"B", 6}, {"N", 8}});
  REQUIRE(v.ok());
  return *v;
}

}  // namespace

TEST_CASE("plan: sizes evaluate with floor division and 64-bit checks") {
  CHECK(value_of("3 + 4*B - 2") == 25);
  CHECK(value_of("-7 / 2") == -4);
  CHECK(value_of("(0-7) % 3") == 2);
  CHECK(value_of("ceil_div(N, 3)") == 3);
  CHECK(value_of("min(B, N) * max(B, N+1)") == 54);
  CHECK(value_of("20 - 5 - 3") == 12);
  CHECK(value_of("N % 4 == 0") == 1);
  CHECK(value_of("B > N") == 0);
  CHECK(value_of("B <= 6") == 1);
  CHECK(value_of(" ( ( B ) ) ") == 6);
}

TEST_CASE("plan: sizes that are refused") {
  struct Row {
    const char* text;
    const char* message;
  };
  const Row rows[] = {
      {"", "size `` ends where a number or name is expected"},
      {"3 +", "size `3 +` ends where a number or name is expected"},
      {"3 $ 4", "size `3 $ 4` has unexpected `$ 4`"},
      {"(B", "size `(B` lacks `)`"},
      {"abs(B)", "size `abs(B)` calls the unknown function `abs`"},
      {"min(B)", "size `min(B)` lacks `,` in min"},
      {"99999999999999999999", "size `99999999999999999999` has a number that does not fit 64 bits"},
  };
  for (const auto& row : rows) {
    auto parsed = SizeExpr::parse(row.text);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.failure().id == "plan.size");
    CHECK(parsed.failure().message == row.message);
  }
  CHECK_FALSE(SizeExpr::parse(std::string(200, '(') + "1" + std::string(200, ')')).ok());
  CHECK_FALSE(SizeExpr::parse(std::string(600, '1')).ok());
  auto zero = SizeExpr::parse("4 / (B - 6)");
  REQUIRE(zero.ok());
  CHECK(zero->evaluate({{"B", 6}}).failure().message == "size `4 / (B - 6)` divides by zero");
  CHECK(zero->evaluate({}).failure().id == "plan.symbol");
  CHECK(SizeExpr::parse("B*B*B")->evaluate({{"B", int64_t{1} << 40}}).failure().id == "plan.arithmetic");
}

TEST_CASE("plan: a good Plan binds and comes back from its own JSON") {
  auto plan = parse_plan(good_plan);
  REQUIRE(plan.ok());
  auto bound = bind_plan(*plan, good_signature());
  INFO((bound.ok() ? "" : bound.failure().message));
  REQUIRE(bound.ok());
  CHECK(bound->buffers.size() == 6);
  CHECK(bound->buffers[3].shape == std::vector<int64_t>{8, 8});
  CHECK(bound->buffers[3].bytes == 256);
  CHECK(bound->buffers[4].bytes == 16);
  CHECK(bound->prepare.size() == 1);
  CHECK(bound->prepare[0].groups == std::array<int64_t, 3>{2, 2, 1});
  REQUIRE(bound->steps.size() == 4);
  CHECK(bound->steps[0].arg_types == std::vector<std::string>{"f32*", "f32*", "f32*", "f32*", "f64*", "f32", "i64"});
  CHECK(std::get<int64_t>(bound->steps[0].args[6]) == 48);
  CHECK(std::get<int64_t>(bound->steps[3].args[1]) == 4);
  const std::string text = to_json(*plan);
  auto again = parse_plan(text);
  REQUIRE(again.ok());
  CHECK(to_json(*again) == text);
  CHECK(bind_plan(*again, good_signature()).ok());
}

TEST_CASE("plan: what the parser refuses") {
  struct Row {
    std::string text, message;
  };
  const std::string good = good_plan;
  const Row rows[] = {
      {"[]", "plan: the plan must be an object"},
      {replaced(good, "kernelwright-plan/1", "other/2"), "plan: format is not `kernelwright-plan/1`"},
      {replaced(good, "\"cpu\"", "\"tpu\""), "plan: target is unknown"},
      {replaced(good, "\"guards\"", "\"gards\""), "plan: the plan has the unknown key `gards`"},
      {replaced(good, "\"role\": \"scratch\"", "\"role\": \"heap\""), "plan: buffer `s`.role is unknown"},
      {replaced(good, "\"role\": \"scratch\", \"dtype\": \"f64\"", "\"role\": \"scratch\""),
       "plan: buffer `s` lacks `dtype`"},
      {replaced(good, "\"f64\"", "\"f65\""), "plan: buffer `s`.dtype is no dtype"},
      {replaced(good, "\"index\": 0}, \"w\"", "\"index\": -1}, \"w\""),
       "plan: buffer `x`.index is -1, outside 0 to 1048576"},
      {replaced(good, "{\"u32\": \"N\"}", "{\"u9\": \"N\"}"), "plan: prepare[0].args has the unknown type `u9`"},
      {replaced(good, "\"kernel\": \"rows\"", "\"kernel\": \"rows; exit()\""),
       "plan: steps[0].kernel is `rows; exit()`, which is no name"},
      {replaced(good, "\"y\": {\"role\": \"output\"", "\"x\": {\"role\": \"output\""),
       "plan: key `x` appears twice in one object"},
      {replaced(good, "\"N/4\"", "\"N/\""),
       "plan: prepare[0].groups: size `N/` ends where a number or name is expected"},
      {replaced(good, "\"repeat\": 3", "\"repeat\": 1e3"),
       "plan: steps[1].repeat must be an integer of at most 64 bits"},
      {replaced(good, "\"repeat\": 3", "\"repeat\": 18446744073709551615"),
       "plan: steps[1].repeat must be an integer of at most 64 bits"},
  };
  for (const auto& row : rows) CHECK(parse_failure(row.text).message == row.message);
  CHECK(parse_failure("{").id == "plan.json");
  CHECK(parse_failure(std::string(100000, '[')).message == "plan: the JSON is nested deeper than 24");
}

TEST_CASE("plan: what binding refuses") {
  struct Row {
    std::string text, id, message;
  };
  const std::string good = good_plan;
  const Row rows[] = {
      {replaced(good, "N % 4", "N % 5"), "plan.guard", "plan: guard `N % 5 == 0` does not hold for B=6 N=8"},
      {replaced(good, "\"dim\": 1", "\"dim\": 2"), "plan.symbol", "plan: symbol `N` names dimension 2 of shape [6, 8]"},
      {replaced(good, "\"N\": {\"input\": 0", "\"N\": {\"input\": 4"), "plan.symbol",
       "plan: symbol `N` names input 4 of 1"},
      {replaced(good, "fc.weight", "fc.bias"), "plan.role",
       "plan: buffer `w`: the module has no parameter or buffer `fc.bias`"},
      {replaced(good, "fc.weight", "mean"), "plan.role", "plan: buffer `w`: `mean` changes in a call"},
      {replaced(good, "\"name\": \"mean\"", "\"name\": \"fc.weight\""), "plan.role",
       "plan: buffer `m`: `fc.weight` does not change in a call"},
      {replaced(good, "\"index\": 0, \"dtype\"", "\"index\": 1, \"dtype\""), "plan.role",
       "plan: buffer `y`: output 1 does not exist, the module has 1"},
      {replaced(good, "[\"B\", \"N\"]", "[\"B\", \"N+1\"]"), "plan.shape",
       "plan: buffer `y` is declared [6, 9], the module has [6, 8]"},
      {replaced(good, "\"dtype\": \"f32\", \"shape\": [\"B\"", "\"dtype\": \"f16\", \"shape\": [\"B\""), "plan.dtype",
       "plan: buffer `y` is declared f16, the module has f32"},
      {replaced(good, "[\"x\", \"wt\"", "[\"z\", \"wt\""), "plan.buffer",
       "plan: kernel `rows` names the unknown buffer `z`"},
      {replaced(good, "[\"w\", \"wt\"", "[\"x\", \"wt\""), "plan.role",
       "plan: kernel `transpose` in prepare uses `x`, which is input"},
      {replaced(good, "\"kernel\": \"turn\"", "\"kernel\": \"rows\""), "plan.arity",
       "plan: kernel `rows` is launched with different argument types"},
      {replaced(replaced(good, "\"wt\", \"y\", \"m\"", "\"wt\", \"m\""), "[\"y\", {\"i32\"", "[\"s\", {\"i32\""),
       "plan.unwritten", "plan: output buffer `y` is an argument of no step"},
      {replaced(good, "\"y\", \"m\"", "\"y\""), "plan.unwritten", "plan: state buffer `m` is an argument of no step"},
      {replaced(good, "[\"w\", \"wt\"", "[\"w\", \"s\""), "plan.unwritten",
       "plan: prepared buffer `wt` is used but no prepare step has it"},
      {replaced(good, "[\"ceil_div(B, 4)\"]", "[\"B - 7\"]"), "plan.shape",
       "plan: buffer `s` has the negative size -1"},
      {replaced(good, "[\"ceil_div(B, 4)\"]", "[1099511627776, 1099511627776]"), "plan.limit",
       "plan: buffer `s` [1099511627776, 1099511627776] exceeds the limit of 1099511627776 bytes for all buffers"},
      {replaced(good, "\"repeat\": 3", "\"repeat\": 70000"), "plan.limit",
       "plan: a repeat of 70000 turns is outside 0 to 65536"},
      {replaced(good, "\"index\": \"t\"", "\"index\": \"N\""), "plan.symbol",
       "plan: repeat index `N` hides another symbol or is no name"},
      {replaced(good, "\"t*2\"", "\"t*4000000000\""), "plan.arithmetic",
       "plan: kernel `turn`: 4000000000 does not fit i32"},
      {replaced(good, "\"groups\": [\"B\", 1, 1]", "\"groups\": [\"B\", 1, 1], \"group\": [2]"), "plan.limit",
       "plan: kernel `rows`: group has 2, allowed are 1 to 1 in all"},
      {replaced(good, "\"groups\": [\"B\", 1, 1]", "\"groups\": [\"0-B\"]"), "plan.limit",
       "plan: kernel `rows`: groups has -6, allowed are 0 to 2147483648 in all"},
  };
  for (const auto& row : rows) {
    const Failure failure = bind_failure(row.text);
    CHECK(failure.id == row.id);
    CHECK(failure.message == row.message);
  }
  const std::string nested = replaced(good, "{\"kernel\": \"turn\", \"args\": [\"y\", {\"i32\": \"t*2\"}]}",
                                      R"({"repeat": 60000, "index": "u", "steps": [
                                          {"repeat": 60000, "index": "v", "steps": []}]})");
  CHECK(bind_failure(nested).message == "plan: more than 65536 turns of repeats");
  Limits few;
  few.max_args = 3;
  CHECK(bind_failure(good, good_signature(), few).message == "plan: kernel `rows` has more than 3 arguments");
}

TEST_CASE("plan: mutated texts are answered, never a crash") {
  Random random(11);
  const std::string good = good_plan;
  int accepted = 0;
  for (int turn = 0; turn < 20000; ++turn) {
    std::string text = good;
    const int edits = static_cast<int>(random.integer(1, 4));
    for (int i = 0; i < edits; ++i) {
      const auto at = static_cast<size_t>(random.integer(0, static_cast<int64_t>(text.size()) - 1));
      const auto length = static_cast<size_t>(random.integer(0, 12));
      const auto from = static_cast<size_t>(random.integer(0, static_cast<int64_t>(good.size()) - 1));
      const int kind = static_cast<int>(random.integer(0, 3));
      if (kind == 0) text[at] = static_cast<char>(random.integer(0, 255));
      if (kind == 1) text.erase(at, length);
      if (kind == 2) text.insert(at, good.substr(from, length));
      if (kind == 3) text.insert(at, "999999999999");
      if (text.empty()) text = "{";
    }
    auto plan = parse_plan(text);
    if (!plan) {
      CHECK_FALSE(plan.failure().message.empty());
      continue;
    }
    ++accepted;
    (void)bind_plan(*plan, good_signature()).ok();
    CHECK(parse_plan(to_json(*plan)).ok());
  }
  CHECK(accepted > 100);
}

TEST_CASE("candidate: the key tells source from plan, the signature names states") {
  Candidate a{"ab", "c", "", "", {}}, b{"a", "bc", "", "", {}};
  CHECK(a.key() != b.key());
  CHECK(a.key().size() == 64);
  graph::GraphBuilder builder;
  auto x = builder.input(DType::f32, {4}, "x");
  auto w = builder.param("w", graph::ParamKind::buffer, DType::f32, {4});
  auto y = builder.map2(graph::ScalarOp::add, x, w);
  builder.output(y);
  builder.state("w", y);
  auto signature = signature_of(builder.take());
  CHECK(signature.inputs.size() == 1);
  CHECK(signature.outputs.size() == 1);
  CHECK(signature.states == std::vector<std::string>{"w"});
  CHECK(signature.parameters.at("w").shape == std::vector<int64_t>{4});
}
