#pragma once
#include <string>
#include <vector>

#include "graph/problem.h"
#include "kernel/candidate.h"
#include "target/target.h"

namespace kw::package {

struct PackRequest {
  const graph::Problem* problem = nullptr;
  std::vector<kernel::Candidate> variants;  // one for each instruction set, best first
  target::Target* target = nullptr;         // compiles them (from its cache)
  std::string verdict;                      // "verified"; with anything else the drop-in runs the original
  int threads = 0;                          // what the kernels were tuned for
  std::string certificate;                  // certificate.json
  std::string result_json;                  // the run's result, for the README and the manifest
};

/// Writes the package to `path`, whole or not at all.
/// fails: package.write, package.large, and what compiling or binding a variant fails with
Status pack(const PackRequest& request, const std::string& path);

/// Whether a package could be written to `path`. fails: package.write
Status check_writable(const std::string& path);

}  // namespace kw::package
