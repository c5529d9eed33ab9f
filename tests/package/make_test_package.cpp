#include <cstdio>
#include <string_view>

#include "base/file.h"
#include "graph/load_problem.h"
#include "kernel/schedule/compose.h"
#include "package/pack.h"
#include "package/read.h"
#include "target/cpu/cpu_target.h"

namespace {

kw::kernel::Candidate read_candidate(const char* source, const char* plan) {
  kw::kernel::Candidate candidate;
  candidate.source = kw::read_file(source).value_or_throw();
  candidate.plan_json = kw::read_file(plan).value_or_throw();
  candidate.author = "test";
  return candidate;
}

kw::kernel::Candidate own_candidate(const kw::graph::Graph& graph, const kw::target::Facts& facts) {
  kw::kernel::Facts narrowed;
  narrowed.isa = facts.isa;
  narrowed.vector_bytes = facts.vector_bytes;
  narrowed.vector_registers = facts.vector_registers;
  return kw::kernel::schedule::default_candidate(graph, narrowed).value_or_throw();
}

}  // namespace

// make_test_package EXPORT_FOLDER KERNEL.cpp PLAN.json VERDICT OUT.kw: packs hand-written kernels for an export.
// With "-" for both files: the kernels that the schedule families predict to be best, neither timed nor judged.
int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    const auto problem = kw::graph::load_problem(argv[1]).value_or_throw();
    const auto target = std::move(kw::target::open_cpu_target({.threads = 2}).value_or_throw());
    const bool own = std::string_view(argv[2]) == "-";
    const kw::kernel::Candidate candidate =
        own ? own_candidate(problem.graph, target->facts()) : read_candidate(argv[2], argv[3]);
    const kw::package::PackRequest request{&problem, {candidate}, target.get(), argv[4], 2, "{}", "{}"};
    kw::package::pack(request, argv[5]).value_or_throw();
    std::printf("%s", kw::package::describe(kw::package::open_package(argv[5]).value_or_throw()).c_str());
    return 0;
  } catch (const kw::UserError& error) {
    std::fprintf(stderr, "%s: %s\n", error.failure.id.c_str(), error.what());
    return 1;
  }
}
