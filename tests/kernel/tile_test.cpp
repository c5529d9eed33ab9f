#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "kernel/emit/emit.h"
#include "kernel/spec.h"
#include "kernel/tile.h"

using namespace kw;
using namespace kw::kernel;
using namespace kw::kernel::tile;

namespace {

/// The value of an index expression for given variables, by C++ arithmetic.
int64_t value_of(const Expr& e, int64_t i, int64_t j) {
  auto arg = [&](size_t k) { return value_of(e->args[k], i, j); };
  auto floor_div = [](int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); };
  switch (e->op) {
    case Op::imm:
      return e->integer;
    case Op::var:
      return e->name == "i" ? i : j;
    case Op::add:
      return arg(0) + arg(1);
    case Op::sub:
      return arg(0) - arg(1);
    case Op::mul:
      return arg(0) * arg(1);
    case Op::div:
      return floor_div(arg(0), arg(1));
    case Op::mod:
      return arg(0) - floor_div(arg(0), arg(1)) * arg(1);
    case Op::min:
      return std::min(arg(0), arg(1));
    default:
      return std::max(arg(0), arg(1));
  }
}

Function scale_kernel() {
  Function f;
  f.name = "scale";
  f.params = {{"x", DType::bf16, true, false}, {"y", DType::f32, true, true}, {"n", DType::i64, false, false}};
  const Expr g = index_var("g", 8), i = index_var("i", 1 << 20);
  Block inner{Store{"y", DType::f32, {i}, call("exp", {DType::f32, 16}, {load("x", DType::bf16, {i}, 16)})}};
  Block body{loop(Bind::serial, "i", g * 64, g * 64 + 64, std::move(inner), 16)};
  Block edge{Store{"y", DType::f32, {Expr(0)}, imm(0.5, {DType::f32, 1})}};
  body.push_back(branch(var("n", index_type) < 1, std::move(edge)));
  f.body.push_back(loop(Bind::grid, "g", 0, 8, std::move(body)));
  return f;
}

Function register_kernel() {
  Function f;
  f.name = "registers";
  f.params = {{"a", DType::f32, true, false}, {"c", DType::f32, true, true}};
  const Expr r = index_var("r", 2), k = index_var("k", 32);
  const Type v{DType::f32, 8};
  Block zero{Assign{"acc", {r}, imm(0, v)}};
  Block step{Let{"x", load("a", DType::f32, {k * 16 + r * 8}, 8)},
             Assign{"acc", {r}, load("acc", DType::f32, {r}, 8) + var("x", v)}};
  Block store{Store{"c", DType::f32, {r * 8}, load("acc", DType::f32, {r}, 8)}};
  f.body.push_back(Alloc{Space::reg, v, "acc", {2}});
  f.body.push_back(loop(Bind::unroll, "r", 0, 2, std::move(zero)));
  f.body.push_back(loop(Bind::serial, "k", 0, 32, {loop(Bind::unroll, "r", 0, 2, std::move(step))}));
  f.body.push_back(loop(Bind::unroll, "r", 0, 2, std::move(store)));
  return f;
}

std::string golden(const std::string& name) {
  std::ifstream file("tests/kernel/golden/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("index arithmetic simplifies") {
  const Expr i = index_var("i", 8), j = index_var("j", 64);
  CHECK(same((i * 64 + j) / 64, i));
  CHECK(same((i * 64 + j) % 64, j));
  CHECK(same(j / 4 * 4 + j % 4, j));
  const Expr flat = index_var("i", 512);
  CHECK(same(flat / 64 * 64 + flat / 4 % 16 * 4 + flat % 4, flat));
  CHECK(((i - 1) < 64).is_constant(1));
  CHECK(!(Expr(0) < i).is_constant(1));
  CHECK(stride_of(i * 3 + j, "i").step == 3);
  CHECK(!stride_of(i / 2 + j, "i").known);
  CHECK(divisor_of(i * 16 + 8) == 8);
  CHECK(divisor_of(i * 16 + 64) == 16);
}

TEST_CASE("simplified expressions keep their value") {
  const Expr i = index_var("i", 7), j = index_var("j", 30);
  const std::vector<Expr> sums = {i * 30 + j,    i * 12 + j * 8 + 5, j - i * 4 - 3,
                                  i * 6 + j % 6, j / 5 * 10 + i,     i * 15 - j};
  for (const Expr& s : sums)
    for (int64_t d : {1, 2, 3, 4, 5, 6, 10, 12, 30, 60})
      for (int64_t d2 : {2, 5, 6}) {
        const Expr e = (s / d) % d2 * 7 + (s % d) / d2 + max_of(s, 3) + min_of(s, i);
        for (int64_t a = 0; a < 7; ++a)
          for (int64_t b = 0; b < 30; ++b) {
            const int64_t v = value_of(s, a, b), q = v / d - (v % d < 0 ? 1 : 0), r = v - q * d;
            const int64_t expected = (q - (q / d2 - (q % d2 < 0 ? 1 : 0)) * d2) * 7 + r / d2 + std::max<int64_t>(v, 3) +
                                     std::min<int64_t>(v, a);
            REQUIRE(value_of(e, a, b) == expected);
            REQUIRE(e->lo <= expected);
            REQUIRE(expected <= e->hi);
          }
      }
}

TEST_CASE("the spec finds faults") {
  CHECK(find_fault(scale_kernel()) == "");
  CHECK(find_fault(register_kernel()) == "");
  auto broken = [](auto change) {
    Function f = register_kernel();
    change(f);
    return find_fault(f);
  };
  CHECK(broken([](Function& f) { f.body.erase(f.body.begin()); }).find("before it is defined") != std::string::npos);
  CHECK(broken([](Function& f) { f.params[1].written = false; }).find("read only") != std::string::npos);
  CHECK(broken([](Function& f) {
          std::get<For>(f.body[1].base()).bind = Bind::serial;
        }).find("indexed by a variable") != std::string::npos);
  CHECK(broken([](Function& f) {
          std::get<For>(f.body[1].base()).end = 3, f.body.push_back(Assign{"acc", {Expr(2)}, imm(0, {DType::f32, 8})});
        }).find("out of range") != std::string::npos);
  CHECK(broken([](Function& f) {
          f.body.push_back(Assign{"acc", {Expr(0)}, imm(0, {DType::f32, 4})});
        }).find("type") != std::string::npos);
  CHECK(broken([](Function& f) { f.params[0].dtype = DType::f64; }).find("dtype") != std::string::npos);
}

TEST_CASE("emitted text is the golden text") {
  CHECK(emit::emit(scale_kernel(), emit::cpp_dialect()) == golden("scale.txt"));
  CHECK(emit::emit(register_kernel(), emit::cpp_dialect()) == golden("registers.txt"));
}
