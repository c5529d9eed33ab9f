// Compiles the prelude for every isa that this host runs and every compiler it has, and measures float32 errors in ulps
// against libm's double functions over all exponents, edges and (for two arguments) grids of hard values.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/half.h"
#include "base/process.h"
#include "base/random.h"
#include "kernel/emit/prelude.h"

using namespace kw;

namespace {

struct UnaryRow {
  const char* name;
  std::function<double(double)> reference;
  double max_ulps;
};
const UnaryRow unary_rows[] = {
    {"exp", [](double x) { return std::exp(x); }, 1.5},
    {"exp2", [](double x) { return std::exp2(x); }, 1.5},
    {"expm1", [](double x) { return std::expm1(x); }, 2.5},
    {"log", [](double x) { return std::log(x); }, 1.5},
    {"log2", [](double x) { return std::log2(x); }, 2},
    {"log10", [](double x) { return std::log10(x); }, 2},
    {"log1p", [](double x) { return std::log1p(x); }, 2},
    {"sqrt", [](double x) { return std::sqrt(x); }, 0.5},
    {"rsqrt", [](double x) { return 1 / std::sqrt(x); }, 2},
    {"reciprocal", [](double x) { return 1 / x; }, 0.5},
    {"sin", [](double x) { return std::sin(x); }, 2},
    {"cos", [](double x) { return std::cos(x); }, 2},
    {"tan", [](double x) { return std::tan(x); }, 4},
    {"tanh", [](double x) { return std::tanh(x); }, 4},
    {"sinh", [](double x) { return std::sinh(x); }, 4},
    {"cosh", [](double x) { return std::cosh(x); }, 3},
    {"asin", [](double x) { return std::asin(x); }, 3},
    {"acos", [](double x) { return std::acos(x); }, 3},
    {"atan", [](double x) { return std::atan(x); }, 3},
    {"sigmoid", [](double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }, 3},
    {"erf", [](double x) { return std::erf(x); }, 3},
    {"floor", [](double x) { return std::floor(x); }, 0},
    {"ceil", [](double x) { return std::ceil(x); }, 0},
    {"trunc", [](double x) { return std::trunc(x); }, 0},
    {"round", [](double x) { return std::nearbyint(x); }, 0},
    {"abs", [](double x) { return std::fabs(x); }, 0},
    {"sign", [](double x) { return x > 0   ? 1.0
                                   : x < 0 ? -1.0
                                           : x; }, 0},
};

double torch_remainder(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
struct BinaryRow {
  const char* name;
  double (*reference)(double, double);
  double max_ulps;
};
const BinaryRow binary_rows[] = {
    {"pow", [](double a, double b) { return std::pow(a, b); }, 1},
    {"atan2", [](double a, double b) { return std::atan2(a, b); }, 3},
    {"max", [](double a, double b) { return a != a || b != b ? NAN
                                            : a > b          ? a
                                                             : b; }, 0},
    {"min", [](double a, double b) { return a != a || b != b ? NAN
                                            : a < b          ? a
                                                             : b; }, 0},
    {"fmod", [](double a, double b) { return std::fmod(a, b); }, 0},
    {"remainder", torch_remainder, 1},
};

std::string test_source() {
  std::string s(kernel::cpu_prelude());
  s += "#define EXPORT extern \"C\" __attribute__((visibility(\"default\"))) void\n";
  for (const auto& row : unary_rows) {
    const std::string f = row.name;
    s += "EXPORT v_" + f +
         "(const float* x, float* y, int64_t n) { int64_t i = 0; for (; i + KW_LANES_F32 <= n; i += " +
         "KW_LANES_F32) kw_storev(y + i, kw_" + f + "(kw_loadv(x + i)));" + "if (i < n) kw_storev_n(y + i, kw_" + f +
         "(kw_loadv_n(x + i, n - i)), n - i); }\n";
    s += "EXPORT s_" + f + "(const float* x, float* y, int64_t n) { for (int64_t i = 0; i < n; ++i) y[i] = kw_" + f +
         "(x[i]); }\n";
  }
  for (const auto& row : binary_rows) {
    const std::string f = row.name;
    s += "EXPORT v_" + f + "(const float* a, const float* b, float* y, int64_t n) { int64_t i = 0; for (; i + " +
         "KW_LANES_F32 <= n; i += KW_LANES_F32) kw_storev(y + i, kw_" + f + "(kw_loadv(a + i), kw_loadv(b + i))); }\n";
    s += "EXPORT s_" + f + "(const float* a, const float* b, float* y, int64_t n) { for (int64_t i = 0; i < n; ++i) " +
         "y[i] = kw_" + f + "(a[i], b[i]); }\n";
  }
  s += R"(
EXPORT to_f16(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i + KW_LANES_F32 <= n; i += KW_LANES_F32) kw_storev((kw_f16*)y + i, kw_loadv(x + i));
}
EXPORT to_f16_scalar(const float* x, uint16_t* y, int64_t n) { for (int64_t i = 0; i < n; ++i) y[i] = kw_to_f16(x[i]).bits; }
EXPORT to_bf16(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i + KW_LANES_F32 <= n; i += KW_LANES_F32) kw_storev((kw_bf16*)y + i, kw_loadv(x + i));
}
EXPORT from_f16(const uint16_t* x, float* y, int64_t n) {
  for (int64_t i = 0; i + KW_LANES_F32 <= n; i += KW_LANES_F32) kw_storev(y + i, kw_loadv((const kw_f16*)x + i));
}
EXPORT from_f16_scalar(const uint16_t* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = kw_to_f32(kw_f16{x[i]});
}
EXPORT across(const float* x, float* y, int64_t) {
  y[0] = kw_reduce_sum(kw_loadv(x)); y[1] = kw_reduce_max(kw_loadv(x)); y[2] = kw_reduce_min(kw_loadv(x));
  y[3] = KW_LANES_F32;
}
EXPORT div_by(const float* a, const float* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = kw_div_by(kw_splat<kw_f32v>(a[i]), kw_splat<kw_f32v>(b[i]))[0];
}
EXPORT integers(const int64_t* x, int64_t* y, int64_t) {
  y[0] = kw_div_floor(x[0], x[1]); y[1] = kw_mod_floor(x[0], x[1]); y[2] = kw_div_trunc(x[0], x[1]);
  y[3] = kw_mod_trunc(x[0], x[1]);
}
)";
  return s;
}

struct Variant {
  std::string compiler, march;
  void* library = nullptr;
  template <class F>
  F* symbol(const std::string& name) const {
    return reinterpret_cast<F*>(dlsym(library, name.c_str()));
  }
};
using Unary = void(const float*, float*, int64_t);
using Binary = void(const float*, const float*, float*, int64_t);

bool host_runs(const std::string& march) {
  if (march == "native") return true;
#if defined(__x86_64__)
  if (march == "x86-64-v4") return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (march == "x86-64-v3") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return march == "x86-64";
#else
  return false;
#endif
}

bool has_compiler(const std::string& name) {
  auto reply = run_process({name, "--version"});
  return reply.ok() && reply->exit_code == 0;
}

std::vector<std::string> machines() {
#if defined(__x86_64__)
  return {"x86-64-v4", "x86-64-v3", "x86-64"};
#else
  return {"native"};
#endif
}

void build_variant(std::vector<Variant>& made, const TempDir& dir, const std::string& compiler,
                   const std::string& march) {
  const std::string base = (dir.path() / (compiler + march)).string();
  auto reply = run_process({compiler,
                            "-std=c++17",
                            "-O2",
                            "-march=" + march,
                            "-fno-exceptions",
                            "-fno-rtti",
                            "-ffreestanding",
                            "-fno-math-errno",
                            "-fno-trapping-math",
                            "-ffp-contract=fast",
                            "-fwrapv",
                            "-fvisibility=hidden",
                            "-fPIC",
                            "-shared",
                            "-Wall",
                            "-Wextra",
                            "-Werror",
                            (dir.path() / "prelude.cpp").string(),
                            "-o",
                            base + ".so",
                            "-lm"});
  REQUIRE(reply.ok());
  INFO(compiler << " " << march << ": " << reply->err);
  REQUIRE(reply->exit_code == 0);
  void* library = dlopen((base + ".so").c_str(), RTLD_NOW);
  REQUIRE(library != nullptr);
  made.push_back({compiler, march, library});
}

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all = [] {
    std::vector<Variant> made;
    TempDir dir;
    REQUIRE(write_file_atomic(dir.path() / "prelude.cpp", test_source()).ok());
    for (const std::string compiler : {"g++", "clang++-16"}) {
      if (!has_compiler(compiler)) continue;
      for (const auto& march : machines()) {
        if (host_runs(march)) build_variant(made, dir, compiler, march);
      }
    }
    REQUIRE(!made.empty());
    return made;
  }();
  return all;
}

/// Distance of `got` from `want` in spacings of float at `want`; 0 when both are NaN or the same infinity.
double ulps_between(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  const float rounded = static_cast<float>(want);
  if (got == rounded) return 0;
  if (!std::isfinite(got) || std::isnan(got))
    return std::isfinite(rounded) && std::fabs(want) < 3.402823e38 ? INFINITY : 1;
  if (std::isinf(rounded)) return std::fabs(got) >= 3.402823e38f ? 1 : INFINITY;
  int exponent = 0;
  std::frexp(want, &exponent);
  return std::fabs(got - want) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

std::vector<float> all_exponents(uint32_t step) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += step) {
    const auto word = static_cast<uint32_t>(bits);
    float value;
    std::memcpy(&value, &word, 4);
    x.push_back(value);
  }
  for (float edge : {0.0f,          -0.0f,          1.0f,
                     -1.0f,         INFINITY,       -INFINITY,
                     NAN,           88.72283f,      88.7229f,
                     -87.33655f,    -103.97f,       -104.1f,
                     1e-45f,        -1e-45f,        1.17549435e-38f,
                     3.4028235e38f, -3.4028235e38f, 0.5f,
                     1.5f,          2.5f,           -0.5f,
                     8388607.5f,    16777216.0f,    29999.9f,
                     30000.1f,      102943.71f,     1e22f,
                     128.0f,        -149.0f,        -150.0f,
                     127.99999f}) {
    x.push_back(edge);
  }
  Random random(7);
  for (int i = 0; i < 200000; ++i) x.push_back(static_cast<float>(random.normal() * 8));
  return x;
}

}  // namespace

TEST_CASE("prelude: float32 functions stay within their ulps over all exponents") {
  const auto x = all_exponents(8009);
  std::vector<float> y(x.size());
  for (const auto& row : unary_rows) {
    std::vector<double> want(x.size());
    for (size_t i = 0; i < x.size(); ++i) want[i] = row.reference(x[i]);
    for (const auto& variant : variants()) {
      for (const std::string form : {"v_", "s_"}) {
        variant.symbol<Unary>(form + row.name)(x.data(), y.data(), static_cast<int64_t>(x.size()));
        double worst = 0;
        size_t at = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          const double u = ulps_between(y[i], want[i]);
          if (u > worst) worst = u, at = i;
        }
        if (std::getenv("KW_PRINT_ULPS")) {
          MESSAGE(std::string(row.name) << " " << form << variant.compiler << " " << variant.march << ": " << worst
                                        << " at " << x[at]);
        }
        INFO(std::string(row.name) << " " << form << " " << variant.compiler << " " << variant.march << " x=" << x[at]
                                   << " got=" << y[at] << " want=" << want[at]);
        CHECK(worst <= row.max_ulps);
      }
    }
  }
}

TEST_CASE("prelude: zero keeps its sign where the function is odd") {
  const float x = -0.0f;
  for (const auto& variant : variants()) {
    for (const char* name :
         {"sin", "tan", "asin", "atan", "sinh", "tanh", "erf", "expm1", "log1p", "floor", "round", "trunc"}) {
      for (const std::string form : {"v_", "s_"}) {
        float y = 1;
        variant.symbol<Unary>(form + name)(&x, &y, 1);
        INFO(std::string(name) << " " << form << variant.compiler << " " << variant.march);
        CHECK(std::signbit(y));
        CHECK(y == 0);
      }
    }
  }
}

TEST_CASE("prelude: functions of two arguments") {
  const float hard[] = {0.0f,  -0.0f,       1.0f,   -1.0f,      0.5f,       -0.5f,  2.0f,     3.0f,
                        -2.0f, -3.0f,       1e-45f, 1e38f,      -1e38f,     1e-38f, INFINITY, -INFINITY,
                        NAN,   16777217.0f, 1e9f,   0.9999999f, 1.0000001f, 7.0f,   -7.5f};
  std::vector<float> a, b;
  for (float p : hard) {
    for (float q : hard) a.push_back(p), b.push_back(q);
  }
  Random random(3);
  for (int i = 0; i < 200000; ++i) {
    a.push_back(static_cast<float>(std::exp(random.normal() * 10)));
    b.push_back(static_cast<float>(random.normal() * 6));
  }
  while (a.size() % 16) a.push_back(1), b.push_back(1);
  std::vector<float> y(a.size());
  for (const auto& row : binary_rows) {
    for (const auto& variant : variants()) {
      for (const std::string form : {"v_", "s_"}) {
        variant.symbol<Binary>(form + row.name)(a.data(), b.data(), y.data(), static_cast<int64_t>(a.size()));
        double worst = 0;
        size_t at = 0;
        for (size_t i = 0; i < a.size(); ++i) {
          const double u = ulps_between(y[i], row.reference(a[i], b[i]));
          if (u > worst) worst = u, at = i;
        }
        if (std::getenv("KW_PRINT_ULPS"))
          MESSAGE(std::string(row.name) << " " << form << variant.march << ": " << worst);
        INFO(std::string(row.name) << " " << form << " " << variant.compiler << " " << variant.march << " a=" << a[at]
                                   << " b=" << b[at] << " got=" << y[at] << " want=" << row.reference(a[at], b[at]));
        CHECK(worst <= row.max_ulps);
      }
    }
  }
}

TEST_CASE("prelude: a division by one value for all lanes is a quotient") {
  const float hard[] = {0.0f,  -0.0f,  1.0f,   -3.0f,    7.0f,      1e-45f, 1e-39f, 2e-38f, 1e38f,
                        3e38f, -1e38f, 1e-20f, INFINITY, -INFINITY, NAN,    1e19f,  1e20f,  0.3333333f};
  std::vector<float> a, b;
  for (float p : hard) {
    for (float q : hard) a.push_back(p), b.push_back(q);
  }
  Random random(5);
  for (int i = 0; i < 100000; ++i) {
    a.push_back(static_cast<float>(random.normal() * std::exp(random.normal() * 12)));
    b.push_back(static_cast<float>(random.normal() * std::exp(random.normal() * 12)));
  }
  std::vector<float> y(a.size());
  for (const auto& variant : variants()) {
    variant.symbol<Binary>("div_by")(a.data(), b.data(), y.data(), static_cast<int64_t>(a.size()));
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double u = ulps_between(y[i], static_cast<double>(a[i]) / static_cast<double>(b[i]));
      if (u > worst) worst = u, at = i;
    }
    INFO(variant.compiler << " " << variant.march << " a=" << a[at] << " b=" << b[at] << " got=" << y[at]);
    CHECK(worst <= 1.5);
  }
}

TEST_CASE("prelude: half types round to nearest even, all 65536 patterns come back") {
  auto x = all_exponents(65521);
  while (x.size() % 16) x.push_back(0);
  std::vector<uint16_t> all(65536), back(65536), half(x.size());
  std::vector<float> wide(65536), scalar(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  using Encode = void(const float*, uint16_t*, int64_t);
  using Decode = void(const uint16_t*, float*, int64_t);
  for (const auto& variant : variants()) {
    INFO(variant.compiler << " " << variant.march);
    variant.symbol<Decode>("from_f16")(all.data(), wide.data(), 65536);
    variant.symbol<Decode>("from_f16_scalar")(all.data(), scalar.data(), 65536);
    variant.symbol<Encode>("to_f16")(wide.data(), back.data(), 65536);
    int wrong = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      const bool nan = std::isnan(wide[i]);
      wrong += nan ? !std::isnan(scalar[i]) : back[i] != all[i] || wide[i] != scalar[i];
      wrong += nan != ((i & 0x7fff) > 0x7c00);
    }
    CHECK(wrong == 0);
    for (const char* name : {"to_f16", "to_f16_scalar"}) {
      variant.symbol<Encode>(name)(x.data(), half.data(), static_cast<int64_t>(x.size()));
      int bad = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        bad += std::isnan(x[i]) ? (half[i] & 0x7fff) <= 0x7c00 : half[i] != half_from_double(x[i]);
      }
      CHECK(bad == 0);
    }
    variant.symbol<Encode>("to_bf16")(x.data(), half.data(), static_cast<int64_t>(x.size()));
    int bad = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      bad += std::isnan(x[i]) ? (half[i] & 0x7fff) <= 0x7f80 : half[i] != bfloat_from_double(x[i]);
    }
    CHECK(bad == 0);
  }
}

TEST_CASE("prelude: reductions over lanes and integer division") {
  float x[16], y[4];
  for (int i = 0; i < 16; ++i) x[i] = static_cast<float>((i * 7) % 16);
  for (const auto& variant : variants()) {
    variant.symbol<Unary>("across")(x, y, 0);
    float sum = 0, most = -1, least = 99;
    for (int i = 0; i < static_cast<int>(y[3]); ++i) {
      sum += x[i];
      most = std::max(most, x[i]);
      least = std::min(least, x[i]);
    }
    CHECK(y[0] == sum);
    CHECK(y[1] == most);
    CHECK(y[2] == least);
    using Integers = void(const int64_t*, int64_t*, int64_t);
    const int64_t cases[][6] = {{7, 2, 3, 1, 3, 1},     {-7, 2, -4, 1, -3, -1},
                                {7, -2, -4, -1, -3, 1}, {-7, -2, 3, -1, 3, -1},
                                {5, 0, 0, 0, 0, 0},     {INT64_MIN, -1, INT64_MIN, 0, INT64_MIN, 0}};
    for (const auto& row : cases) {
      int64_t got[4];
      variant.symbol<Integers>("integers")(row, got, 0);
      for (int i = 0; i < 4; ++i) CHECK(got[i] == row[2 + i]);
    }
  }
}
