#pragma once
#include <filesystem>
#include <string>

#include "target/target.h"

namespace kw::target {

/// Name, caches and vector width of this machine, with measured peaks (kept in `cache_dir` for the next time).
Facts detect_facts(const std::string& isa, int threads, const std::filesystem::path& cache_dir);

}  // namespace kw::target
