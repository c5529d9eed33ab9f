#pragma once
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/parallel.h"
#include "base/process.h"
#include "base/random.h"
#include "graph/interpret.h"
#include "kernel/candidate.h"
#include "kernel/emit/dialect.h"
#include "kernel/emit/prelude.h"
#include "kernel/schedule/compose.h"

/// Compiles a Candidate with g++ and runs its Plan in this process, one group after the other: for tests.
namespace kw::test {

/// The best isa that this machine runs, as kernels see it.
inline kernel::Facts machine_facts() {
  kernel::Facts f;
  f.threads = usable_cores();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
    f.isa = "avx512";
    f.vector_bytes = 64;
    f.vector_registers = 32;
  }
  return f;
}

class LoadedPlan {
 public:
  LoadedPlan(const kernel::Candidate& candidate, const kernel::Signature& signature) {
    Result<kernel::Plan> plan = kernel::parse_plan(candidate.plan_json);
    if (!plan) FAIL("plan: " << plan.failure().message);
    Result<kernel::BoundPlan> bound = kernel::bind_plan(*plan, signature);
    if (!bound) FAIL("bind: " << bound.failure().id << " " << bound.failure().message);
    plan_ = *bound;
    compile(candidate.source, plan->isa);
    for (const auto& b : plan_.buffers) {
      memory_.push_back(Tensor::zeros(b.dtype, b.shape));
      std::memset(memory_.back().data, 0x7f, memory_.back().bytes());
    }
  }
  ~LoadedPlan() {
    if (library_) dlclose(library_);
  }
  LoadedPlan(const LoadedPlan&) = delete;
  LoadedPlan& operator=(const LoadedPlan&) = delete;

  void bind(const std::map<std::string, Tensor>& params) {
    for (size_t i = 0; i < plan_.buffers.size(); ++i)
      if (!plan_.buffers[i].parameter.empty()) copy_in(i, params.at(plan_.buffers[i].parameter));
    for (const auto& l : plan_.prepare) launch(l);
  }

  void run(const std::vector<Tensor>& inputs) {
    for (size_t i = 0; i < plan_.buffers.size(); ++i)
      if (plan_.buffers[i].role == kernel::Role::input) copy_in(i, inputs[static_cast<size_t>(plan_.buffers[i].index)]);
    run_steps();
  }
  void run_steps() {
    for (const auto& l : plan_.steps) launch(l);
  }

  /// Output `index`, or the state of that name.
  const Tensor& output(int index) const {
    for (size_t i = 0; i < plan_.buffers.size(); ++i)
      if (plan_.buffers[i].role == kernel::Role::output && plan_.buffers[i].index == index) return memory_[i];
    throw BugError("no such output");
  }
  const Tensor& state(const std::string& name) const {
    for (size_t i = 0; i < plan_.buffers.size(); ++i)
      if (plan_.buffers[i].role == kernel::Role::state && plan_.buffers[i].parameter == name) return memory_[i];
    throw BugError("no such state");
  }
  size_t steps() const { return plan_.steps.size(); }

 private:
  using Entry = void (*)(void* const* args, const int64_t* group);

  void copy_in(size_t i, const Tensor& t) { std::memcpy(memory_[i].data, t.data, t.bytes()); }

  std::string entries() const {
    std::string text;
    std::set<std::string> seen;
    for (const auto* list : {&plan_.prepare, &plan_.steps})
      for (const auto& l : *list)
        if (seen.insert(l.kernel).second) text += entry(l);
    return text;
  }

  static std::string entry(const kernel::BoundPlan::BoundLaunch& l) {
    static const std::map<std::string, std::string> scalars{
        {"u32", "uint32_t"}, {"i32", "int32_t"}, {"i64", "int64_t"}, {"f32", "float"}};
    std::string args;
    for (size_t i = 0; i < l.arg_types.size(); ++i) {
      const std::string& type = l.arg_types[i];
      const bool pointer = type.back() == '*';
      const std::string name =
          pointer ? kernel::emit::cpp_dialect().stored_types.at(*dtype_from_name(type.substr(0, type.size() - 1)))
                  : scalars.at(type);
      args += pointer ? fmt::format("({}*)args[{}], ", name, i) : fmt::format("*({}*)args[{}], ", name, i);
    }
    return fmt::format(
        "extern \"C\" __attribute__((visibility(\"default\"))) void kw_entry_{0}(void* const* args, "
        "const int64_t* g) {{ {0}({1}KwGroup{{g[0], g[1], g[2]}}); }}\n",
        l.kernel, args);
  }

  void compile(const std::string& source, const std::string& isa) {
    const auto path = dir_.path() / "k.cpp", library = dir_.path() / "k.so";
    std::ofstream(path) << kernel::cpu_prelude() << source << entries();
    const std::string march = isa == "avx512" ? "-march=skylake-avx512" : "-march=haswell";
    const auto reply =
        run_process({"g++", "-std=c++17", "-O3", march, "-mprefer-vector-width=512", "-fno-exceptions", "-fno-rtti",
                     "-fno-math-errno", "-fno-trapping-math", "-fwrapv", "-ffp-contract=fast", "-fvisibility=hidden",
                     "-fPIC", "-shared", "-w", "-o", library.string(), path.string()},
                    {.timeout_s = 300});
    if (!reply || reply->exit_code != 0) {
      if (const char* keep = std::getenv("KW_KEEP_SOURCE")) std::ofstream(keep) << source;
      FAIL("compiler: " << (reply ? reply->err.substr(0, 3000) : reply.failure().message) << "\n"
                        << source.substr(0, 6000));
    }
    library_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library_) FAIL(dlerror());
  }

  void launch(const kernel::BoundPlan::BoundLaunch& l) {
    Entry& entry = entries_[l.kernel];
    if (!entry) entry = reinterpret_cast<Entry>(dlsym(library_, ("kw_entry_" + l.kernel).c_str()));
    REQUIRE((entry != nullptr));
    std::vector<void*> args;
    std::vector<int64_t> scalars(l.args.size());
    for (size_t i = 0; i < l.args.size(); ++i) args.push_back(argument(l, i, &scalars[i]));
    for (int64_t z = 0; z < l.groups[2]; ++z)
      for (int64_t y = 0; y < l.groups[1]; ++y)
        for (int64_t x = 0; x < l.groups[0]; ++x) {
          const int64_t group[3] = {x, y, z};
          entry(args.data(), group);
        }
  }

  void* argument(const kernel::BoundPlan::BoundLaunch& l, size_t i, int64_t* scalar) {
    if (const int* buffer = std::get_if<int>(&l.args[i])) return memory_[static_cast<size_t>(*buffer)].data;
    if (const int64_t* integer = std::get_if<int64_t>(&l.args[i])) {
      std::memcpy(scalar, integer, sizeof(*scalar));  // little endian: also a u32 or i32
    } else {
      const auto real = static_cast<float>(std::get<double>(l.args[i]));
      std::memcpy(scalar, &real, sizeof(real));
    }
    return scalar;
  }

  kernel::BoundPlan plan_;
  TempDir dir_{"kwtest"};
  void* library_ = nullptr;
  std::map<std::string, Entry> entries_;
  std::vector<Tensor> memory_;
};

/// Normal values for floats, small non-negative integers otherwise.
inline Tensor random_tensor(DType dtype, const Shape& shape, uint64_t seed) {
  Tensor t = Tensor::zeros(dtype, shape);
  Random random(seed);
  const int64_t n = element_count(shape);
  for (int64_t i = 0; i < n; ++i)
    store_element(
        t, i,
        is_float(dtype) ? random.normal() : static_cast<double>(random.integer(0, dtype == DType::boolean ? 1 : 2)));
  return t;
}

struct Case {
  std::vector<Tensor> inputs;
  std::map<std::string, Tensor> params;
};
inline Case random_case(const graph::Graph& g, uint64_t seed = 1) {
  Case c;
  for (const auto& in : g.inputs) c.inputs.push_back(random_tensor(in.dtype, in.shape, seed++));
  for (const auto& p : g.params) c.params[p.name] = random_tensor(p.dtype, p.shape, seed++);
  return c;
}

/// Largest |got - expected| / (1 + |expected|); infinite where NaN or infinities differ.
inline double worst_error(const Tensor& got, const graph::Reference& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.value.size(); ++i) {
    const double e = expected.value[i], x = load_element(got, static_cast<int64_t>(i));
    const bool same_special = (std::isnan(e) && std::isnan(x)) || e == x;
    if (same_special) continue;
    const double error = std::fabs(x - e) / (1 + std::fabs(e));
    worst = std::isnan(error) || std::isinf(e) ? INFINITY : std::fmax(worst, error);
  }
  return worst;
}

inline double tolerance(DType dtype) {
  return dtype == DType::f64 ? 1e-12 : dtype == DType::f16 ? 2e-3 : dtype == DType::bf16 ? 2e-2 : 2e-5;
}

/// Runs `candidate` on random inputs and compares every output and state with the interpreter. Two runs: nothing may
/// depend on what scratch or outputs held before.
inline void check_candidate(const graph::Graph& g, const kernel::Candidate& candidate, const Case& c) {
  LoadedPlan loaded(candidate, kernel::signature_of(g));
  loaded.bind(c.params);
  loaded.run(c.inputs);
  const auto expected = graph::interpret(g, c.inputs, c.params, {.bounds = false});
  REQUIRE(expected.ok());
  int index = 0;
  for (size_t k = 0; k < g.outputs.size(); ++k) {
    const Tensor& got = g.outputs[k].is_state ? loaded.state(g.outputs[k].state_name) : loaded.output(index++);
    CAPTURE(k);
    if (const double e = worst_error(got, expected->outputs[k]); !(e <= tolerance(got.dtype))) {
      INFO(graph::to_text(g));
      INFO(candidate.source.substr(0, 8000));
      CHECK(e <= tolerance(got.dtype));
    }
  }
}

/// The default candidate of `g`, checked.
inline kernel::Candidate check_graph(const graph::Graph& g, const Case& c,
                                     const kernel::Facts& facts = machine_facts()) {
  const auto candidate = kernel::schedule::default_candidate(g, facts);
  REQUIRE(candidate.ok());
  check_candidate(g, *candidate, c);
  return *candidate;
}
inline kernel::Candidate check_graph(const graph::Graph& g) { return check_graph(g, random_case(g)); }

/// Seconds of the best of `calls` runs on one thread.
inline double best_seconds(LoadedPlan& loaded, int calls) {
  double best = 1e30;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    loaded.run_steps();
    best = std::fmin(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace kw::test
