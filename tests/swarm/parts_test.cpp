#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "base/file.h"
#include "base/random.h"
#include "swarm/bandit.h"
#include "swarm/memory.h"
#include "swarm/normalise.h"
#include "swarm/purse.h"
#include "swarm/seat.h"

using namespace kw;
using namespace kw::swarm;

TEST_CASE("the purse: many threads, random prices, never a picodollar over the budget") {
  Purse purse(1000000, 0);
  std::atomic<int64_t> spent{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      Random random(static_cast<uint64_t>(i) + 1);
      while (true) {
        const int64_t bound = random.integer(1000, 60000);
        const auto taken = purse.reserve(bound / 4, bound, {});
        if (!taken) return;
        if (*taken < bound / 4 || *taken > bound || purse.left() < 0) over = true;
        const int64_t cost = random.integer(0, *taken);
        purse.settle(*taken, cost);
        spent += cost;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(over);
  CHECK(purse.spent() == spent);
  CHECK(purse.spent() <= 1000000);
  CHECK(purse.spent() > 900000);
}

TEST_CASE("the purse waits for what is under way before it says no") {
  Purse purse(100, 0);
  const auto first = *purse.reserve(80, 80, {});
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    purse.settle(first, 10);
  });
  CHECK(*purse.reserve(80, 90, {}) == 90);
  later.join();
  CHECK(purse.reserve(1, 1, [] { return true; }).failure().id == "stopped");
  purse.settle(90, 90);
  CHECK(purse.reserve(1, 1, {}).failure().id == "budget.spent");
  CHECK(*purse.reserve(0, 0, {}) == 0);  // a free author is always served
}

TEST_CASE("the bandit prefers gain per cost, and tries what it does not know") {
  const Arm good{"good", 3, 1.0, author::from_usd(0.01), 10, 100};
  const Arm dear{"dear", 3, 1.0, author::from_usd(1.0), 10, 100};
  const Arm useless{"useless", 3, 0, author::from_usd(0.01), 10, 100};
  const Arm unknown{"unknown", 0, 0, 0, 0, 100};
  CHECK(score(good, 9) > score(dear, 9));
  CHECK(score(good, 9) > score(useless, 9));
  CHECK(score(unknown, 9) > score(useless, 9));
  CHECK(choose({useless, good, dear}, 9, 1000).arm == 1);
  CHECK(choose({useless, good, dear}, 9, 150).why.find("money is short") != std::string::npos);
  CHECK(choose({}, 0, 0).arm == -1);
}

TEST_CASE("equal candidates have equal keys, whatever their form; others do not") {
  const std::string plan = R"({"steps":[{"kernel":"k","args":["x","y"]}],"target":"cpu"})";
  const std::string same_plan = R"({ "target": "cpu", "steps": [ {"args":["x","y"], "kernel":"k"} ] })";
  const std::string source =
      "KW_KERNEL void k(const float* x, float* y, KwGroup g) { for (int i = 0; i < 8; ++i) y[i] = x[i] + 1.5e-3f; }";
  const std::string renamed =
      "// fast\nKW_KERNEL void k(const float*  in,float* out, KwGroup group)\n{\n  /* go */ for (int j = 0; j < 8; "
      "++j)\n out[j] = in[j] + 1.5e-3f; }\n";
  CHECK(normal_key(source, plan) == normal_key(renamed, same_plan));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"1.5e-3f", "1.5e-4f"},
                                                                                 {"x[i] + ", "x[i] - "},
                                                                                 {"i < 8", "i <= 8"},
                                                                                 {"float* y", "double* y"},
                                                                                 {"y[i] = x[i]", "x[i] = y[i]"},
                                                                                 {"+ 1.5e-3f", "+ kw_exp(1.5e-3f)"},
                                                                                 {"++i", "i++"}}) {
    std::string other = source;
    REQUIRE(other.find(from) != std::string::npos);
    other.replace(other.find(from), from.size(), to);
    CHECK_MESSAGE(normal_key(other, plan) != normal_key(source, plan), to);
  }
  CHECK(normal_key(source, plan) !=
        normal_key(source, R"({"steps":[{"kernel":"k","args":["y","x"]}],"target":"cpu"})"));
  CHECK(normal_key("a b", "no json") != normal_key("a b", "no  json"));
  CHECK(normal_source("#define N 8\nint a = N;", plan) != normal_source("#define N 8 int a = N;", plan));
}

TEST_CASE("names of the language are no names of the source's own") {
  const std::string plan = R"({"steps":[{"kernel":"k"}],"target":"metal"})";
  const std::string source =
      "#include <metal_stdlib>\nusing namespace metal;\nstruct Two { float a; float b; };\n"
      "kernel void k(device const float* x [[buffer(0)]], device float* y [[buffer(1)]], "
      "uint i [[thread_position_in_grid]]) { const Two t = {x[i], 2}; y[i] = max(t.a, M_PI_F) * simd_sum(t.b); return; "
      "}";
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string other = source;
    REQUIRE(other.find(from) != std::string::npos);
    for (size_t at = 0; (at = other.find(from, at)) != std::string::npos; at += to.size())
      other.replace(at, from.size(), to);
    return normal_key(other, plan);
  };
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"max", "min"},
                                                        {"M_PI_F", "M_E_F"},
                                                        {"simd_sum", "simd_max"},
                                                        {"float a; float b;", "float b; float a;"},
                                                        {"thread_position_in_grid", "thread_index_in_simdgroup"},
                                                        {"device float*", "device half*"}})
    CHECK_MESSAGE(with(from, to) != normal_key(source, plan), from);
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"Two", "Pair"}, {"t.", "t . "}})
    CHECK_MESSAGE(with(from, to) == normal_key(source, plan), from);
}

TEST_CASE("among equally fast finalists the earlier attempt wins, whatever the noise") {
  const auto order = [](std::vector<Finalist> list) {
    std::string text;
    for (const Finalist& f : ranked(std::move(list)))
      text += std::to_string(f.number) + "." + std::to_string(f.index) + " ";
    return text;
  };
  CHECK(order({{{}, 1.00e-5, 3, 0}, {{}, 1.02e-5, 1, 1}, {{}, 2e-5, 1, 0}}) == "1.1 3.0 1.0 ");
  CHECK(order({{{}, 1.02e-5, 3, 0}, {{}, 1.00e-5, 1, 1}, {{}, 2e-5, 1, 0}}) == "1.1 3.0 1.0 ");
  CHECK(order({{{}, 1.00e-5, 3, 0}, {{}, 1.10e-5, 1, 1}}) == "3.0 1.1 ");
}

TEST_CASE("percentiles") {
  CHECK(percentile({}, 0.5) == 0);
  CHECK(percentile({3, 1, 2}, 0.5) == 2);
  CHECK(percentile({5, 1, 2, 3, 4}, 0.95) == 5);
}

namespace {

graph::Graph rows_graph(int64_t width, bool exponent) {
  graph::GraphBuilder g;
  auto x = g.input(DType::f32, {64, width}, "x");
  if (exponent) x = g.map1(graph::ScalarOp::exp, x);
  const auto sum = g.reduce(graph::ReduceOp::sum, x, {1}, true);
  g.output(g.map2(graph::ScalarOp::div, x, g.expand(sum, {64, width})));
  return g.take();
}

graph::Graph product_graph() {
  graph::GraphBuilder g;
  const auto x = g.input(DType::f32, {64, 32}, "x");
  const auto w = g.param("w", graph::ParamKind::parameter, DType::f32, {16, 32});
  g.output(g.contract(x, {0, 2}, w, {1, 2}, {0, 1}));
  return g.take();
}

}  // namespace

TEST_CASE("likeness: a softmax is like a softmax of another width, less like a sum, and not like a product") {
  const auto softmax = features_of(rows_graph(96, true)), wide = features_of(rows_graph(128, true));
  const auto plain = features_of(rows_graph(96, false)), product = features_of(product_graph());
  CHECK(likeness(softmax, softmax) == doctest::Approx(1));
  CHECK(likeness(softmax, wide) > likeness(softmax, plain));
  CHECK(likeness(softmax, plain) > likeness(softmax, product));
  CHECK(likeness(softmax, product) < 0.2);
}

TEST_CASE("memory: what won comes back for a like problem only") {
  const TempDir folder;
  const auto store = std::move(store::Store::open(folder.path()).value_or_throw());
  graph::Problem softmax, wide, product;
  softmax.name = "softmax", softmax.graph = rows_graph(96, true);
  wide.name = "wide", wide.graph = rows_graph(128, true);
  product.name = "product", product.graph = product_graph();
  REQUIRE(keep_winner(*store, softmax, "cpu", {"source of softmax", "{}", "a/b", "", {}}, 1e-5).ok());
  const auto found = recall(*store, wide, "cpu");
  REQUIRE(found.size() == 1);
  CHECK(found[0].source == "source of softmax");
  CHECK(found[0].title.find("`softmax`") == 0);
  CHECK(recall(*store, product, "cpu").empty());
  CHECK(recall(*store, wide, "metal").empty());
}
