#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "base/file.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/tensor.h"

using namespace kw;

TEST_CASE("every half value survives the way to double and back") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    REQUIRE(half_from_double(value) == bits);
  }
}

TEST_CASE("every bfloat16 value survives the way to double and back") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = bfloat_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    REQUIRE(bfloat_from_double(value) == bits);
  }
}

TEST_CASE("ties round to even, and only once") {
  CHECK(half_from_double(2049.0) == half_from_double(2048.0));
  CHECK(half_from_double(2051.0) == half_from_double(2052.0));
  // In float32 this would first become the tie itself and then go down.
  CHECK(half_from_double(2049.0 + 1e-9) == half_from_double(2050.0));
  CHECK(half_from_double(65520.0) == 0x7c00);
  CHECK(half_from_double(65519.9) == 0x7bff);
  CHECK(std::isinf(bfloat_to_float(bfloat_from_double(3.4e38))));
}

TEST_CASE("a tensor element is rounded to its dtype") {
  Tensor t = Tensor::zeros(DType::i64, {2, 3});
  store_element(t, 5, 7.0);
  CHECK(load_element(t, 5) == 7.0);
  CHECK(t.bytes() == 48);
  CHECK(reinterpret_cast<uintptr_t>(t.data) % 64 == 0);
}

TEST_CASE("names and sizes of dtypes agree both ways") {
  for (DType d : {DType::f16, DType::bf16, DType::f32, DType::f64, DType::boolean, DType::i64})
    CHECK(dtype_from_name(name_of(d)) == d);
  CHECK_FALSE(dtype_from_name("float32").has_value());
  CHECK(unit_roundoff(DType::f32) == 0x1p-24);
}

TEST_CASE("sha256 of the empty text is the published value") {
  CHECK(sha256(std::string_view()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("a file is replaced whole, and a missing one says so") {
  TempDir folder;
  const auto path = folder.path() / "a.txt";
  REQUIRE(write_file_atomic(path, "one").ok());
  REQUIRE(write_file_atomic(path, "two").ok());
  CHECK(*read_file(path) == "two");
  const auto missing = read_file(folder.path() / "b.txt");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.failure().id == "file.missing");
  CHECK(write_file_atomic(folder.path() / "no" / "c.txt", "x").failure().id == "file.unwritable");
}

TEST_CASE("parallel_for covers each index once and passes an exception on") {
  std::vector<int> seen(1000, 0);
  parallel_for(1000, 7, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  for (int count : seen) REQUIRE(count == 1);
  CHECK_THROWS_AS(parallel_for(10, 1, [](int64_t, int64_t) { throw std::runtime_error("x"); }), std::runtime_error);
}

TEST_CASE("normal draws have mean 0 and variance 1") {
  Random random(1);
  double sum = 0, squares = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = random.normal();
    sum += x, squares += x * x;
  }
  CHECK(std::fabs(sum / 1e5) < 0.02);
  CHECK(std::fabs(squares / 1e5 - 1) < 0.02);
}
