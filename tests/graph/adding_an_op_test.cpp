// The example of docs/adding-an-op.md, compiled and run.
#include <doctest/doctest.h>

#include <cmath>

#include "graph/aten/call.h"
#include "graph/import.h"
#include "graph/interpret.h"

using namespace kw;
using namespace kw::graph;
using namespace kw::graph::aten;

namespace {

Rows rows() {
  return {
      // softplus-like: log(1 + exp(beta * x)) / beta, written so that no exponent overflows
      {"my_soft_step",
       [](Call& c) {
         const double beta = c.number("beta", 1);  // ATen's default, when omitted
         return c.map(c.x("self"), [&](E x) {
           const E z = x * beta;
           return (maximum(z, 0.0) + log1p(exp(-absolute(z)))) / beta;
         });
       }},
  };
}

/// y = op(x) over three float64 values; the source line is what an export would record.
module::Program program_of(const std::string& target, std::vector<module::NamedArgument> arguments) {
  module::Program p;
  p.tensors["x"] = p.tensors["y"] = {DType::f64, {3}, {1}, 0};
  p.inputs.push_back({module::InputKind::user, "x", "", true, std::nullopt});
  arguments.insert(arguments.begin(), {"self", module::TensorRef{"x"}});
  p.nodes.push_back({target, std::move(arguments), {"y"}, {"/home/me/model.py", 12, "y = soft(x)", ""}});
  p.outputs.push_back({module::OutputKind::user, module::TensorRef{"y"}, ""});
  return p;
}

}  // namespace

TEST_CASE("a new row imports and evaluates") {
  add_rows(rows());
  auto graph = import_program(program_of("aten.my_soft_step.default", {{"beta", 2.0}}));
  REQUIRE(graph.ok());
  Tensor x = Tensor::zeros(DType::f64, {3});
  for (int i = 0; i < 3; ++i) store_element(x, i, i - 1);
  const auto result = interpret(*graph, {x}, {});
  REQUIRE(result.ok());
  for (int i = 0; i < 3; ++i) {
    CHECK(result->outputs[0].value[static_cast<size_t>(i)] == doctest::Approx(std::log1p(std::exp(2.0 * (i - 1))) / 2));
  }
}

TEST_CASE("an op outside the table is named with the user's line") {
  const auto graph = import_program(program_of("aten.no_such_op.default", {}));
  REQUIRE(!graph.ok());
  CHECK(graph.failure().id == "import.op");
  CHECK(graph.failure().message == "`aten.no_such_op.default` is not in the op table (model.py:12: y = soft(x))");
}

TEST_CASE("random ops are refused with the reason") {
  const auto graph = import_program(program_of("aten.bernoulli.default", {}));
  REQUIRE(!graph.ok());
  CHECK(graph.failure().id == "import.random");
}

TEST_CASE("dropout is the identity in eval mode, and refused in train mode") {
  const auto dropout = [](bool train) {
    auto p = program_of("aten.dropout.default", {{"p", 0.5}, {"train", train}});
    p.nodes[0].arguments[0].name = "input";
    return import_program(p);
  };
  CHECK(dropout(false).ok());
  REQUIRE(!dropout(true).ok());
  CHECK(dropout(true).failure().id == "import.random");
}

TEST_CASE("a recorded shape that differs is a fault of the table, not a result") {
  auto p = program_of("aten.relu.default", {});
  p.tensors["y"].shape = {4};
  const auto graph = import_program(p);
  REQUIRE(!graph.ok());
  CHECK(graph.failure().id == "import.shape");
}

TEST_CASE("arguments that contradict each other are refused") {
  const auto graph = import_program(program_of("aten.transpose.int", {{"dim0", int64_t{0}}, {"dim1", int64_t{5}}}));
  REQUIRE(!graph.ok());
  CHECK(graph.failure().id == "import.argument");
}
