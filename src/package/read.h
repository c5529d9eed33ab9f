#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "graph/problem.h"

namespace kw::package {

/// A package whose every member was read and compared with its hash.
struct OpenedPackage {
  struct Variant {
    std::string isa, source, plan_json;
  };
  std::string path, name, verdict, target;
  std::string manifest_json, certificate_json;
  std::vector<Variant> variants;
  std::shared_ptr<MappedFile> file;
};

/// fails: package.missing, package.damaged (no package, cut, a hash that differs), package.format (newer version)
Result<OpenedPackage> open_package(const std::string& path);

/// Writes the exported module and its inputs' draws into `folder` and loads them from there.
Result<graph::Problem> restore_problem(const OpenedPackage& opened, const std::filesystem::path& folder);

/// A few lines for people: what is inside and what was measured.
std::string describe(const OpenedPackage& opened);

}  // namespace kw::package
