#include "runtime/engine.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <thread>

using namespace kw::runtime;

namespace {

void add_one(void* const* args, const int64_t* group) {
  auto* x = static_cast<int64_t*>(args[0]);
  const int64_t width = *static_cast<const int64_t*>(args[1]);
  x[(group[2] * 3 + group[1]) * width + group[0]] += 1;
}

Program counting(int64_t width, int launches) {
  Program program;
  program.kernels = {"add_one"};
  program.buffers.push_back({Role::output, 0, "x", "i64", {3 * width * 2}, static_cast<uint64_t>(48 * width), 0});
  for (int i = 0; i < launches; ++i)
    program.steps.push_back({0, {{Argument::Kind::buffer, 0, 0}, {Argument::Kind::integer, width, 0}}, {width, 3, 2}});
  return program;
}

}  // namespace

TEST_CASE("every group of every launch runs exactly once, whatever the pool's width") {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int64_t width : {1, 7, 1000}) {
      const Program program = counting(width, 25);
      Engine engine(program, {add_one}, threads);
      std::vector<int64_t> x(static_cast<size_t>(6 * width), 0);
      engine.set_buffer(0, x.data());
      engine.run();
      CHECK(std::all_of(x.begin(), x.end(), [](int64_t v) { return v == 25; }));
    }
  }
}

TEST_CASE("two programs at once share one pool without waiting for each other") {
  const Program program = counting(500, 200);
  auto job = [&] {
    Engine engine(program, {add_one}, 2);
    std::vector<int64_t> x(3000, 0);
    engine.set_buffer(0, x.data());
    for (int i = 0; i < 10; ++i) engine.run();
    return std::all_of(x.begin(), x.end(), [](int64_t v) { return v == 2000; });
  };
  bool other = false;
  std::thread thread([&] { other = job(); });
  CHECK(job());
  thread.join();
  CHECK(other);
}

TEST_CASE("a launch sees all that the launch before it wrote") {
  static constexpr int64_t n = 4096;
  Program program;
  program.kernels = {"shift"};
  for (int i = 0; i < 2; ++i)
    program.buffers.push_back({Role::output, i, "x", "i64", {n}, static_cast<uint64_t>(8 * n), 0});
  for (int i = 0; i < 100; ++i)
    program.steps.push_back(
        {0, {{Argument::Kind::buffer, i % 2, 0}, {Argument::Kind::buffer, 1 - i % 2, 0}}, {n, 1, 1}});
  auto shift = [](void* const* args, const int64_t* group) {
    static_cast<int64_t*>(args[1])[group[0]] = static_cast<const int64_t*>(args[0])[(group[0] + 1) % n] + 1;
  };
  Engine engine(program, {shift}, 4);
  std::vector<int64_t> a(n), b(n, 0);
  std::iota(a.begin(), a.end(), 0);
  engine.set_buffer(0, a.data());
  engine.set_buffer(1, b.data());
  engine.run();
  bool right = true;
  for (int64_t i = 0; i < n; ++i) right = right && a[static_cast<size_t>(i)] == (i + 100) % n + 100;
  CHECK(right);
}
