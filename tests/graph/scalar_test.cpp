#include "graph/scalar.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/random.h"

using namespace kw;
using namespace kw::graph;

TEST_CASE("expressions read as code") {
  ScalarBuilder b;
  const auto x = b.arg(0, DType::f32);
  b.apply(ScalarOp::mul, x, b.apply(ScalarOp::sigmoid, x));
  const ScalarExpr silu = b.take();
  CHECK(to_text(silu) == "mul(%0, sigmoid(%0))");
  const double at[] = {2.0};
  CHECK(evaluate(silu, at) == doctest::Approx(2 / (1 + std::exp(-2.0))).epsilon(1e-15));
}

TEST_CASE("constants fold and equal steps are shared") {
  ScalarBuilder b;
  const auto x = b.arg(0, DType::f32);
  const auto two = b.apply(ScalarOp::add, b.imm(1, DType::f32), b.imm(1, DType::f32));
  const auto y = b.apply(ScalarOp::mul, x, two);
  CHECK(b.apply(ScalarOp::mul, x, two) == y);
  CHECK(b.take(y).size() == 3);
}

TEST_CASE("only identities that keep signed zeros are applied") {
  ScalarBuilder b;
  const auto x = b.arg(0, DType::f32);
  CHECK(b.apply(ScalarOp::mul, x, b.imm(1, DType::f32)) == x);
  CHECK(b.apply(ScalarOp::sub, x, b.imm(0, DType::f32)) == x);
  CHECK(b.apply(ScalarOp::add, x, b.imm(0, DType::f32)) != x);
}

TEST_CASE("the last named value is the expression, wherever it stands") {
  ScalarBuilder b;
  const auto x = b.arg(0, DType::f32);
  const auto e = b.apply(ScalarOp::exp, x);
  b.apply(ScalarOp::log, x);
  CHECK(to_text(b.take(e)) == "exp(%0)");
}

TEST_CASE("integers truncate and wrap") {
  CHECK(to_dtype_domain(DType::u8, 257) == 1);
  CHECK(to_dtype_domain(DType::u8, -1) == 255);
  CHECK(to_dtype_domain(DType::i8, 130) == -126);
  CHECK(to_dtype_domain(DType::i64, -2.7) == -2);
  CHECK(to_dtype_domain(DType::boolean, 0.5) == 1);
}

TEST_CASE("every row stands at its place") {
  size_t at = 0;
  for (const ScalarRow& row : scalar_table()) CHECK(static_cast<size_t>(row.op) == at++);
  CHECK(scalar_table().back().name == "select");
}

TEST_CASE("corner values follow PyTorch") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto value = [](ScalarOp op, double a, double b = 0) {
    return scalar_value({op, DType::f64, 0, 1, -1, 0}, a, b, 0);
  };
  CHECK(std::isnan(value(ScalarOp::max, nan, 1)));
  CHECK(std::isnan(value(ScalarOp::min, 1, nan)));
  CHECK(value(ScalarOp::round, 2.5) == 2);
  CHECK(value(ScalarOp::remainder, -1, 3) == 2);
  CHECK(value(ScalarOp::fmod, -1, 3) == -1);
  CHECK(value(ScalarOp::floor_div, -7, 2) == -4);
  CHECK(value(ScalarOp::sigmoid, -800) == 0);
  CHECK(value(ScalarOp::sigmoid, 800) == 1);
}

// A bound is right when no point of the operand intervals gives a result outside it.
TEST_CASE("bounds hold for every point of the operand intervals") {
  Random random(7);
  for (const ScalarRow& row : scalar_table()) {
    if (row.arity == 0 || row.op == ScalarOp::cast) continue;
    const bool bits = row.op >= ScalarOp::bit_and && row.op <= ScalarOp::shift_right;
    if (bits) continue;
    for (int trial = 0; trial < 2000; ++trial) {
      double v[3], b[3], x[3];
      for (int i = 0; i < 3; ++i) {
        v[i] = random.normal() * std::exp(2 * random.normal());
        b[i] = random.uniform() < 0.2 ? 0 : std::exp(4 * random.normal() - 6);
        x[i] = v[i] + b[i] * (2 * random.uniform() - 1);
      }
      const double result = row.value(v[0], v[1], v[2]);
      const double moved = row.value(x[0], x[1], x[2]);
      const double bound = row.bound(v, b, result);
      if (std::isnan(result) || std::isinf(result) || std::isnan(moved)) continue;
      INFO(row.name << "(" << v[0] << ", " << v[1] << ", " << v[2] << ") b " << b[0] << ", " << b[1] << ", " << b[2]);
      CHECK(std::fabs(moved - result) <= bound * (1 + 1e-9) + 1e-12 * std::fabs(result));
    }
  }
}
