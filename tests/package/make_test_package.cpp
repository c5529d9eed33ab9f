#include <cstdio>

#include "base/file.h"
#include "graph/load_problem.h"
#include "package/pack.h"
#include "package/read.h"
#include "target/cpu/cpu_target.h"

// make_test_package EXPORT_FOLDER KERNEL.cpp PLAN.json VERDICT OUT.kw: packs hand-written kernels for an export.
int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    const auto problem = kw::graph::load_problem(argv[1]).value_or_throw();
    const auto target = std::move(kw::target::open_cpu_target({.threads = 2}).value_or_throw());
    kw::kernel::Candidate candidate;
    candidate.source = kw::read_file(argv[2]).value_or_throw();
    candidate.plan_json = kw::read_file(argv[3]).value_or_throw();
    candidate.author = "test";
    const kw::package::PackRequest request{&problem, {candidate}, target.get(), argv[4], 2, "{}", "{}"};
    kw::package::pack(request, argv[5]).value_or_throw();
    std::printf("%s", kw::package::describe(kw::package::open_package(argv[5]).value_or_throw()).c_str());
    return 0;
  } catch (const kw::UserError& error) {
    std::fprintf(stderr, "%s: %s\n", error.failure.id.c_str(), error.what());
    return 1;
  }
}
